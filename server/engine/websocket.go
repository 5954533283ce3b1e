package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
	"github.com/sockeye-io/sockeye/internal/websocket"
)

const (
	// lingerTime is how long a peer may take to answer a close frame, as in ws.
	lingerTime = 30 * time.Second
	// maxControl bounds the replies to control frames that wait to be written.
	maxControl = 16 << 10
	// responseSize is enough for the usual 101 response and the first frames behind it.
	responseSize = 384
)

// link is what carries a websocket connection: a net.Conn, or a descriptor.
type link interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// wsConn is a websocket connection: that of a session, or one that may become it.
type wsConn struct {
	// Static after construction.
	s       *Session
	conn    link
	raw     syscall.RawConn // nil: no non-blocking reads and writes
	deflate *websocket.Deflate
	framing *messageFraming

	// Owned by the reading side.
	parser  websocket.Parser
	held    int     // bytes of the parser that are charged to the session
	reads   uint32  // so far
	probing bool    // not yet the session's transport
	quick   bool    // of continued
	unread  *[]byte // consumed from the connection, not yet by the parser, because of a pause
	// continued is what the handler of the message being delivered left to do; see Session.Continue.
	continued func()

	poll pollState // safe for concurrent use by itself

	// Guarded by s.mu.
	busy          bool // a writer is at work and will find whatever is queued
	closeSent     bool // our close frame is queued or sent
	closeReceived bool
	control       []byte // frames that go out before queued messages
	linger        *linger
}

// linger is the deadline of the closing handshake.
type linger struct {
	timerwheel.Entry
	c *wsConn
}

// Expired runs on the wheel's goroutine.
func (l *linger) Expired(*timerwheel.Entry) {
	// Closing a TLS connection may wait for its peer.
	l.c.s.srv.tasks.start(l.c.close)
}

var websocketKind = transportKind{
	name: TransportWebSocket, target: true, claims: websocket.IsUpgrade, serve: serveWebSocket,
}

func (c *wsConn) kind() *transportKind { return &websocketKind }

func (c *wsConn) readyLocked() bool { return !c.busy }

func (c *wsConn) wakeLocked() (flush bool) { return !c.busy }

// closeLocked starts the closing handshake, unless the ending is abrupt.
func (c *wsConn) closeLocked(e *ending, pending messages) (rest messages, more bool) {
	if e.abrupt {
		c.closeSent = true
		return pending, true
	}
	if e.quiet {
		c.closeReceived = true // nothing more is expected of the peer
		return pending, c.lingerLocked()
	}
	return pending, c.sendCloseLocked(e.code, e.text)
}

func (c *wsConn) closed(e *ending) {
	if e.abrupt {
		c.s.srv.tasks.start(c.close)
	} else {
		c.kick()
	}
}

// continueWith implements transport. The reading side runs f when it has let go of the connection.
func (c *wsConn) continueWith(rest continuation) bool {
	if c.continued != nil || c.raw == nil && !c.poll.watched() {
		return false
	}
	c.continued, c.quick = rest.f, rest.quick
	return true
}

// arrival implements transport. What is read from one segment is one arrival, whatever pauses come between.
func (c *wsConn) arrival() uint32 { return c.reads }

// confirm implements candidate.
func (c *wsConn) confirm(m *Message) { c.reply(websocket.OpText, m.payload()) }

// serveWebSocket answers a verified upgrade request: a handshake, an upgrade of the session, or neither.
func serveWebSocket(srv *Server, w http.ResponseWriter, r *http.Request, q engineQuery, session *Session) {
	hs, refusal := websocket.Accept(r, srv.cfg.deflate)
	if refusal != nil {
		if !srv.abortRaw(w, r, refusal.AppendResponse(nil)) {
			w.WriteHeader(refusal.Status)
		}
		return
	}
	opens := session == nil && q.transport == TransportWebSocket
	if opens {
		rev, e := srv.verifyProtocol(r, &q)
		if e != nil {
			srv.refuse(w, r, e)
			return
		}
		if session, opens = srv.newSession(w, r, rev); !opens {
			return
		}
	}
	conn, response, early, ok := srv.takeOver(w, r, &q, hs)
	if !ok {
		if opens {
			session.leave()
		}
		return
	}
	c := &wsConn{s: session, deflate: hs.Deflate}
	c.conn, c.raw = srv.poller.adopt(conn)
	if session != nil {
		c.framing = srv.cfg.messages[session.protocol]
		if q.b64 != "" {
			c.framing = srv.cfg.texts[session.protocol]
		}
	}
	if opens {
		srv.openWebSocket(c, response, early)
		return
	}
	if !srv.respond(c.conn, response) {
		return
	}
	c.probing = true
	if q.transport != TransportWebSocket || !session.beginUpgrade(c) {
		srv.turnAway(c)
		return
	}
	c.startReading(early)
}

// openWebSocket starts a session on c. The session is known before the client can know its id, and is kept from writing
// until the response is out.
func (srv *Server) openWebSocket(c *wsConn, response, early []byte) {
	s := c.s
	s.transport, c.busy = c, true
	first, packets, size := c.firstFrames()
	if err := srv.open(s); err != nil {
		if err == errRefusing {
			srv.count.turnedAway.Add(1)
			srv.respond(c.conn, []byte(unavailable))
		}
		c.onReadEnd(err) // nobody reads, and no closing handshake may wait for it
		return
	}
	s.sent(c, packets, size)
	if !srv.respond(c.conn, append(response, first...)) {
		s.fail(net.ErrClosed)
		c.onReadEnd(net.ErrClosed)
		return
	}
	c.release()
	c.startReading(early)
}

// startReading begins to read the connection; early is what has been read of it already.
func (c *wsConn) startReading(early []byte) {
	srv := c.s.srv
	if srv.poller != nil && (c.raw != nil || pollable(c.conn) != nil) && c.startPolling(early) {
		return
	}
	conn, ok := c.conn.(net.Conn)
	if !ok { // a descriptor, and the kernel has no room in the poller for it
		c.onReadEnd(net.ErrClosed)
		return
	}
	startReading(&srv.workers, conn, c.raw, early, c)
}

// close closes the connection, from any goroutine. The poller hears nothing of what this side closes.
func (c *wsConn) close() {
	_ = c.conn.Close()
	if c.poll.wake() {
		c.s.srv.workers.do((*readJob)(c))
	}
}

// release ends the time in which nothing may be written; what has gathered follows.
func (c *wsConn) release() {
	s := c.s
	s.mu.Lock()
	c.busy = !s.out.empty() || c.control != nil || s.state == stateClosing
	kick := c.busy
	s.mu.Unlock()
	if kick {
		c.kick()
	}
}

// firstFrames is what a session that starts on websocket sends right behind the 101 response, in the same write.
func (c *wsConn) firstFrames() (frames []byte, packets, size int) {
	srv := c.s.srv
	open := srv.openPacket(c.s)
	frames = websocket.AppendFrame(nil, websocket.OpText, false, []byte(open))
	m := srv.cfg.InitialPacket
	if m == nil {
		return frames, 1, len(open)
	}
	frames = slices.Concat(c.framing.frames.appendTo([][]byte{frames}, m)...)
	return frames, 1 + m.packets(), len(open) + m.size
}

// takeOver hijacks the connection. It returns the 101 response, not written yet, and what the client has sent behind its
// request.
func (srv *Server) takeOver(
	w http.ResponseWriter, r *http.Request, q *engineQuery, hs *websocket.Handshake,
) (conn net.Conn, response, early []byte, ok bool) {
	header := w.Header().Clone()
	srv.callHeaderHooks(header, r, q.sid == "")
	conn, early, err := Hijack(w)
	if err != nil {
		srv.notHijackable.Do(func() {
			srv.cfg.Logger.Error("websocket connections cannot be taken over from the HTTP server: a middleware's writer needs a method Hijack or "+
				"Unwrap, and HTTP/2 has to be off here", "error", err, "writer", fmt.Sprintf("%T", innermost(w)), "protocol", r.Proto)
		})
		http.Error(w, "websocket is not available here", http.StatusInternalServerError)
		return nil, nil, nil, false
	}
	return conn, hs.AppendResponse(make([]byte, 0, responseSize), header), early, true
}

// innermost returns the writer at which http.ResponseController gives up.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// respond writes the first bytes on a hijacked connection, waiting as long as an upgrade may take. It closes the
// connection and reports false when that fails.
func (srv *Server) respond(conn link, response []byte) bool {
	_ = conn.SetWriteDeadline(time.Now().Add(srv.cfg.UpgradeTimeout))
	if _, err := conn.Write(response); err != nil {
		_ = conn.Close()
		return false
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return true
}

// turnAway closes a websocket connection that belongs to no session, with a close frame without code.
func (srv *Server) turnAway(c *wsConn) {
	srv.setLingering(c, true)
	srv.tasks.start(func() {
		defer srv.setLingering(c, false)
		defer func() { _ = c.conn.Close() }()
		if srv.closed.Load() {
			return
		}
		_ = c.conn.SetDeadline(time.Now().Add(lingerTime))
		if _, err := c.conn.Write(websocket.AppendClose(nil, 0, "")); err == nil {
			discardUntilClose(c.conn)
		}
	})
}

// discardUntilClose reads until the peer answers with a close frame or ends the connection.
func discardUntilClose(conn io.Reader) {
	var h closeWatch
	var p websocket.Parser
	defer p.Release()
	buf := make([]byte, plainBufferSize)
	for !h.closed {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := p.Feed(nil, nil, &h, buf[:n]); err != nil {
			return
		}
	}
}

type closeWatch struct{ closed bool }

func (*closeWatch) OnMessage(websocket.Opcode, []byte) {}
func (*closeWatch) OnPing([]byte)                      {}
func (*closeWatch) OnPong([]byte)                      {}
func (h *closeWatch) OnClose(int, []byte)              { h.closed = true }

// onReadable feeds the parser; see receiver.
func (c *wsConn) onReadable(p []byte) verdict {
	if len(p) > 0 {
		c.reads++
	}
	if c.unread != nil {
		p = *c.unread
		c.unread = nil
	}
	for {
		if c.Stop() {
			if len(p) > 0 {
				rest := slices.Clone(p)
				c.unread = &rest
			}
			return pauseReading
		}
		if len(p) == 0 {
			return keepReading
		}
		n, err := c.parser.Feed(&c.s.srv.cfg.websocket, c.deflate, c, p)
		c.settleHeld()
		if err != nil {
			c.violated(err)
			return keepReading
		}
		p = p[n:]
	}
}

// Reserve charges memory that the parser is about to take.
func (c *wsConn) Reserve(n int) bool {
	if !c.s.HoldInput(int64(n)) {
		return false
	}
	c.held += n
	return true
}

// settleHeld brings the charge in line with what the parser holds.
func (c *wsConn) settleHeld() {
	if n := c.parser.Partial(); n != c.held {
		c.s.ReleaseInput(int64(c.held - n))
		c.held = n
	}
}

// Stop makes the parser return between two messages while the session is paused.
func (c *wsConn) Stop() bool { return !c.probing && c.s.paused.Load() }

func (c *wsConn) awaitResume() { c.s.awaitResume() }

func (c *wsConn) continuation() func() {
	f := c.continued
	c.continued = nil
	return f
}

// onReadEnd follows the end of the connection, for whatever reason.
func (c *wsConn) onReadEnd(error) {
	s := c.s
	c.parser.Release()
	c.settleHeld()
	c.broken()
	s.mu.Lock()
	current := s.transport == c
	if c.linger != nil {
		s.srv.wheel.Cancel(&c.linger.Entry)
	}
	s.mu.Unlock()
	s.abandonUpgrade(c, leaving)
	s.srv.setLingering(c, false)
	if current {
		s.finish(&ending{reason: ReasonTransportClose})
	}
}

// broken closes the connection at once; no closing handshake will be tried on it.
func (c *wsConn) broken() {
	c.s.mu.Lock()
	c.closeSent = true
	c.s.mu.Unlock()
	c.close()
}

// violated answers a violation of the websocket protocol with its close code. What follows is discarded.
func (c *wsConn) violated(err error) {
	var v *websocket.CloseError
	code := websocket.CloseProtocolError
	if errors.As(err, &v) {
		code = v.Code
	}
	if code == websocket.CloseTooBig {
		c.s.srv.count.limits[limitMessageSize].Add(1)
		c.s.srv.warnTooLarge("websocket message too long", c.s.id)
	}
	// The parser is at its end: the peer's close frame will not be seen.
	c.peerEnds(&ending{reason: ReasonTransportError, err: err, code: code, quiet: code == websocket.CloseTooBig})
}

// peerEnds closes the connection when nothing more is expected of the peer.
func (c *wsConn) peerEnds(e *ending) {
	s := c.s
	s.mu.Lock()
	c.closeReceived = true
	over := c.closeSent && !c.busy
	s.mu.Unlock()
	c.end(e)
	if over {
		c.shutdown()
	}
}

// end closes the connection with a code and with it the session, if it is the session's transport.
func (c *wsConn) end(e *ending) {
	s := c.s
	s.mu.Lock()
	if s.transport == c && s.state != stateClosed {
		s.mu.Unlock()
		s.finish(e)
		return
	}
	s.mu.Unlock()
	if e.abrupt || e.quiet { // only a session's own connection ends without a closing handshake
		e = &ending{code: e.code, text: e.text}
	}
	if s.abandonUpgrade(c, e) {
		return
	}
	s.mu.Lock()
	kick := c.sendCloseLocked(e.code, e.text)
	s.mu.Unlock()
	if kick {
		c.kick()
	}
}

// OnMessage handles one complete websocket message.
func (c *wsConn) OnMessage(op websocket.Opcode, payload []byte) {
	kind, data := c.framing.decode(op == websocket.OpBinary, payload)
	if c.probing {
		c.probing = !c.s.probed(c, kind, data)
	} else {
		c.s.receive(c, kind, data)
	}
}

// OnPing answers a websocket ping. Engine.IO's heartbeat is independent of it.
func (c *wsConn) OnPing(payload []byte) {
	c.reply(websocket.OpPong, payload)
}

// OnPong ignores the answer to a ping that was never sent.
func (c *wsConn) OnPong([]byte) {}

// OnClose answers the peer's close frame with the same code and reason.
func (c *wsConn) OnClose(code int, reason []byte) {
	if code == websocket.CloseNoStatus {
		code = 0
	}
	c.peerEnds(&ending{reason: ReasonTransportClose, code: code, text: string(reason)})
}

// reply sends a control frame ahead of the queued messages, from the reading side.
func (c *wsConn) reply(op websocket.Opcode, payload []byte) {
	s := c.s
	s.mu.Lock()
	if c.closeSent {
		s.mu.Unlock()
		return
	}
	if len(c.control)+len(payload) > maxControl {
		s.mu.Unlock()
		c.end(&ending{reason: ReasonTransportError, err: errControlFlood, abrupt: true})
		return
	}
	c.control = websocket.AppendFrame(c.control, op, false, payload)
	kick := !c.busy
	c.busy = true
	s.mu.Unlock()
	if kick {
		c.kick()
	}
}

// sendCloseLocked queues a close frame and starts the closing handshake. It reports whether the caller has become the
// writer and must kick.
func (c *wsConn) sendCloseLocked(code int, text string) (kick bool) {
	if c.closeSent {
		return false
	}
	c.control = websocket.AppendClose(c.control, code, text)
	return c.lingerLocked()
}

// lingerLocked has nothing more be queued, and bounds how long the peer may take to end the connection. It reports what
// sendCloseLocked does.
func (c *wsConn) lingerLocked() (kick bool) {
	if c.closeSent {
		return false
	}
	c.closeSent = true
	c.linger = &linger{c: c}
	c.s.srv.wheel.Set(&c.linger.Entry, c.linger, lingerTime)
	c.s.srv.setLingering(c, true)
	kick = !c.busy
	c.busy = true
	return kick
}

// shutdown ends the sending side, after the closing handshake or without one. The reading side is left to run to the peer's end,
// or the kernel might discard what was sent last.
func (c *wsConn) shutdown() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		c.close()
		return
	}
	if outer, ok := c.conn.(interface{ NetConn() net.Conn }); ok { // the end of TLS is not that of the connection
		if half, ok := outer.NetConn().(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
}
