package servertest

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
	"github.com/sockeye-io/sockeye/server/engine"
)

const (
	handshakeGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 section 1.3
	maxRefusal    = 64 << 10                               // of the body that comes with one
)

// wsTransport is a websocket connection.
type wsTransport struct {
	c    *Client
	conn *conn
	r    *bufio.Reader

	closeSent bool // guarded by c.turn
}

// openWebSocket opens a session, or an upgrade if the options name one.
func (c *Client) openWebSocket(ctx context.Context) error {
	tr, err := c.dialWebSocket(ctx)
	if err != nil {
		return err
	}
	c.transport = tr
	if c.opts.SessionID != "" {
		return nil
	}
	defer closeAtEnd(ctx, tr.conn)()
	packets, err := tr.read()
	if err != nil {
		return err
	}
	return c.opened(packets[0])
}

// dialWebSocket makes the websocket handshake, RFC 6455 section 4.1.
func (c *Client) dialWebSocket(ctx context.Context) (*wsTransport, error) {
	conn, err := c.dial(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer closeAtEnd(ctx, conn)()
	var nonce [16]byte
	binary.BigEndian.PutUint64(nonce[:], rand.Uint64())
	binary.BigEndian.PutUint64(nonce[8:], rand.Uint64())
	key := base64.StdEncoding.EncodeToString(nonce[:])
	r := c.request(http.MethodGet, engine.TransportWebSocket, "")
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
	} {
		if r.Header.Get(name) == "" {
			r.Header.Set(name, value)
		}
	}
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	tr := &wsTransport{c: c, conn: conn, r: bufio.NewReader(conn)}
	res, err := http.ReadResponse(tr.r, r)
	if err != nil {
		return nil, unexpected(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
		return nil, &CloseError{Status: res.StatusCode, Reason: string(body)}
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + handshakeGUID))
	if want, got := base64.StdEncoding.EncodeToString(sum[:]), res.Header.Get("Sec-WebSocket-Accept"); got != want {
		return nil, fmt.Errorf("Sec-WebSocket-Accept is %q, want %q", got, want)
	}
	return tr, nil
}

// closeAtEnd closes conn when ctx ends before the returned function is called.
func closeAtEnd(ctx context.Context, conn *conn) (stop func()) {
	cancel := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return func() { cancel() }
}

func (tr *wsTransport) write(ctx context.Context, packets []Packet) error {
	var frames []byte
	for _, p := range packets {
		op := websocket.OpText
		if p.Binary {
			op = websocket.OpBinary
		}
		frames = appendFrame(frames, op, []byte(p.Data))
	}
	return tr.writeRaw(ctx, frames)
}

func appendFrame(dst []byte, op websocket.Opcode, payload []byte) []byte {
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], rand.Uint32())
	return websocket.AppendMasked(dst, websocket.BitFin|byte(op), key, payload)
}

func (tr *wsTransport) writeRaw(ctx context.Context, data []byte) error {
	stop := context.AfterFunc(ctx, func() { _ = tr.conn.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := tr.conn.Write(data)
	if !stop() {
		_ = tr.conn.SetWriteDeadline(time.Time{})
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func (tr *wsTransport) read() ([]Packet, error) {
	tr.c.awaitFlow()
	op, message, err := readMessage(tr.r, tr.control)
	if err != nil {
		return nil, err
	}
	return []Packet{{Data: string(message), Binary: op == websocket.OpBinary}}, nil
}

// control handles a control frame. A close frame is the end; the answer to it is sent in any case.
func (tr *wsTransport) control(op websocket.Opcode, payload []byte) error {
	switch op {
	case websocket.OpPing:
		return tr.answer(websocket.OpPong, payload)
	case websocket.OpClose:
		end := &CloseError{Code: codeNone}
		if len(payload) >= 2 {
			end.Code = int(binary.BigEndian.Uint16(payload))
			end.Reason = string(payload[2:])
		}
		// The server may have closed the connection already.
		_ = tr.answer(websocket.OpClose, payload)
		return end
	}
	return nil
}

// awaitFlow returns when the client is not stalled.
func (c *Client) awaitFlow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.stalled && c.end == nil {
		c.change.Wait()
	}
}

func (tr *wsTransport) answer(op websocket.Opcode, payload []byte) error {
	if tr.c.opts.Raw {
		return nil
	}
	ctx := context.Background()
	return tr.c.inTurn(ctx, func(transport) error { return tr.writeControl(ctx, op, payload) })
}

// writeControl sends a control frame, unless a close frame was the last.
func (tr *wsTransport) writeControl(ctx context.Context, op websocket.Opcode, payload []byte) error {
	if tr.closeSent {
		return nil
	}
	tr.closeSent = op == websocket.OpClose
	return tr.writeRaw(ctx, appendFrame(nil, op, payload))
}

// goodbye sends a close frame without code, as the npm client does.
func (tr *wsTransport) goodbye(ctx context.Context) error {
	return tr.writeControl(ctx, websocket.OpClose, nil)
}

// drain leaves it to the server to close the connection, RFC 6455 section 7.1.1.
func (tr *wsTransport) drain() {
	_, _ = io.Copy(io.Discard, tr.r)
	_ = tr.conn.Close()
	tr.c.untrack(tr.conn)
}

// dial opens one of the client's connections; l reads it, nil for a websocket.
func (c *Client) dial(ctx context.Context, l *line) (*conn, error) {
	conn, err := c.srv.listener.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.track(conn, l); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// setBody gives r a body; "" means none.
func setBody(r *http.Request, body string) {
	if r.Method == http.MethodPost {
		r.Body = io.NopCloser(strings.NewReader(body))
		r.ContentLength = int64(len(body))
		if r.Header.Get("Content-Type") == "" {
			r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
		}
	}
}
