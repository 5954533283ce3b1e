package soak

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// patience is how long a client waits for what must happen; it is only used up by a failing test.
const patience = 10 * time.Minute

const target = "/socket.io/?EIO=4&transport="

// dialFunc opens a connection to the server under test.
type dialFunc func() (net.Conn, error)

// errClosed is the orderly end of a websocket connection.
type errClosed struct {
	code   int
	reason string
}

func (e *errClosed) Error() string { return fmt.Sprintf("closed with code %d %q", e.code, e.reason) }

// peer is a client on one connection. It has no goroutine: it reads, and answers heartbeats, only while it is asked to
// wait for something.
type peer struct {
	conn net.Conn
	r    *bufio.Reader
	sid  string
	out  []byte // for frames
}

func newPeer(dial dialFunc) (*peer, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &peer{conn: conn, r: bufio.NewReader(conn)}, nil
}

// dialWebSocket opens a websocket: a new session, or with sid a connection that tries to take one over.
func dialWebSocket(dial dialFunc, sid string) (*peer, error) {
	p, err := newPeer(dial)
	if err != nil {
		return nil, err
	}
	p.sid = sid
	if err := p.upgrade(); err != nil {
		_ = p.conn.Close()
		return nil, err
	}
	return p, nil
}

func (p *peer) upgrade() error {
	uri := target + "websocket"
	if p.sid != "" {
		uri += "&sid=" + p.sid
	}
	_, err := fmt.Fprintf(p.conn, "GET %s HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", uri)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		_ = res.Body.Close()
		return fmt.Errorf("upgrade answered %s", res.Status)
	}
	if p.sid != "" {
		return nil
	}
	open, err := p.await("0{")
	if err != nil {
		return err
	}
	p.sid = sidOf(open)
	return nil
}

// sidOf cuts the session id out of a handshake packet, whose first key it is.
func sidOf(open string) string {
	_, rest, _ := strings.Cut(open, `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	return sid
}

// text sends text messages in one write.
func (p *peer) text(messages ...string) error {
	p.out = p.out[:0]
	for _, m := range messages {
		p.out = appendFrame(p.out, websocket.BitFin|byte(websocket.OpText), []byte(m))
	}
	return p.raw(p.out)
}

func (p *peer) frame(first byte, payload []byte) error {
	p.out = appendFrame(p.out[:0], first, payload)
	return p.raw(p.out)
}

func appendFrame(dst []byte, first byte, payload []byte) []byte {
	return websocket.AppendMasked(dst, first, [4]byte{1, 2, 3, 4}, payload)
}

func (p *peer) raw(data []byte) error {
	_, err := p.conn.Write(data)
	return err
}

// read returns the next websocket message, after its payload type: text messages as they are, binary ones after a "b".
func (p *peer) read() (string, error) {
	for {
		op, payload, err := p.readFrame()
		if err != nil {
			return "", err
		}
		switch op {
		case websocket.OpText:
			if string(payload) == "2" {
				if err := p.text("3"); err != nil {
					return "", err
				}
				continue
			}
			return string(payload), nil
		case websocket.OpBinary:
			return "b" + string(payload), nil
		case websocket.OpClose:
			end := &errClosed{code: websocket.CloseNoStatus}
			if len(payload) >= 2 {
				end.code, end.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			}
			_ = p.frame(websocket.BitFin|byte(websocket.OpClose), payload)
			return "", end
		}
	}
}

// readFrame reads one frame; servers do not fragment.
func (p *peer) readFrame() (websocket.Opcode, []byte, error) {
	head, err := p.r.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	op, length := websocket.Opcode(head[0]&0x0f), int64(head[1]&0x7f)
	size := 2
	switch length {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	if head, err = p.r.Peek(size); err != nil {
		return 0, nil, err
	}
	switch size {
	case 4:
		length = int64(binary.BigEndian.Uint16(head[2:]))
	case 10:
		length = int64(binary.BigEndian.Uint64(head[2:]))
	}
	_, _ = p.r.Discard(size)
	payload := make([]byte, length)
	_, err = io.ReadFull(p.r, payload)
	return op, payload, err
}

// await reads until a message with the prefix comes.
func (p *peer) await(prefix string) (string, error) {
	for {
		m, err := p.read()
		if err != nil {
			return "", fmt.Errorf("waiting for %q: %w", prefix, err)
		}
		if strings.HasPrefix(m, prefix) {
			return m, nil
		}
	}
}

// awaitEnd reads until the connection is at its end and closes it. It returns how the server ended it: a *errClosed for
// a close frame.
func (p *peer) awaitEnd() error {
	defer p.cut()
	var err error
	for err == nil {
		_, err = p.read()
	}
	if ended := (*errClosed)(nil); errors.As(err, &ended) {
		_, _ = io.Copy(io.Discard, p.r)
		return ended
	}
	return err
}

// close makes the closing handshake.
func (p *peer) close() error {
	if err := p.frame(websocket.BitFin|byte(websocket.OpClose), nil); err != nil {
		return err
	}
	if err := p.awaitEnd(); !errors.As(err, new(*errClosed)) {
		return fmt.Errorf("closing handshake: %w", err)
	}
	return nil
}

// cut closes the connection without a word, over TCP with a reset.
func (p *peer) cut() {
	if tcp, ok := p.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = p.conn.Close()
}

// join enters a namespace of the server under test; path names what the client is going to do.
func (p *peer) join(namespace, path string) error {
	prefix := namespacePrefix(namespace)
	if err := p.text("40" + prefix + `{"path":"` + path + `"}`); err != nil {
		return err
	}
	_, err := p.await("40" + prefix + "{")
	return err
}

func namespacePrefix(namespace string) string {
	if namespace == "/" {
		return ""
	}
	return namespace + ","
}

// poller is a client on polling; its requests share a connection.
type poller struct {
	*peer
	dial dialFunc
}

func dialPolling(dial dialFunc) (*poller, error) {
	p, err := newPeer(dial)
	if err != nil {
		return nil, err
	}
	c := &poller{peer: p, dial: dial}
	open, err := c.poll()
	if err != nil {
		p.cut()
		return nil, err
	}
	p.sid = sidOf(open)
	return c, nil
}

func (p *poller) uri() string {
	uri := target + "polling"
	if p.sid != "" {
		uri += "&sid=" + p.sid
	}
	return uri
}

// park sends a GET on a connection of its own and does not wait for the answer.
func (p *poller) park() (*peer, error) {
	q, err := newPeer(p.dial)
	if err != nil {
		return nil, err
	}
	if err := q.raw([]byte("GET " + p.uri() + " HTTP/1.1\r\nHost: soak\r\n\r\n")); err != nil {
		q.cut()
		return nil, err
	}
	return q, nil
}

// answer reads the answer to a request.
func (p *peer) answer() (status int, body string, err error) {
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, string(data), err
}

// poll makes a GET and returns the packets as they are.
func (p *poller) poll() (string, error) {
	if err := p.raw([]byte("GET " + p.uri() + " HTTP/1.1\r\nHost: soak\r\n\r\n")); err != nil {
		return "", err
	}
	status, body, err := p.answer()
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("poll answered %d %s", status, body)
	}
	return body, err
}

// post sends packets and returns the status.
func (p *poller) post(packets ...string) (int, error) {
	body := strings.Join(packets, "\x1e")
	if err := p.postHead(len(body), body); err != nil {
		return 0, err
	}
	status, _, err := p.answer()
	return status, err
}

// postHead sends a POST that announces length bytes of body, and the beginning of them.
func (p *poller) postHead(length int, body string) error {
	_, err := fmt.Fprintf(p.conn, "POST %s HTTP/1.1\r\nHost: soak\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s",
		p.uri(), length, body)
	return err
}

// awaitPacket polls until an answer contains a packet with the prefix.
func (p *poller) awaitPacket(prefix string) error {
	for {
		body, err := p.poll()
		if err != nil {
			return fmt.Errorf("waiting for %q: %w", prefix, err)
		}
		for packet := range strings.SplitSeq(body, "\x1e") {
			switch {
			case strings.HasPrefix(packet, prefix):
				return nil
			case packet == "2":
				if _, err := p.post("3"); err != nil {
					return err
				}
			}
		}
	}
}

func (p *poller) join(namespace, path string) error {
	prefix := namespacePrefix(namespace)
	if _, err := p.post("40" + prefix + `{"path":"` + path + `"}`); err != nil {
		return err
	}
	return p.awaitPacket("40" + prefix + "{")
}

// probe opens a websocket for the session and has its probe answered.
func (p *poller) probe() (*peer, error) {
	ws, err := dialWebSocket(p.dial, p.sid)
	if err != nil {
		return nil, err
	}
	if err := ws.text("2probe"); err != nil {
		return nil, err
	}
	if _, err := ws.await("3probe"); err != nil {
		ws.cut()
		return nil, err
	}
	return ws, nil
}
