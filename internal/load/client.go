package load

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
)

// Handler hears of what a client receives. Its methods run on the client's reading goroutine, one at a time; slices are
// valid only during the call.
type Handler interface {
	// OnEvent gets the arguments of an event as JSON, the name first: ["msg","hi"].
	OnEvent(c *Client, args []byte)
	// OnAck gets the answer to a packet sent with the id.
	OnAck(c *Client, id int, args []byte)
	// OnEnd is the last call; closed says that this side ended the connection.
	OnEnd(c *Client, err error, closed bool)
}

// binaryHandler is a Handler that hears of events with an attachment, in the same way. Others do not.
type binaryHandler interface {
	// OnBinary gets the arguments with a placeholder where the attachment belongs.
	OnBinary(c *Client, args, attachment []byte)
}

var (
	errPeerClosed   = errors.New("the server closed the connection")
	errDisconnected = errors.New("the server disconnected the socket")
)

// Client is one Socket.IO client in namespace "/". Emit and Close may be called from any goroutine.
type Client struct {
	// Static after construction.
	target  *Target
	link    link
	handler Handler
	Index   int      // the owner's number for it
	SID     string   // the socket's id
	session *session // nil without an interest in recovery

	// Owned by whoever reads: Connect, then the reading goroutine.
	opened, joined bool
	ackID          int    // the answer that setup waits for, -1 for none
	acked          bool   // it has come
	recovered      bool   // the server has gone on with the session
	failure        error  // what a packet says about the connection; reading stops
	reply          []byte // scratch for packets that answer
	incomplete     []byte // arguments of an event whose attachment is to come; empty for none

	closed atomic.Bool // by this side
	done   chan struct{}
}

// link moves Engine.IO packets over one transport.
type link interface {
	// open makes the Engine.IO handshake; the open packet comes from read.
	open(ctx context.Context) error
	// read waits for the next packets and gives them to use. It is called by one goroutine at a time.
	read(use func(packet []byte)) error
	// write sends one text packet. It may be called from any goroutine and blocks while the peer does not read.
	write(packet []byte) error
	// writeWith sends a text packet and the attachment that belongs to it, in the same way.
	writeWith(packet, attachment []byte) error
	// goodbye starts the orderly end.
	goodbye() error
	// cut ends the connection at once. It may be called from any goroutine.
	cut()
	// limit makes reads and writes fail once ctx has ended, until stop is called. If that was too late stop reports false,
	// and the connection is of no further use.
	limit(ctx context.Context) (stop func() bool)
}

// Connect opens a client, enters "/" and, unless room is "", joins the room with the event "join", waiting for its
// acknowledgement. From then on handler is called. Setting up ends with ctx.
func Connect(ctx context.Context, t *Target, source net.IP, room string, index int, handler Handler) (*Client, error) {
	return resume(ctx, t, source, room, index, handler, nil)
}

// resume is Connect with the session of a former connection, which it keeps up to date; nil has no part in it. A client that has been
// recovered is in its room already. Events may come to handler before resume returns.
func resume(ctx context.Context, t *Target, source net.IP, room string, index int, handler Handler, s *session) (*Client, error) {
	c := &Client{target: t, handler: handler, Index: index, session: s, ackID: -1, done: make(chan struct{})}
	if t.Transport == Polling {
		c.link = &pollingLink{target: t, source: source}
	} else {
		c.link = &websocketLink{target: t, source: source, attach: c.attachment}
	}
	if err := c.setUp(ctx, room); err != nil {
		c.link.cut()
		if cause := context.Cause(ctx); cause != nil && !errors.As(err, new(*UnreachableError)) {
			return nil, cause
		}
		return nil, err
	}
	go c.run()
	return c, nil
}

func (c *Client) setUp(ctx context.Context, room string) error {
	if err := c.link.open(ctx); err != nil {
		return err
	}
	stop := c.link.limit(ctx)
	if err := c.enter(room); err != nil {
		return err
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return nil
}

// enter does what follows the Engine.IO handshake.
func (c *Client) enter(room string) error {
	if err := c.until(&c.opened); err != nil {
		return err
	}
	if err := c.link.write(c.session.connect()); err != nil {
		return err
	}
	if err := c.until(&c.joined); err != nil {
		return err
	}
	if room == "" || c.recovered {
		return nil
	}
	c.ackID = 0
	if err := c.link.write([]byte(`420["join",` + strconv.Quote(room) + `]`)); err != nil {
		return err
	}
	return c.until(&c.acked)
}

// until reads until a packet has set the flag.
func (c *Client) until(flag *bool) error {
	for !*flag {
		if err := c.read(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) read() error {
	if err := c.link.read(c.packet); err != nil {
		return err
	}
	return c.failure
}

func (c *Client) run() {
	defer close(c.done)
	for {
		if err := c.read(); err != nil {
			c.link.cut()
			c.handler.OnEnd(c, err, c.closed.Load())
			return
		}
	}
}

// packet handles one Engine.IO packet, section "Packet encoding" of its protocol.
func (c *Client) packet(p []byte) {
	if len(p) == 0 || c.failure != nil {
		return
	}
	switch p[0] {
	case '0':
		sid, ok := cutString(p, `"sid":"`)
		if !ok {
			c.failure = violation("the handshake packet has no session id")
			return
		}
		c.opened = true
		if l, ok := c.link.(*pollingLink); ok {
			l.setSID(sid)
		}
	case '1':
		c.failure = errPeerClosed
	case '2':
		c.reply = append(append(c.reply[:0], '3'), p[1:]...)
		if err := c.link.write(c.reply); err != nil {
			c.failure = err
		}
	case '4':
		c.message(p[1:])
	}
}

// message handles one Socket.IO packet of namespace "/".
func (c *Client) message(p []byte) {
	if len(p) == 0 {
		return
	}
	switch kind, rest := p[0], p[1:]; kind {
	case '0':
		if c.joined {
			return
		}
		c.SID, c.joined = "", true
		if sid, ok := cutString(rest, `"sid":"`); ok {
			c.SID = sid
		}
		c.recovered = c.session.connected(rest)
	case '1':
		c.failure = errDisconnected
	case '2':
		// A server may ask for an acknowledgement; benchmarks do not.
		_, args := cutNumber(rest)
		c.session.event(args)
		c.handler.OnEvent(c, args)
	case '3':
		id, args := cutNumber(rest)
		if id == c.ackID {
			c.acked, c.ackID = true, -1
			return
		}
		c.handler.OnAck(c, id, args)
	case '5':
		count, args := cutNumber(rest)
		if count != 1 || len(args) < 2 || args[0] != '-' {
			c.failure = violation("an event has not the one attachment that was sent")
			return
		}
		c.incomplete = append(c.incomplete[:0], args[1:]...)
	case '4':
		c.failure = violation("the server refused the namespace: %s", rest)
	}
}

// attachment handles a binary message, which completes the event before it.
func (c *Client) attachment(data []byte) {
	if c.failure != nil {
		return
	}
	if len(c.incomplete) == 0 {
		c.failure = violation("there is an attachment without an event")
		return
	}
	if h, ok := c.handler.(binaryHandler); ok {
		h.OnBinary(c, c.incomplete, data)
	}
	c.incomplete = c.incomplete[:0]
}

// EmitBinary sends a prepared packet with one attachment, for example 451-["message",{"_placeholder":true,"num":0}].
func (c *Client) EmitBinary(packet, attachment []byte) error {
	return c.link.writeWith(packet, attachment)
}

// Emit sends a prepared packet, for example 42["message","hi"].
func (c *Client) Emit(packet []byte) error { return c.link.write(packet) }

// Close leaves in the orderly way and returns when the connection has ended, or cuts it when ctx ends first.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	err := c.link.write([]byte("41"))
	if err == nil {
		err = c.link.goodbye()
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		err = errors.Join(err, context.Cause(ctx))
	}
	c.Cut()
	return err
}

// Cut ends the connection without a word and waits for the handler's last call. It must not be called by a handler.
func (c *Client) Cut() {
	c.closed.Store(true)
	c.link.cut()
	<-c.done
}

// cutString returns what stands between key and the next quotation mark.
func cutString(p []byte, key string) (string, bool) {
	i := bytes.Index(p, []byte(key))
	if i < 0 {
		return "", false
	}
	p = p[i+len(key):]
	end := bytes.IndexByte(p, '"')
	if end < 0 {
		return "", false
	}
	return string(p[:end]), true
}

// cutNumber cuts decimal digits off the front; -1 means that there are none.
func cutNumber(p []byte) (n int, rest []byte) {
	i := 0
	for i < len(p) && i < 10 && p[i] >= '0' && p[i] <= '9' {
		n = 10*n + int(p[i]-'0')
		i++
	}
	if i == 0 {
		return -1, p
	}
	return n, p[i:]
}
