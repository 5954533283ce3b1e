package limits

import (
	"errors"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// client is what is known of one connection. It observes the session, and passes on what it is told to the observer of the options.
type client struct {
	// Static after construction.
	limits *Limits
	conn   *engine.Session
	next   engine.Observer // nil: nobody else observes
	from   origin

	packets, bytes, events, joins, connects bucket

	overrides []bucket // as Limits.overrides

	joined     atomic.Bool // a namespace was joined at some time
	namespaces atomic.Int32
	user       userSlot
	owners     owners
}

// observe begins to count a new session, which ends if it is one too many after all: others may have been let in since it was asked for.
func (l *Limits) observe(s *engine.Session, next func(*engine.Session) engine.Observer) engine.Observer {
	c := &client{limits: l, conn: s, from: l.origin(s.Handshake().Address())}
	now := l.now()
	c.packets.init(&l.packets, now)
	c.bytes.init(&l.bytes, now)
	c.events.init(&l.events, now)
	c.joins.init(&l.joins, now)
	c.connects.init(&l.connects, now)
	if len(l.overrides) > 0 {
		c.overrides = make([]bucket, len(l.overrides))
		for i := range c.overrides {
			c.overrides[i].init(&l.overrides[i], now)
		}
	}
	if next != nil {
		c.next = next(s)
	}
	l.unjoined.Add(1)
	if c.from.address.IsValid() {
		for _, p := range l.counted(c.from) {
			l.open.add(p.prefix, 1)
		}
		if k, ok := l.fits(c.from, 0); !ok {
			l.hit(k, Hit{Conn: s})
			s.Fail(engine.ReasonTransportError, overLimit(k))
		}
	}
	return c
}

type countedPrefix struct {
	kind   kind
	prefix netip.Prefix
	most   int
}

// counted lists the prefixes of a client whose connections are counted.
func (l *Limits) counted(from origin) []countedPrefix {
	all := [...]countedPrefix{
		{kindAddressConnections, from.address, l.opts.ConnectionsPerAddress},
		{kindNetworkConnections, from.network, l.opts.ConnectionsPerNetwork},
	}
	n := 0
	for _, p := range all {
		if p.most > 0 && (n == 0 || all[0].prefix != p.prefix) {
			all[n] = p
			n++
		}
	}
	return all[:n]
}

// fits reports whether so many more connections are within the limits, or which one they are beyond.
func (l *Limits) fits(from origin, more int) (beyond kind, ok bool) {
	for _, p := range l.counted(from) {
		if l.open.load(p.prefix)+more > p.most {
			return p.kind, false
		}
	}
	return 0, true
}

// Unwrap returns the observer of the options.
func (c *client) Unwrap() engine.Observer { return c.next }

// Received is asked about each packet.
func (c *client) Received(transport string, bytes int) error {
	l := c.limits
	if wait := c.packets.take(l, &l.packets, 1); wait > 0 {
		if err := c.over(&l.packets, wait); err != nil {
			return err
		}
	}
	if wait := c.bytes.take(l, &l.bytes, int64(bytes)); wait > 0 {
		if err := c.over(&l.bytes, wait); err != nil {
			return err
		}
	}
	if c.next == nil {
		return nil
	}
	return c.next.Received(transport, bytes)
}

// over does what is to be done about packets that come too fast: the connection is paused, or ends with the error.
func (c *client) over(r *rate, wait time.Duration) error {
	c.limits.hit(r.kind, Hit{Conn: c.conn})
	if r.action == Disconnect {
		return overLimit(r.kind)
	}
	c.conn.PauseFor(min(wait, maxPause))
	return nil
}

// maxPause bounds one pause, so that what waits for it is not kept for long after the connection has gone.
const maxPause = 30 * time.Second

// Sent passes on what it is told.
func (c *client) Sent(transport string, packets, bytes int) {
	if c.next != nil {
		c.next.Sent(transport, packets, bytes)
	}
}

// Hold passes on what it is asked.
func (c *client) Hold(bytes int64) error {
	if c.next == nil {
		return nil
	}
	return c.next.Hold(bytes)
}

// Release passes on what it is told.
func (c *client) Release(bytes int64) {
	if c.next != nil {
		c.next.Release(bytes)
	}
}

// Closed ends the counting of the session.
func (c *client) Closed(reason string, err error) {
	l := c.limits
	if c.from.address.IsValid() {
		for _, p := range l.counted(c.from) {
			l.open.add(p.prefix, -1)
		}
	}
	if !c.joined.Swap(true) {
		l.unjoined.Add(-1)
	}
	c.leaveUser()
	c.disownAll()
	if c.next != nil {
		c.next.Closed(reason, err)
	}
}

// clientOf finds what is known of a connection; nil if an observer without Unwrap stands in front.
func (l *Limits) clientOf(conn *server.Conn) *client {
	for o := conn.Observer(); o != nil; {
		if c, ok := o.(*client); ok && c.limits == l {
			return c
		}
		w, ok := o.(interface{ Unwrap() engine.Observer })
		if !ok {
			break
		}
		o = w.Unwrap()
	}
	return nil
}

// hooks are those that some limit needs.
func (l *Limits) hooks() (h server.Hooks) {
	if l.connects.on || l.opts.Namespaces > 0 {
		h.BeforeConnect = l.beforeConnect
	}
	if l.events.on || len(l.overrides) > 0 || l.userEvents.on || l.limitsEventBytes() {
		h.BeforeEvent = l.beforeEvent
	}
	if l.joins.on {
		h.BeforeJoin = l.beforeJoin
	}
	if l.opts.Unjoined > 0 || l.opts.Namespaces > 0 || l.opts.ConnectionsPerUser > 0 {
		h.AfterConnect = l.afterConnect
		h.AfterDisconnect = l.afterDisconnect
	}
	return h
}

func (l *Limits) beforeConnect(conn *server.Conn, _ string, _ []byte) error {
	c := l.clientOf(conn)
	if c == nil {
		return nil
	}
	if wait := c.connects.take(l, &l.connects, 1); wait > 0 {
		l.hit(kindConnects, Hit{Conn: conn})
		return c.act(l.connects.action, kindConnects, "Too many connection attempts", wait, conn.Close)
	}
	if most := l.opts.Namespaces; most > 0 && int(c.namespaces.Load()) >= most {
		l.hit(kindNamespaces, Hit{Conn: conn})
		return c.act(l.opts.NamespacesAction, kindNamespaces, "Too many namespaces", 0, conn.Close)
	}
	return nil
}

func (l *Limits) beforeEvent(s *server.Socket, in server.Incoming) error {
	c := l.clientOf(s.Conn())
	if c == nil {
		return nil
	}
	if most := l.eventBytes(s); most > 0 && in.Bytes > most {
		return c.tooLong(s, most)
	}
	r, b := &l.events, &c.events
	if len(l.overrides) > 0 {
		if i := l.overrideOf(in.NameBytes()); i >= 0 {
			r, b = &l.overrides[i], &c.overrides[i]
		}
	}
	if wait := b.take(l, r, 1); wait > 0 {
		l.hit(kindEvents, Hit{Conn: s.Conn()})
		if err := c.actOn(s, r, "Too many events", wait); err != nil {
			return err
		}
	}
	if l.userEvents.on {
		return c.beforeUserEvent(s)
	}
	return nil
}

// tooLong refuses an event.
func (c *client) tooLong(s *server.Socket, most int) error {
	l := c.limits
	l.hit(kindEventBytes, Hit{Conn: s.Conn()})
	if l.opts.EventBytesAction == Disconnect {
		s.DisconnectClient()
		return errOver
	}
	return &server.ClientError{Message: "Event too long", Data: refusalData{Code: kindNames[kindEventBytes], MaxBytes: most}}
}

func (l *Limits) beforeJoin(s *server.Socket, rooms []string) error {
	c := l.clientOf(s.Conn())
	if c == nil {
		return nil
	}
	if wait := c.joins.take(l, &l.joins, min(int64(len(rooms)), l.joins.burst)); wait > 0 {
		l.hit(kindJoins, Hit{Conn: s.Conn()})
		return c.actOn(s, &l.joins, "Too many rooms joined", wait)
	}
	return nil
}

func (l *Limits) afterConnect(s *server.Socket) {
	if c := l.clientOf(s.Conn()); c != nil {
		c.namespaces.Add(1)
		if !c.joined.Swap(true) {
			l.unjoined.Add(-1)
		}
		if l.opts.ConnectionsPerUser > 0 && l.opts.UserOf != nil {
			l.ownerJoined(c, s)
		}
	}
}

func (l *Limits) afterDisconnect(s *server.Socket, _ server.Reason) {
	if c := l.clientOf(s.Conn()); c != nil {
		c.namespaces.Add(-1)
		c.disown(s)
	}
}

// actOn is act for what a socket does.
func (c *client) actOn(s *server.Socket, r *rate, message string, wait time.Duration) error {
	return c.act(r.action, r.kind, message, wait, func() bool {
		s.DisconnectClient()
		return true
	})
}

// act does what is to be done at a limit; an error refuses.
func (c *client) act(a Action, k kind, message string, wait time.Duration, disconnect func() bool) error {
	switch a {
	case SlowDown:
		c.conn.PauseFor(min(wait, maxPause))
		return nil
	case Disconnect:
		disconnect()
		return errOver
	}
	return &server.ClientError{Message: message, Data: newRefusalData(k, wait)}
}

// refusalData is what a client learns beside the message.
type refusalData struct {
	Code       string  `json:"code"`
	RetryAfter float64 `json:"retryAfter,omitempty"` // seconds
	MaxBytes   int     `json:"maxBytes,omitempty"`   // of what was too long
}

func newRefusalData(k kind, wait time.Duration) refusalData {
	return refusalData{Code: kindNames[k], RetryAfter: math.Ceil(wait.Seconds()*1000) / 1000}
}

var errOver = errors.New("limit exceeded")
