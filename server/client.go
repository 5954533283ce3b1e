package server

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

var errEmptyMessage = errors.New("empty message")

// maxAttempts bounds how many namespaces of one client may be running their middlewares at the same time.
const maxAttempts = 64

const (
	// attachmentTimeout is how long each attachment of a packet may take to come.
	attachmentTimeout = 90 * time.Second
	// warnInterval is the least time between two warnings about clients of another encoding.
	warnInterval = time.Minute
	// failureInterval is how often the log tells of failures of one callback, which clients may cause at will.
	failureInterval = 10 * time.Second
	// fixmap is the upper half of the first byte of a MessagePack map with at most 15 entries.
	fixmap = 0x80
)

// client is one engine session with the sockets that share it. Its On methods are called by the session, one at a time.
type client struct {
	// Static after construction.
	server  *Server
	session *engine.Session

	// Owned by the reading side. What the decoder's incomplete packet holds is charged to the session.
	decoder parser.Decoder // nil before the first message
	broken  bool           // the client has violated the protocol; its input is ignored
	left    *departures    // nil unless the client has left namespaces

	// codec is an index of server.codecs. The reading side sets it with the first message, before there is a socket.
	codec uint8

	// observed says that a socket of the client was observed at some time.
	observed atomic.Bool

	// paused is written with mu held; it is set before the sockets' acknowledgements are failed.
	paused atomic.Bool
	// inboxes is what the events in the inboxes of all sockets are charged, in bytes.
	inboxes atomic.Int64

	mu sync.Mutex
	// Guarded by mu.
	sockets  []*Socket
	attempts []*attempt
	timer    *time.Timer // until a namespace has been joined
	overdue  *time.Timer // runs while attachments are awaited; nil before the first
	closed   bool
	joined   bool // some namespace was joined at some time
	flowing  bool // a goroutine is telling the session to pause or resume
	chosen   bool // Shed is about to send the client away
	sentAway bool // somebody does so
}

// newClient is called for each new session.
func (srv *Server) newClient(session *engine.Session) engine.Handler {
	c := &client{server: srv, session: session}
	if srv.closing.Load() {
		session.SendAway()
		return c
	}
	srv.unjoined.Add(1)
	c.mu.Lock()
	c.timer = time.AfterFunc(srv.opts.ConnectTimeout, c.onConnectTimeout)
	c.mu.Unlock()
	return c
}

func (c *client) onConnectTimeout() {
	c.mu.Lock()
	idle := len(c.sockets) == 0 && !c.joined
	c.mu.Unlock()
	if idle {
		c.drop()
	}
}

// OnText takes a text message.
func (c *client) OnText(data []byte) {
	if len(data) == 0 && !c.broken {
		// Decoded it would be a CONNECT; the reference's engine hands such a message on as undefined, which is no packet.
		c.onParseError(errEmptyMessage)
		return
	}
	c.receive(data, false)
}

// OnBinary takes a binary message.
func (c *client) OnBinary(data []byte) { c.receive(data, true) }

func (c *client) receive(data []byte, binary bool) {
	if c.broken {
		return
	}
	if c.decoder == nil {
		c.choose(data, binary)
	}
	awaited, held := c.decoder.Incomplete()
	p, err := c.decode(data, binary)
	if awaited != "" && (p != nil || err != nil) {
		c.stopAwaiting()
	}
	if err != nil {
		c.forgetPacket(held)
		if binary && errors.Is(err, parser.ErrUnexpectedBinary) {
			c.warnEncoding(data)
		}
		c.onParseError(err)
		return
	}
	namespace, holds := c.decoder.Incomplete()
	switch {
	case p == nil && c.socket(namespace) == nil && !c.excused(namespace):
		// Attachments for a packet that has no place: the reference collects them first.
		c.forgetPacket(held)
		c.drop()
	case !c.settle(held, holds):
	case p != nil:
		c.onPacket(p)
	default:
		c.awaitAttachment()
	}
}

func (c *client) decode(data []byte, binary bool) (*parser.Packet, error) {
	if binary {
		return c.decoder.Binary(&c.server.limits, data)
	}
	return c.decoder.Text(&c.server.limits, data)
}

// warnEncoding says what is wrong with a client whose first packet is a MessagePack map, as socket.io-msgpack-parser
// writes it: neither end would find out otherwise.
func (c *client) warnEncoding(data []byte) {
	if len(data) == 0 || data[0]&0xf0 != fixmap || len(c.snapshot()) > 0 || !c.server.warnedEncoding.Pass(warnInterval) {
		return
	}
	sid := c.session.ID()
	sid = sid[:min(len(sid), 12)] // whoever knows all of it can poll in the client's place
	c.server.opts.Logger.Warn("a client speaks the msgpack encoding of Socket.IO, which this server does not: "+
		"its page should load socket.io.js instead of socket.io.msgpack.min.js, or drop the option parser; in Python serializer=\"msgpack\"", "sid", sid,
		"address", c.session.Handshake().Address())
}

// settle brings the charge for an incomplete packet, held before the message, in line with what the decoder holds now. It
// reports false if there is no room for it; the connection ends then.
func (c *client) settle(held, holds int64) bool {
	switch more := holds - held; {
	case more > 0 && !c.session.HoldInput(more):
		c.forgetPacket(held)
		return false
	case more < 0:
		c.session.ReleaseInput(-more)
	}
	return true
}

// forgetPacket drops an incomplete packet, for which held bytes are charged. No further input is taken.
func (c *client) forgetPacket(held int64) {
	c.broken = true
	c.decoder = nil
	c.session.ReleaseInput(held)
}

// awaitAttachment bounds the time to the next attachment.
func (c *client) awaitAttachment() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overdue == nil {
		c.overdue = time.AfterFunc(attachmentTimeout, c.onOverdue)
		return
	}
	c.overdue.Reset(attachmentTimeout)
}

func (c *client) stopAwaiting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overdue != nil {
		c.overdue.Stop()
	}
}

// onOverdue ends a client that does not complete its packet. While reading is paused it cannot.
func (c *client) onOverdue() {
	c.mu.Lock()
	paused, closed := c.paused.Load(), c.closed
	if paused && !closed {
		c.overdue.Reset(attachmentTimeout)
	}
	c.mu.Unlock()
	if paused || closed {
		return
	}
	c.server.incomplete.Add(1)
	c.drop()
}

// Quick reports whether what of the application runs on the reading side is known to be quick, see engine.ReadHot. Observers have no
// proof of that: there are few.
func (c *client) Quick() bool {
	return !c.observed.Load() && (c.server.asking == nil || c.server.asking.quick())
}

// OnPong notes what the client has got, for when it comes back.
func (c *client) OnPong() {
	if c.server.opts.Recovery == nil {
		return
	}
	for _, s := range c.snapshot() {
		if r := s.nsp.recovery; r != nil && s.Connected() {
			r.answered(s)
		}
	}
}

// OnClose ends the client's sockets with the session's reason.
func (c *client) OnClose(reason string, _ error) {
	if c.decoder != nil {
		_, held := c.decoder.Incomplete()
		c.forgetPacket(held)
	}
	c.stopAwaiting()
	c.end(Reason(reason))
	c.unmarkChosen()
}

// onParseError does as the reference: the sockets hear of the error, and the connection closes with "forced close".
func (c *client) onParseError(err error) {
	c.broken = true
	c.server.parseErrors.Add(1)
	for _, s := range c.snapshot() {
		c.server.spawn(func() { s.report("", err) })
	}
	c.session.Close()
}

func (c *client) onPacket(p *parser.Packet) {
	name := p.Namespace
	if name == "" {
		name = "/"
	}
	s := c.socket(name)
	allowed := false
	switch p.Type {
	case parser.Connect:
		if allowed = s == nil || c.startsAnew(s); allowed {
			c.comesAgain(name, s)
			c.connect(name, p.JSON)
		}
	case parser.Disconnect:
		allowed = c.leave(name, s) || c.excused(name)
	case parser.Event, parser.Ack:
		if allowed = s != nil || c.excused(name); s == nil {
			break
		}
		s.heard = true
		if p.Type == parser.Event {
			s.onEvent(p)
		} else {
			s.onAck(p)
		}
	}
	if !allowed {
		c.broken = true
		c.drop()
	}
}

// socket returns the client's socket in a namespace.
func (c *client) socket(namespace string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.socketLocked(namespace)
}

func (c *client) socketLocked(namespace string) *Socket {
	for _, s := range c.sockets {
		if s.nsp.name == namespace {
			return s
		}
	}
	return nil
}

func (c *client) snapshot() []*Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sockets)
}

// removeLocked forgets a socket that closes.
func (c *client) removeLocked(s *Socket) {
	if i := slices.Index(c.sockets, s); i >= 0 {
		c.sockets = slices.Delete(c.sockets, i, i+1)
	}
}

// disconnect takes the client out of every namespace and closes the connection.
func (c *client) disconnect() {
	for _, s := range c.snapshot() {
		s.close(ReasonServerDisconnect)
	}
	c.drop()
}

// drop closes the connection because of what the client did or did not do. The reason is as in the reference: that of
// the session, "forced close", if it ends at once, and "forced server close" if it has still to send something.
func (c *client) drop() {
	if !c.session.Close() {
		c.end(ReasonForcedServerClose)
	}
}

// end closes all sockets and pending connects. The first reason counts.
func (c *client) end(reason Reason) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	if !c.joined && c.timer != nil {
		c.server.unjoined.Add(-1)
	}
	sockets, attempts, timer := slices.Clone(c.sockets), c.attempts, c.timer
	c.attempts, c.timer = nil, nil
	c.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	for _, a := range attempts {
		a.cancel(&DisconnectError{reason})
	}
	for _, s := range sockets {
		s.close(reason)
	}
}
