package servertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// maxRecent is how many packets a failure message recalls.
const maxRecent = 5

var (
	errCut        = errors.New("the client has been cut")
	errNotPolling = errors.New("the client is not on polling")
)

// Client is one connection to a server, over the transport it has at the moment. See the package's notes on which methods
// fail the test and which may be called from any goroutine.
type Client struct {
	// Static after construction.
	t    testing.TB
	srv  *Server
	opts DialOptions
	sid  string
	turn chan struct{} // capacity 1: full while somebody writes

	// Guarded by turn.
	transport transport

	// Owned by the test's goroutine.
	decoder parser.Decoder
	packets []*parser.Packet // received and not yet asked for
	ackID   int64

	pumps sync.WaitGroup // the goroutine that reads; during an upgrade the old one and the new one

	mu     sync.Mutex
	change sync.Cond // of anything below
	// Guarded by mu.
	conns   map[*conn]*line // open connections, with the line that reads each
	queue   []Packet
	recent  []Packet
	end     *CloseError // how the connection ended
	cut     bool
	stalled bool
	closing bool
	// An upgrade waits for the end of the last poll.
	upgrading bool // no further poll is to be made
	quiet     bool // and none is open
}

// transport moves packets. Write and close are called with Client.turn taken, read by the pump.
type transport interface {
	write(ctx context.Context, packets []Packet) error
	writeRaw(ctx context.Context, data []byte) error
	read() ([]Packet, error)
	// goodbye starts the orderly end.
	goodbye(ctx context.Context) error
	// drain reads what comes after the end; it returns when the connection is gone.
	drain()
}

// CloseError says how a connection ended, or that an HTTP request was refused.
type CloseError struct {
	// Code of the websocket close frame; 1005 if it had none, 1006 if the connection ended without a close frame. 0 when
	// the end came as an HTTP answer.
	Code int
	// Status of the HTTP answer that was the end; 200 means that it carried a close packet.
	Status int
	// Reason is the text of the close frame, the body of the answer, or what broke the connection.
	Reason string
}

// Codes that are never sent, RFC 6455 section 7.4.1.
const (
	codeNone     = 1005
	codeAbnormal = 1006
)

// Error describes the end.
func (e *CloseError) Error() string {
	text := fmt.Sprintf("connection ended with code %d", e.Code)
	if e.Status != 0 {
		text = fmt.Sprintf("HTTP status %d", e.Status)
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// broken is the end of a connection without a word.
func broken(err error) *CloseError { return &CloseError{Code: codeAbnormal, Reason: err.Error()} }

func newClient(t testing.TB, srv *Server, opts *DialOptions) *Client {
	c := &Client{
		t: t, srv: srv, opts: *opts, sid: opts.SessionID,
		turn: make(chan struct{}, 1), conns: make(map[*conn]*line),
	}
	if c.opts.Codec == nil {
		c.opts.Codec = parser.JSON{}
	}
	c.decoder = c.opts.Codec.NewDecoder()
	c.change.L = &c.mu
	return c
}

// SID returns the Engine.IO session id.
func (c *Client) SID() string { return c.sid }

// Send sends text packets, each starting with its type: over websocket as a message each, over polling as one POST. It
// fails the test if the server does not take them within Options.Timeout.
func (c *Client) Send(packets ...string) {
	c.t.Helper()
	list := make([]Packet, len(packets))
	for i, p := range packets {
		list[i].Data = p
	}
	c.mustWrite(list...)
}

// SendBinary sends one binary packet.
func (c *Client) SendBinary(data []byte) {
	c.t.Helper()
	c.mustWrite(Packet{Data: string(data), Binary: true})
}

func (c *Client) mustWrite(packets ...Packet) {
	c.t.Helper()
	ctx, cancel := c.patience()
	defer cancel()
	if err := c.Write(ctx, packets...); err != nil {
		c.t.Fatalf("servertest: send %v: %v", packets, err)
	}
}

// Write sends packets, and waits while the server does not read. Over websocket it fails once the connection is gone,
// over polling with a *CloseError when the server refuses the request. After an error part of the packets may have
// arrived. It may be called from any goroutine; packets of one call stay together.
func (c *Client) Write(ctx context.Context, packets ...Packet) error {
	return c.inTurn(ctx, func(tr transport) error { return tr.write(ctx, packets) })
}

// WriteRaw sends bytes as they are: on the websocket connection, where frames are expected, or as the body of a POST. It
// is for violations of the protocol.
func (c *Client) WriteRaw(data []byte) {
	c.t.Helper()
	ctx, cancel := c.patience()
	defer cancel()
	if err := c.inTurn(ctx, func(tr transport) error { return tr.writeRaw(ctx, data) }); err != nil {
		c.t.Fatalf("servertest: send raw bytes: %v", err)
	}
}

// inTurn calls f when nobody else writes.
func (c *Client) inTurn(ctx context.Context, f func(tr transport) error) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("earlier packets are not sent yet: %w", context.Cause(ctx))
	}
	defer func() { <-c.turn }()
	return f(c.transport)
}

// Read returns the next packet that nobody has asked for, waiting for one if necessary, or how the connection ended, a
// *CloseError, or the error of ctx. Pings, which are answered, and noops are left out unless DialOptions.Raw is set. It
// may be called from any goroutine.
func (c *Client) Read(ctx context.Context) (Packet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.awaitLocked(ctx, func() bool { return len(c.queue) > 0 || c.end != nil }); err != nil {
		return Packet{}, fmt.Errorf("no packet came: %w%s", err, c.recallLocked())
	}
	if len(c.queue) == 0 {
		return Packet{}, c.end
	}
	p := c.queue[0]
	c.queue = c.queue[1:]
	return p, nil
}

// Next is Read that fails the test after Options.Timeout or when the connection has ended.
func (c *Client) Next() Packet {
	c.t.Helper()
	p, err := c.next()
	if err != nil {
		c.t.Fatalf("servertest: waiting for a packet: %v", err)
	}
	return p
}

func (c *Client) next() (Packet, error) {
	ctx, cancel := c.patience()
	defer cancel()
	return c.Read(ctx)
}

// Expect fails the test unless the next packets are these text packets.
func (c *Client) Expect(packets ...string) {
	c.t.Helper()
	for _, want := range packets {
		got, err := c.next()
		switch {
		case err != nil:
			c.t.Fatalf("servertest: waiting for %v: %v", Packet{Data: want}, err)
		case got != Packet{Data: want}:
			c.t.Fatalf("servertest: got %v, want %v", got, Packet{Data: want})
		}
	}
}

// ExpectClosed waits for the end of the connection and returns how it ended. It fails the test after Options.Timeout.
// Packets that came before stay readable.
func (c *Client) ExpectClosed() *CloseError {
	c.t.Helper()
	ctx, cancel := c.patience()
	defer cancel()
	c.mu.Lock()
	err := c.awaitLocked(ctx, func() bool { return c.end != nil })
	end, recall := c.end, c.recallLocked()
	c.mu.Unlock()
	if err != nil {
		c.t.Fatalf("servertest: the connection stays open: %v%s", err, recall)
	}
	return end
}

// Close ends the connection in the orderly way, with a close frame or a close packet, and waits for the server's answer.
// It does nothing on a connection that has ended.
func (c *Client) Close() {
	c.t.Helper()
	c.mu.Lock()
	over := c.end != nil
	c.closing = true
	c.mu.Unlock()
	if over {
		return
	}
	ctx, cancel := c.patience()
	defer cancel()
	if err := c.inTurn(ctx, func(tr transport) error { return tr.goodbye(ctx) }); err != nil {
		c.t.Fatalf("servertest: close: %v", err)
	}
	c.ExpectClosed()
}

// Cut ends the connection without a word, as a crash of the client or its network would: whatever connection it has
// is closed, no close frame or packet is sent. It may be called from any goroutine, more than once.
func (c *Client) Cut() {
	c.mu.Lock()
	c.cut = true
	if c.end == nil {
		c.end = broken(errCut)
	}
	conns := make([]*conn, 0, len(c.conns))
	for conn := range c.conns {
		conns = append(conns, conn)
	}
	c.change.Broadcast()
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// Stall stops reading, as a frozen client does: the server's pings are not answered, and once the buffer is full its
// writes block. Over polling a poll that is open stays so, and no further one is made. It may be called from any
// goroutine.
func (c *Client) Stall() { c.setStalled(true) }

// Resume ends a Stall. What came meanwhile is then read.
func (c *Client) Resume() { c.setStalled(false) }

func (c *Client) setStalled(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = on
	for conn, l := range c.conns {
		if l == nil || l.polls {
			conn.hold(on)
		}
	}
	c.change.Broadcast()
}

// release ends everything at the end of the test.
func (c *Client) release() {
	c.Cut()
	c.pumps.Wait()
}

// pump reads until the connection has ended or the client leaves the transport.
func (c *Client) pump(tr transport) {
	for {
		packets, err := tr.read()
		for _, p := range packets {
			c.take(p)
		}
		if errors.Is(err, errLeft) {
			return
		}
		if err == nil {
			continue
		}
		end, ok := err.(*CloseError)
		if !ok {
			end = broken(err)
		}
		c.finish(end)
		tr.drain()
		return
	}
}

// take does with a packet what the npm client would.
func (c *Client) take(p Packet) {
	if !c.opts.Raw {
		switch p {
		case packetPing:
			// A failure shows where the connection is read.
			_ = c.Write(context.Background(), packetPong)
			return
		case packetNoop:
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, p)
	if len(c.recent) == maxRecent {
		c.recent = append(c.recent[:0], c.recent[1:]...)
	}
	c.recent = append(c.recent, p)
	c.change.Broadcast()
}

// finish notes how the connection ended; the first one counts.
func (c *Client) finish(end *CloseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		c.end = end
	}
	c.change.Broadcast()
}

// track makes conn one of the client's, to be cut with it and, if it is to be read by l, stalled. A nil l means a
// websocket.
func (c *Client) track(conn *conn, l *line) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return errCut
	}
	c.conns[conn] = l
	if c.stalled && (l == nil || l.polls) {
		conn.hold(true)
	}
	return nil
}

func (c *Client) untrack(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

// awaitLocked waits until ok reports true, or returns why ctx ended.
func (c *Client) awaitLocked(ctx context.Context, ok func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.change.Broadcast()
	})
	defer stop()
	for !ok() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.change.Wait()
	}
	return nil
}

// recallLocked describes the latest packets, for a failure message.
func (c *Client) recallLocked() string {
	if len(c.recent) == 0 {
		return "; nothing has come before"
	}
	list := make([]string, len(c.recent))
	for i, p := range c.recent {
		list[i] = p.String()
	}
	return "; the latest before: " + strings.Join(list, ", ")
}

// patience is the time that the methods have which fail the test.
func (c *Client) patience() (context.Context, context.CancelFunc) {
	return c.srv.patience()
}

func (srv *Server) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), srv.opts.Timeout,
		fmt.Errorf("gave up after %v", srv.opts.Timeout.Round(time.Millisecond)))
}
