package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	separator = 0x1e // between the packets of a body
	// staleAfter is how long the connection for POSTs may have been idle: Node closes such connections after 5 s, and a
	// request that crosses the close would be lost.
	staleAfter = 2 * time.Second
	postTime   = 30 * time.Second
)

// pollingLink is a session over HTTP long-polling, with one connection for GETs and one for POSTs.
type pollingLink struct {
	// Static after open.
	target *Target
	source net.IP
	get    net.Conn
	r      *bufio.Reader

	// Owned by the reader.
	uri  string // of the GETs
	body []byte

	mu sync.Mutex
	// Guarded by mu.
	sid     string
	post    net.Conn // nil while there is none
	posted  time.Time
	queue   []byte // packets that wait to be posted
	posting bool   // a goroutine does so
	err     error  // why there is no further post
}

func (l *pollingLink) open(ctx context.Context) error {
	conn, err := l.target.dial(ctx, l.source)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.get = conn
	l.mu.Unlock()
	l.r = bufio.NewReaderSize(conn, readBuffer)
	l.uri = l.target.Path + "?EIO=4&transport=polling"
	return nil
}

// setSID is called by the reader when the handshake has come.
func (l *pollingLink) setSID(sid string) {
	l.uri += "&sid=" + sid
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sid = sid
}

// read makes one poll.
func (l *pollingLink) read(use func([]byte)) error {
	if _, err := fmt.Fprintf(l.get, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", l.uri, l.target.Host); err != nil {
		return l.cause(err)
	}
	status, body, err := l.answer(l.r, l.body)
	if err != nil {
		return l.cause(err)
	}
	l.body = body
	if status != http.StatusOK || len(body) == 0 || body[0] < '0' || body[0] > '6' && body[0] != 'b' {
		return l.target.refusal(status, string(body))
	}
	for packet := range bytes.SplitSeq(body, []byte{separator}) {
		use(packet)
	}
	return nil
}

// cause prefers the reason for which the posting side cut the connection.
func (l *pollingLink) cause(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	return err
}

// answer reads a response; buf is memory for the body.
func (l *pollingLink) answer(r *bufio.Reader, buf []byte) (status int, body []byte, err error) {
	res, err := http.ReadResponse(r, nil)
	switch {
	case err != nil && strings.Contains(err.Error(), "malformed HTTP"):
		return 0, nil, violation("%s does not speak HTTP", l.target.Address)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return 0, nil, errPeerClosed
	case err != nil:
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	b := bytes.NewBuffer(buf[:0])
	_, err = b.ReadFrom(res.Body)
	return res.StatusCode, b.Bytes(), err
}

// write queues a packet for the next POST. It never blocks.
func (l *pollingLink) write(packet []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if len(l.queue) > 0 {
		l.queue = append(l.queue, separator)
	}
	l.queue = append(l.queue, packet...)
	if !l.posting {
		l.posting = true
		go l.postAll()
	}
	return nil
}

// writeWith is never called: Config.Binary is for WebSocket alone.
func (l *pollingLink) writeWith([]byte, []byte) error {
	return errors.New("attachments are not sent over polling")
}

// postAll posts until nothing waits.
func (l *pollingLink) postAll() {
	var body []byte
	for {
		l.mu.Lock()
		if len(l.queue) == 0 || l.err != nil {
			l.posting = false
			l.mu.Unlock()
			return
		}
		body, l.queue = l.queue, body[:0]
		uri, conn, stale := l.uri4post(), l.post, time.Since(l.posted) > staleAfter
		l.mu.Unlock()
		if err := l.postOne(uri, conn, stale, body); err != nil {
			l.fail(err)
		}
	}
}

func (l *pollingLink) uri4post() string {
	return l.target.Path + "?EIO=4&transport=polling&sid=" + l.sid
}

func (l *pollingLink) postOne(uri string, conn net.Conn, stale bool, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), postTime)
	defer cancel()
	if conn == nil || stale {
		fresh, err := l.target.dial(ctx, l.source)
		if err != nil {
			return err
		}
		if err := l.adopt(fresh); err != nil {
			return err
		}
		conn = fresh
	}
	_ = conn.SetDeadline(time.Now().Add(postTime))
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s",
		uri, l.target.Host, len(body), body)
	if err != nil {
		return err
	}
	status, answer, err := l.answer(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return l.target.refusal(status, string(answer))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posted = time.Now()
	return nil
}

// adopt makes conn the one for POSTs, unless the link has been cut meanwhile.
func (l *pollingLink) adopt(conn net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		drop(conn)
		return l.err
	}
	if l.post != nil {
		drop(l.post)
	}
	l.post = conn
	return nil
}

// fail ends the link; the first reason counts.
func (l *pollingLink) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	if l.post != nil {
		drop(l.post)
	}
	if l.get != nil {
		drop(l.get)
	}
}

// goodbye sends the close packet.
func (l *pollingLink) goodbye() error { return l.write([]byte{'1'}) }

func (l *pollingLink) cut() { l.fail(net.ErrClosed) }

func (l *pollingLink) limit(ctx context.Context) (stop func() bool) { return limit(ctx, l.get) }
