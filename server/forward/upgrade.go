package forward

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/server/engine"
)

// upgradeTime bounds what a relayed upgrade may take until it is answered.
const upgradeTime = 10 * time.Second

// upgrade brings a websocket to the session's node: it has the session come here, or relays the bytes.
func (f *Forwarder) upgrade(w http.ResponseWriter, r *http.Request, c *call) Reason {
	if f.srv.Draining() {
		// Here the websocket would end soon. A load balancer may try another node; without one the session goes on polling.
		engine.Unavailable(w)
		return ""
	}
	if f.takeSession(w, r, c) {
		return ""
	}
	conn, err := f.connect(r.Context(), c)
	if err != nil {
		if r.Context().Err() == nil { // else it was the client that gave up
			c.to.failed(time.Now())
		}
		return OwnerUnreachable
	}
	answer, err := f.ask(conn, w, r, c)
	if err != nil {
		_ = conn.Close()
		if refused := (*answerError)(nil); errors.As(err, &refused) {
			return refused.reason
		}
		return OwnerFailed
	}
	if answer.switched {
		// A drain sees the relay that begins, or is seen here.
		f.count.starting.Add(1)
		defer f.count.starting.Add(-1)
		if f.srv.Draining() {
			_ = conn.Close()
			engine.Unavailable(w)
			return ""
		}
	}
	client, early, err := engine.Hijack(w)
	if err != nil {
		_ = conn.Close()
		http.Error(w, "websocket is not available here", http.StatusInternalServerError)
		return ""
	}
	f.count.relayed.Add(1)
	if !answer.switched {
		f.finish(client, conn, answer)
		return ""
	}
	f.relays.start(client, conn, answer.bytes, early, c.to.life)
	return ""
}

func (f *Forwarder) connect(ctx context.Context, c *call) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := &net.Dialer{KeepAliveConfig: keepAlive, Control: limitUnconfirmed}
	address := c.to.node.Load().Address
	if f.opts.TLS == nil {
		return dialer.DialContext(ctx, "tcp", address)
	}
	return f.tlsDialer(dialer).DialContext(ctx, "tcp", address)
}

// answer is what the other node says to an upgrade.
type answer struct {
	switched bool   // to websocket
	bytes    []byte // the head, for the client, and what came behind it
}

// ask sends the upgrade on and waits for the answer. The connection has no deadline when it returns without an error.
func (f *Forwarder) ask(conn net.Conn, w http.ResponseWriter, r *http.Request, c *call) (*answer, error) {
	_ = conn.SetDeadline(time.Now().Add(upgradeTime))
	if _, err := conn.Write(f.upgradeHead(r, c)); err != nil {
		return nil, err
	}
	head, rest, err := readHead(conn)
	if err != nil {
		return nil, err
	}
	status, said, head := splitHead(head)
	if err := f.judge(c, said); err != nil {
		return nil, err
	}
	a := &answer{switched: status == http.StatusSwitchingProtocols}
	if a.switched {
		head = addHeader(head, w.Header()) // a refusal has none of them
	}
	a.bytes = append(head, rest...)
	return a, conn.SetDeadline(time.Time{})
}

// upgradeHead is the client's request with a pass.
func (f *Forwarder) upgradeHead(r *http.Request, c *call) []byte {
	var b bytes.Buffer
	b.WriteString(r.Method + " " + r.RequestURI + " HTTP/1.1\r\nHost: " + r.Host + "\r\n")
	header := r.Header.Clone()
	header.Del("Content-Length")
	header.Set(headerName, f.sign(c, r))
	_ = header.Write(&b) // a bytes.Buffer does not fail
	b.WriteString("\r\n")
	return b.Bytes()
}

var errHead = errors.New("answer has a head that is too long")

// readHead reads up to the empty line that ends a head, and returns what came behind it.
func readHead(conn io.Reader) (head, rest []byte, err error) {
	buf := make([]byte, 0, 1<<10)
	for {
		if end := bytes.Index(buf, []byte("\r\n\r\n")); end >= 0 {
			return buf[:end+4], buf[end+4:], nil
		}
		if len(buf) >= maxHeader {
			return nil, nil, errHead
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return nil, nil, err
		}
	}
}

// splitHead returns the status, what the other node says in headerName, and the head without that.
func splitHead(head []byte) (status int, said string, rest []byte) {
	resp, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(head), 512), nil)
	if err != nil {
		return 0, "", head
	}
	rest = make([]byte, 0, len(head)+256)
	for line := range bytes.Lines(head) {
		if name, _, ok := strings.Cut(string(line), ":"); !ok || !strings.EqualFold(name, headerName) {
			rest = append(rest, line...)
		}
	}
	return resp.StatusCode, resp.Header.Get(headerName), rest
}

// addHeader adds what middlewares of this node have set.
func addHeader(head []byte, header http.Header) []byte {
	if len(header) == 0 {
		return head
	}
	var b bytes.Buffer
	b.Write(head[:len(head)-2])
	_ = header.Write(&b) // a bytes.Buffer does not fail
	b.WriteString("\r\n")
	return b.Bytes()
}

// maxAnswer bounds the answer to an upgrade that is refused.
const maxAnswer = 64 << 10

// finish gives a client the answer that its upgrade is refused.
func (f *Forwarder) finish(client, conn net.Conn, a *answer) {
	defer func() { _ = client.Close() }()
	defer func() { _ = conn.Close() }()
	deadline := time.Now().Add(upgradeTime)
	_ = client.SetDeadline(deadline)
	_ = conn.SetDeadline(deadline)
	if _, err := client.Write(a.bytes); err == nil {
		_, _ = io.Copy(client, io.LimitReader(conn, maxAnswer))
	}
}
