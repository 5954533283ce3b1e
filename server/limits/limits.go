package limits

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/users"
)

// fullRetry is when a client may try again that was refused because too many are connected.
const fullRetry = 10 * time.Second

// Limits are the limits of one server. All methods may be called from any goroutine.
type Limits struct {
	// Static after New.
	opts  Options
	start time.Time // what times are counted from

	address, network, node, packets, bytes, events, joins, connects, userEvents rate

	overrides []rate
	names     []string       // of the events of overrides
	override  map[string]int // the same as an index; nil if there are few

	// Safe for concurrent use by themselves.
	log        hitLog
	open       *counts[netip.Prefix]
	owned      *counts[string] // connections by user
	debts      *debts
	nodeBucket bucket
	unjoined   atomic.Int64
	users      *userTable
	hits       [kinds]atomic.Uint64
	directory  atomic.Pointer[users.Directory]
}

// New returns limits that are to be put into the options of one server, with Install. Nil options limit nothing. An error names the
// bad option.
func New(opts *Options) (*Limits, error) {
	o, err := opts.settings()
	if err != nil {
		return nil, err
	}
	l := &Limits{
		opts: o, start: time.Now(), open: newCounts[netip.Prefix](), owned: newCounts[string](), users: newUserTable(),
		address:    newRate(kindAddressHandshakes, o.HandshakesPerAddress, Drop),
		network:    newRate(kindNetworkHandshakes, o.HandshakesPerNetwork, Drop),
		node:       newRate(kindNodeHandshakes, o.HandshakesPerNode, Drop),
		packets:    newRate(kindPackets, o.Packets, SlowDown),
		bytes:      newRate(kindBytes, o.Bytes, SlowDown),
		events:     newRate(kindEvents, o.Events, SlowDown),
		joins:      newRate(kindJoins, o.Joins, Drop),
		connects:   newRate(kindConnects, o.Connects, Drop),
		userEvents: newRate(kindUserEvents, o.UserEvents, Drop),
	}
	l.address.action, l.network.action, l.node.action = Drop, Drop, Drop
	if l.address.on || l.network.on || l.userEvents.on {
		l.debts = newDebts(o.TableSize)
	}
	l.nodeBucket.init(&l.node, l.now())
	for name, r := range o.EventOverrides {
		l.names = append(l.names, name)
		l.overrides = append(l.overrides, newRate(kindEvents, r, SlowDown))
	}
	if len(l.names) > fewNames {
		l.override = make(map[string]int, len(l.names))
		for i, name := range l.names {
			l.override[name] = i
		}
	}
	return l, nil
}

// fewNames is how many names are found faster one after the other.
const fewNames = 8

// overrideOf returns the place of an event in overrides, -1 if it has none.
func (l *Limits) overrideOf(event []byte) int {
	if l.override != nil {
		if i, ok := l.override[string(event)]; ok {
			return i
		}
		return -1
	}
	for i, name := range l.names {
		if name == string(event) {
			return i
		}
	}
	return -1
}

// now is the time in nanoseconds since start, at least 1.
func (l *Limits) now() int64 { return int64(time.Since(l.start)) + 1 }

// Install puts the limits into the options of a server: in front of its own Hooks, Engine.AllowRequest and Engine.Observe, which are asked
// as before about what is within the limits. It follows Engine.TrustedProxies, which must be complete. An observer that is later put around
// the one of these options needs a method Unwrap, see engine.Session.Observer. The limits are for one server.
func (l *Limits) Install(opts *server.Options) {
	if l.opts.Logger == nil {
		l.log.to = opts.Logger
	} else {
		l.log.to = l.opts.Logger
	}
	if l.opts.SameOrigin && opts.Engine.CORS == nil {
		opts.Engine.CORS = &server.CORS{Strict: true, OriginFunc: func(*http.Request, string) bool { return false }}
	}
	if l.limitsRequests() {
		proxies, next := opts.Engine.TrustedProxies, opts.Engine.AllowRequest
		opts.Engine.AllowRequest = func(r *http.Request) error {
			if err := l.allow(proxies.Peer(r).Address); err != nil {
				return err
			}
			if next == nil {
				return nil
			}
			return next(r)
		}
	}
	if l.limitsConnections() {
		next := opts.Engine.Observe
		opts.Engine.Observe = func(s *engine.Session) engine.Observer { return l.observe(s, next) }
		opts.Hooks = slices.Concat([]server.Hooks{l.hooks()}, opts.Hooks)
	}
}

// Follow names the directory that knows to whom sockets belong, unless Options.UserOf does, and how many nodes hold a user. Call it
// once, before clients come.
func (l *Limits) Follow(dir *users.Directory) {
	l.directory.Store(dir)
	if l.opts.ConnectionsPerUser > 0 && l.opts.UserOf == nil {
		dir.UseBind(l.beforeBind)
	}
}

// Stats returns how often each limit was hit since the start, by kind: "address_connections", "network_connections",
// "address_handshakes", "network_handshakes", "node_handshakes", "unjoined", "packets", "bytes", "events" (those of EventOverrides
// included), "joins", "connects", "namespaces", "user_events", "user_connections", "event_bytes".
// A hit of SlowDown is one pause.
func (l *Limits) Stats() map[string]uint64 {
	s := make(map[string]uint64, kinds)
	for k := range l.hits {
		s[kindNames[k]] = l.hits[k].Load()
	}
	return s
}

func (l *Limits) limitsRequests() bool {
	o := &l.opts
	return l.address.on || l.network.on || l.node.on || o.ConnectionsPerAddress > 0 || o.ConnectionsPerNetwork > 0 || o.Unjoined > 0
}

func (l *Limits) limitsConnections() bool {
	o := &l.opts
	return o.ConnectionsPerAddress > 0 || o.ConnectionsPerNetwork > 0 || o.ConnectionsPerUser > 0 || o.Unjoined > 0 || o.Namespaces > 0 ||
		l.packets.on || l.bytes.on || l.events.on || len(l.overrides) > 0 || l.joins.on || l.connects.on || l.userEvents.on ||
		l.limitsEventBytes()
}

func (l *Limits) limitsEventBytes() bool { return l.opts.EventBytes > 0 || l.opts.EventBytesOf != nil }

// eventBytes is how long an event of a socket may be, 0 for no limit.
func (l *Limits) eventBytes(s *server.Socket) int {
	if l.opts.EventBytesOf != nil {
		return l.opts.EventBytesOf(s)
	}
	return l.opts.EventBytes
}

// allow decides about a request that would open a session, before anything is allocated for it. The address comes first: who is beyond
// its own limit takes nothing from the others.
func (l *Limits) allow(address string) error {
	from := l.origin(address)
	now := l.now()
	if from.address.IsValid() {
		if wait := l.owes(from, now); wait > 0 {
			return tooMany(wait)
		}
		if k, ok := l.fits(from, 1); !ok {
			l.hit(k, Hit{Address: address})
			return tooMany(fullRetry)
		}
	}
	if most := l.opts.Unjoined; most > 0 && l.unjoined.Load() >= int64(most) {
		l.hit(kindUnjoined, Hit{Address: address})
		return busy(fullRetry)
	}
	if wait := l.nodeBucket.take(l, &l.node, 1); wait > 0 {
		l.hit(kindNodeHandshakes, Hit{Address: address})
		return busy(wait)
	}
	return nil
}

// owes takes a token for a handshake from the network's bucket and the address's.
func (l *Limits) owes(from origin, now int64) time.Duration {
	for _, b := range []struct {
		rate   *rate
		prefix netip.Prefix
	}{{&l.address, from.address}, {&l.network, from.network}} {
		if !b.rate.on {
			continue
		}
		if wait := l.debts.take(l.debts.ofPrefix(b.rate.kind, b.prefix), b.rate, now); wait > 0 {
			l.hit(b.rate.kind, Hit{Address: from.address.Addr().String()})
			return wait
		}
	}
	return 0
}

func tooMany(wait time.Duration) error {
	return &server.Refusal{Message: "Too many requests", Status: http.StatusTooManyRequests, RetryAfter: wait}
}

func busy(wait time.Duration) error {
	return &server.Refusal{Message: "Server is busy", Status: http.StatusServiceUnavailable, RetryAfter: wait}
}

// overLimit ends a session.
func overLimit(k kind) error { return fmt.Errorf("%w: %s", errOver, kindNames[k]) }
