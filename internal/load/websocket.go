package load

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

const (
	acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 section 1.3
	readBuffer = 4 << 10
	maxHead    = 16 << 10 // of an HTTP answer
	// maxReadBuffer is the largest of Target.ReadBuffer that a Config asks for by itself.
	maxReadBuffer = 64 << 10
)

var serverFrames = &websocket.Config{MaxMessageSize: 64 << 20, FromServer: true}

// websocketLink is a websocket connection.
type websocketLink struct {
	// Static after open.
	target *Target
	source net.IP
	attach func([]byte) // gets binary messages
	conn   net.Conn

	// Owned by the reader.
	parser websocket.Parser
	buf    []byte
	n      int // bytes in buf that have not been parsed
	use    func([]byte)
	err    error

	mu  sync.Mutex
	out []byte // guarded by mu
}

// open makes the opening handshake, RFC 6455 section 4.1.
func (l *websocketLink) open(ctx context.Context) error {
	conn, err := l.target.dial(ctx, l.source)
	if err != nil {
		return err
	}
	l.conn = conn
	defer l.limit(ctx)()
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	_, err = fmt.Fprintf(conn, "GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", l.target.Path, l.target.Host, key)
	if err != nil {
		return err
	}
	l.buf = make([]byte, orUsual(l.target.ReadBuffer, readBuffer))
	return l.answer(key)
}

// answer reads the response; what follows it stays in the buffer.
func (l *websocketLink) answer(key string) error {
	for {
		n, err := l.conn.Read(l.buf[l.n:])
		l.n += n
		head, rest, whole := bytes.Cut(l.buf[:l.n], []byte("\r\n\r\n"))
		switch {
		case whole:
			if err := l.checkAnswer(string(head), string(rest), key); err != nil {
				return err
			}
			l.n = copy(l.buf, rest)
			return nil
		case err != nil && !strings.HasPrefix("HTTP/", string(l.buf[:min(l.n, 5)])):
			return violation("%s does not speak HTTP", l.target.Address)
		case err != nil:
			return fmt.Errorf("the server closed the connection during the handshake: %w", err)
		case l.n == len(l.buf) && l.n >= maxHead:
			return violation("the head of the answer is longer than %d bytes", maxHead)
		case l.n == len(l.buf):
			l.buf = append(l.buf, make([]byte, len(l.buf))...)
		}
	}
}

func (l *websocketLink) checkAnswer(head, body, key string) error {
	lines := strings.Split(head, "\r\n")
	var status int
	if _, err := fmt.Sscanf(lines[0], "HTTP/1.1 %d", &status); err != nil {
		return violation("%s does not speak HTTP", l.target.Address)
	}
	if status != 101 {
		return l.target.refusal(status, body)
	}
	sum := sha1.Sum([]byte(key + acceptGUID))
	want := base64.StdEncoding.EncodeToString(sum[:])
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") && strings.TrimSpace(value) == want {
			return nil
		}
	}
	return violation("the server's Sec-WebSocket-Accept does not fit the request")
}

// read reads once and parses what came.
func (l *websocketLink) read(use func([]byte)) error {
	if l.n == 0 {
		n, err := l.conn.Read(l.buf)
		if err != nil {
			return err
		}
		l.n = n
	}
	data := l.buf[:l.n]
	l.n, l.use = 0, use
	if _, err := l.parser.Feed(serverFrames, nil, l, data); err != nil {
		return err
	}
	return l.err
}

// OnMessage implements websocket.Handler. Binary messages are attachments.
func (l *websocketLink) OnMessage(op websocket.Opcode, payload []byte) {
	if op == websocket.OpText {
		l.use(payload)
		return
	}
	l.attach(payload)
}

// OnPing implements websocket.Handler.
func (l *websocketLink) OnPing(payload []byte) {
	if err := l.frame(websocket.OpPong, payload); err != nil {
		l.err = err
	}
}

// OnPong implements websocket.Handler.
func (l *websocketLink) OnPong([]byte) {}

// OnClose implements websocket.Handler.
func (l *websocketLink) OnClose(code int, reason []byte) {
	_ = l.frame(websocket.OpClose, nil)
	l.err = fmt.Errorf("%w with code %d %s", errPeerClosed, code, reason)
}

func (l *websocketLink) write(packet []byte) error { return l.frame(websocket.OpText, packet) }

// writeWith writes two frames at once.
func (l *websocketLink) writeWith(packet, attachment []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = websocket.AppendMasked(l.out[:0], websocket.BitFin|byte(websocket.OpText), [4]byte{}, packet)
	l.out = websocket.AppendMasked(l.out, websocket.BitFin|byte(websocket.OpBinary), [4]byte{}, attachment)
	_, err := l.conn.Write(l.out)
	return err
}

// frame writes one frame. The zero key is as good as any between programs that trust each other, and costs nothing.
func (l *websocketLink) frame(op websocket.Opcode, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = websocket.AppendMasked(l.out[:0], websocket.BitFin|byte(op), [4]byte{}, payload)
	_, err := l.conn.Write(l.out)
	return err
}

func (l *websocketLink) goodbye() error { return l.frame(websocket.OpClose, nil) }

func (l *websocketLink) cut() {
	if l.conn != nil {
		drop(l.conn)
	}
}

func (l *websocketLink) limit(ctx context.Context) (stop func() bool) { return limit(ctx, l.conn) }

// limit is link.limit for one connection.
func limit(ctx context.Context, conn net.Conn) (stop func() bool) {
	cancel := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return cancel
}
