package engine

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/acceptencoding"
)

const (
	// transferTimeout plus the time for its bytes at transferRate per second bounds the write of an answer.
	transferTimeout = 30 * time.Second
	transferRate    = 16 << 10
)

func transferTime(bytes int64) time.Duration {
	return transferTimeout + time.Duration(bytes/transferRate)*time.Second
}

// pollAnswer is a pollBody as it is written.
type pollAnswer struct {
	form     *payloadForm
	pieces   [][]byte
	packets  int
	cost     int64 // what the session's outbox is charged for it
	compress bool
}

// all yields the messages and then the packets of the protocol.
func (b *pollBody) all(yield func(*Message) bool) {
	if m := b.list.first; m != nil && !yield(m) {
		return
	}
	for _, m := range b.list.more() {
		if !yield(m) {
			return
		}
	}
	for _, m := range b.extra {
		if m != nil && !yield(m) {
			return
		}
	}
}

func (b *pollBody) encode(f *payloadFraming) (a pollAnswer) {
	binary := false
	for m := range b.all {
		a.packets += m.packets()
		a.compress = a.compress || !m.noCompress
		binary = binary || m.binary != nil
	}
	a.form = f.choose(binary)
	for m := range b.all {
		a.pieces = a.form.form.appendTo(a.pieces, m)
	}
	a.cost = b.list.cost()
	return a
}

// length is that of the payload: the pieces and the separators between them.
func (a *pollAnswer) length() int {
	n := (len(a.pieces) - 1) * len(a.form.separator)
	for _, piece := range a.pieces {
		n += len(piece)
	}
	return n
}

// writeTo writes the payload.
func (a *pollAnswer) writeTo(w io.Writer) error {
	for i, piece := range a.pieces {
		if i > 0 && len(a.form.separator) > 0 {
			if _, err := w.Write(a.form.separator); err != nil {
				return err
			}
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// write writes the answer of a poll. Its messages stay charged to the session until they are written.
func (p *polling) write(w http.ResponseWriter, r *http.Request, body *pollBody, initial bool) {
	s, srv := p.s, p.s.srv
	answer := body.encode(p.framing)
	defer s.settle(&body.list, answer.cost)
	length := answer.length()
	encoding := ""
	if c := &srv.cfg.compression; answer.compress && !c.Disabled && length >= c.Threshold {
		if accepted := acceptencoding.Preferred(r.Header.Values("Accept-Encoding"), encodings[:]...); len(accepted) > 0 {
			encoding = accepted[0]
		}
	}
	h := w.Header()
	h.Set("Content-Type", answer.form.contentType)
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	} else {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	srv.setAnswerHeaders(h, r, initial)

	rc := http.NewResponseController(w)
	until := time.Now().Add(transferTime(int64(length)))
	_ = rc.SetWriteDeadline(until)
	to := io.Writer(w)
	if length > writeChunk {
		to = &largeAnswer{s, w, until}
	}
	if encoding != "" {
		// The headers leave before the size is known, as in the reference.
		_ = rc.Flush()
		writeCompressed(to, encoding, srv.cfg.compression.Level, &answer)
	} else {
		_ = answer.writeTo(to)
	}
	// Flushed here, so that the deadline covers the write and does not outlive it.
	_ = rc.Flush()
	_ = rc.SetWriteDeadline(time.Time{})
	if length > writeChunk {
		p.handedOn(length)
	}
	s.sent(p, answer.packets, length)
}

// largeAnswer writes an answer in chunks, each of which must get on, and stops when the session has been cut off.
type largeAnswer struct {
	s     *Session
	w     http.ResponseWriter
	until time.Time // for the answer as a whole
}

// Write implements io.Writer.
func (a *largeAnswer) Write(p []byte) (written int, err error) {
	rc := http.NewResponseController(a.w)
	for len(p) > 0 {
		until := time.Now().Add(transferTimeout)
		if until.After(a.until) {
			until = a.until
		}
		_ = rc.SetWriteDeadline(until)
		n, err := a.w.Write(p[:min(len(p), writeChunk)])
		written += n
		if err == nil && !a.s.noteProgress() {
			err = ErrClosed
		}
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// setAnswerHeaders completes the headers of an answer to a GET or POST.
func (srv *Server) setAnswerHeaders(h http.Header, r *http.Request, initial bool) {
	if ua := r.UserAgent(); strings.Contains(ua, ";MSIE") || strings.Contains(ua, "Trident/") {
		// The old Internet Explorer's filter took payloads for scripts.
		h.Set("X-XSS-Protection", "0")
	}
	h.Set("Cache-Control", "no-store")
	srv.callHeaderHooks(h, r, initial)
}

func (srv *Server) callHeaderHooks(h http.Header, r *http.Request, initial bool) {
	if initial && srv.cfg.OnInitialHeaders != nil {
		srv.cfg.OnInitialHeaders(h, r)
	}
	if srv.cfg.OnHeaders != nil {
		srv.cfg.OnHeaders(h, r)
	}
}
