package engine

import (
	"slices"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server/latency"
)

// Stats is a snapshot of a Server's counters. The gauges are read one after the other, not at one instant.
type Stats struct {
	// What the options bound: sessions and bytes.
	MaxSessions                         int
	OutboxTotal, InputTotal, StateTotal int64

	// Live sessions, and how they are connected. An upgrading session is also counted under its
	// current transport.
	Sessions, Polling, WebSocket, Upgrading int
	// Closing is the number of websocket connections whose session has ended and whose closing handshake has not.
	Closing int
	// Timers is the number of deadlines that are set: each live session has one, an upgrade up to two more, a closing
	// connection one.
	Timers int
	// QueuedBytes is what is queued, messages that sessions share counted once, as Options.OutboxTotal bounds it.
	QueuedBytes int64
	// InputBytes is what unfinished and unhandled input pins, as Options.InputTotal bounds it.
	InputBytes int64
	// StateBytes is what sessions keep as long as they live, as Options.StateTotal bounds it.
	StateBytes int64

	// Opened and Closed count sessions since the start.
	Opened, Closed uint64
	// Upgraded counts sessions that have moved to another transport, UpgradesFailed attempts that ended otherwise.
	Upgraded, UpgradesFailed uint64
	// HeartbeatLate is by how much the server was late with its heartbeats, up to 10 ms of which are the resolution of its clock;
	// HeartbeatAnswered how long after they were due the clients' answers came, of clients that sent nothing else meanwhile.
	HeartbeatLate, HeartbeatAnswered latency.Snapshot
	// Released and Adopted count the sessions that have moved to other servers and come from them; they are in Closed and Opened.
	Released, Adopted uint64
	// Engine.IO packets and their bytes since the start, without HTTP and websocket headers.
	PacketsIn, PacketsOut, BytesIn, BytesOut uint64
	// Unadmitted counts the handshakes that were refused because there was no room for a session more.
	Unadmitted uint64
	// TurnedAway counts the handshakes that were answered 503 because of RefuseHandshakes.
	TurnedAway uint64
	// Ended counts the sessions in Closed by the reason of their end, one of the Reason constants; any other reason, which Session.Fail
	// can give, is "other".
	Ended map[string]uint64
	// Refused counts refused requests by code.
	Refused [6]uint64
	// Drops counts packets that were accepted for sending and not sent, by reason: "volatile" (the session was not
	// writable), "closed" (it ended first), "slow_consumer", "outbox_total".
	Drops map[string]uint64
	// Limits counts how often a limit was hit: "body_size", "body_time", "body_chunks", "message_size", "handshake_size",
	// "slow_consumer", "outbox_total", "input_total" (sessions that were ended), "poll_packets" (answers that left packets to the
	// next poll), "upgrade_timeout", "sessions" (new ones that were refused), "state_total" (what was refused), "made_room"
	// (sessions that were ended for the last two), "half_open" and "idle" (connections that were closed, see Server.ConnState).
	Limits map[string]uint64
}

type dropReason uint8

const (
	dropClosed dropReason = iota // of an ending that says nothing else
	dropVolatile
	dropSlowConsumer
	dropOutboxTotal
	dropReasons
)

var dropNames = [dropReasons]string{"closed", "volatile", "slow_consumer", "outbox_total"}

// endReasons are what ended sessions are counted by; whatever is none of them is the last.
var endReasons = [...]string{
	ReasonTransportClose, ReasonTransportError, ReasonPingTimeout, ReasonParseError, ReasonForcedClose, ReasonMoved, "other",
}

// noteEnd counts a session that has ended.
func (c *counters) noteEnd(reason string) {
	c.closed.Add(1)
	kind := slices.Index(endReasons[:len(endReasons)-1], reason)
	if kind < 0 {
		kind = len(endReasons) - 1
	}
	c.ended[kind].Add(1)
}

type limitKind uint8

const (
	limitBodySize limitKind = iota
	limitBodyTime
	limitBodyChunks
	limitMessageSize
	limitHandshakeSize
	limitSlowConsumer
	limitOutboxTotal
	limitInputTotal
	limitPollPackets
	limitUpgradeTimeout
	limitSessions
	limitStateTotal
	limitMadeRoom
	limitHalfOpen
	limitIdle
	limitKinds
)

var limitNames = [limitKinds]string{
	"body_size", "body_time", "body_chunks", "message_size", "handshake_size", "slow_consumer", "outbox_total", "input_total", "poll_packets",
	"upgrade_timeout", "sessions", "state_total", "made_room", "half_open", "idle",
}

// counters are the server's totals that change rarely; those that change with every packet are in the shards.
type counters struct {
	gauges             []*gauge // static after construction
	upgrading, closing atomic.Int64
	opened, closed     atomic.Uint64
	upgraded, failed   atomic.Uint64     // ends of attempts to upgrade
	late, answered     latency.Histogram // heartbeats
	released, adopted  atomic.Uint64
	unadmitted         atomic.Uint64
	turnedAway         atomic.Uint64
	refused            [len(codeMessages)]atomic.Uint64
	drops              [dropReasons]atomic.Uint64
	limits             [limitKinds]atomic.Uint64
	ended              [len(endReasons)]atomic.Uint64
}

// gauge counts the live sessions on one transport.
type gauge struct {
	kind *transportKind
	atomic.Int64
}

// gauge returns that of a transport which is enabled.
func (c *counters) gauge(kind *transportKind) *gauge {
	for _, g := range c.gauges {
		if g.kind == kind {
			return g
		}
	}
	panic("engine: a session on a transport that is not enabled: " + kind.name)
}

// live counts the sessions on the transports of a name, or all with "".
func (c *counters) live(name string) (n int64) {
	for _, g := range c.gauges {
		if name == "" || g.kind.name == name {
			n += g.Load()
		}
	}
	return n
}

// traffic counts packets of the sessions of one shard.
type traffic struct {
	packetsIn, packetsOut, bytesIn, bytesOut atomic.Uint64
}

func (t *traffic) in(packets, bytes int) {
	t.packetsIn.Add(uint64(packets))
	t.bytesIn.Add(uint64(bytes))
}

func (t *traffic) out(packets, bytes int) {
	t.packetsOut.Add(uint64(packets))
	t.bytesOut.Add(uint64(bytes))
}

// Stats returns the counters.
func (srv *Server) Stats() Stats {
	c := &srv.count
	st := Stats{
		MaxSessions: srv.cfg.MaxSessions, OutboxTotal: srv.cfg.OutboxTotal, InputTotal: srv.cfg.InputTotal, StateTotal: srv.cfg.StateTotal,
		Sessions:    srv.Len(),
		Polling:     int(c.live(TransportPolling)),
		WebSocket:   int(c.live(TransportWebSocket)),
		Upgrading:   int(c.upgrading.Load()),
		Closing:     int(c.closing.Load()),
		Timers:      srv.wheel.Len(),
		QueuedBytes: srv.queued.bytes.Load(),
		InputBytes:  srv.input.bytes.Load(),
		StateBytes:  srv.state.bytes.Load(),
		Opened:      c.opened.Load(),
		Closed:      c.closed.Load(),
		Upgraded:    c.upgraded.Load(),
		Released:    c.released.Load(),
		Adopted:     c.adopted.Load(),
		Unadmitted:  c.unadmitted.Load(),
		TurnedAway:  c.turnedAway.Load(),
		Ended:       make(map[string]uint64, len(endReasons)),
		Drops:       make(map[string]uint64, dropReasons),
		Limits:      make(map[string]uint64, limitKinds),

		UpgradesFailed:    c.failed.Load(),
		HeartbeatLate:     c.late.Snapshot(),
		HeartbeatAnswered: c.answered.Snapshot(),
	}
	for _, shard := range srv.shards {
		t := &shard.traffic
		st.PacketsIn += t.packetsIn.Load()
		st.PacketsOut += t.packetsOut.Load()
		st.BytesIn += t.bytesIn.Load()
		st.BytesOut += t.bytesOut.Load()
	}
	for i := range st.Refused {
		st.Refused[i] = c.refused[i].Load()
	}
	for i := range c.ended {
		st.Ended[endReasons[i]] = c.ended[i].Load()
	}
	for i := range c.drops {
		st.Drops[dropNames[i]] = c.drops[i].Load()
	}
	for i := range c.limits {
		st.Limits[limitNames[i]] = c.limits[i].Load()
	}
	return st
}
