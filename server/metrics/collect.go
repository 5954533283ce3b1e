package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/latency"
	"github.com/sockeye-io/sockeye/server/users"
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Its cost grows with the number of namespaces, not of sockets.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	c := collection(ch)
	c.value(BuildInfo, 1, build().labels()...)
	if srv := m.server.Load(); srv != nil {
		s := srv.Stats()
		c.node(&s)
		c.connections(&s)
		c.sockets(&s)
		c.namespaces(srv.NamespaceStats(), &m.namespaces)
		c.cluster(&s)
	}
	if dir := m.directory.Load(); dir != nil {
		c.directory(dir.Stats())
	}
	if l := m.limits.Load(); l != nil {
		counts(c, ClientLimitHits, l.Stats())
	}
	if results := m.tokens.Load(); results != nil {
		counts(c, Tokens, (*results)())
	}
	if fwd := m.forwarder.Load(); fwd != nil {
		c.forwarder(fwd.Stats())
	}
}

// collection is where the metrics of one scrape go.
type collection chan<- prometheus.Metric

// value reports a gauge or a counter.
func (c collection) value(name string, value float64, labels ...string) {
	c <- prometheus.MustNewConstMetric(descs[name], families[name].kind, value, labels...)
}

func (c collection) count(name string, n uint64, labels ...string) {
	c.value(name, float64(n), labels...)
}

func (c collection) live(name string, n int, labels ...string) { c.value(name, float64(n), labels...) }

func (c collection) is(name string, on bool) {
	value := 0.0
	if on {
		value = 1
	}
	c.value(name, value)
}

// counts reports a counter for each key of a map, and for nothing if that is empty.
func counts[K ~string](c collection, name string, by map[K]uint64) {
	for key, n := range by {
		c.count(name, n, string(key))
	}
}

// histogram reports durations.
func (c collection) histogram(name string, s latency.Snapshot, labels ...string) {
	buckets := make(map[float64]uint64)
	for _, b := range s.Buckets() {
		buckets[b.Most.Seconds()] = b.Count
	}
	c <- prometheus.MustNewConstHistogram(descs[name], s.Count, s.Sum.Seconds(), buckets, labels...)
}

func (c collection) node(s *server.Stats) {
	c.value(NodeInfo, 1, s.Node.Name, string(s.Node.ID), s.Node.Adapter)
	c.is(Draining, s.Draining)
	c.count(Drained, s.Drained)
	c.count(DrainCuts, s.DrainCut)
}

func (c collection) connections(s *server.Stats) {
	e := &s.Engine
	c.live(Connections, max(0, e.Polling-e.Upgrading), "polling", "open")
	c.live(Connections, e.Upgrading, "polling", "upgrading")
	c.live(Connections, e.WebSocket, "websocket", "open")
	c.live(Connections, e.Closing, "websocket", "closing")
	c.live(UnjoinedSessions, s.Unjoined)
	c.live(MaxConnections, e.MaxSessions)
	c.handshakes(e)
	counts(c, Disconnections, s.Disconnections)
	counts(c, EndedSessions, e.Ended)
	c.count(Upgrades, e.Upgraded, "done")
	c.count(Upgrades, e.UpgradesFailed, "failed")
	c.count(Packets, e.PacketsIn, "in")
	c.count(Packets, e.PacketsOut, "out")
	c.count(Bytes, e.BytesIn, "in")
	c.count(Bytes, e.BytesOut, "out")
	c.value(OutboxBytes, float64(e.QueuedBytes))
	c.value(InputBytes, float64(e.InputBytes))
	c.value(StateBytes, float64(e.StateBytes))
	c.value(MaxOutboxBytes, float64(e.OutboxTotal))
	c.value(MaxInputBytes, float64(e.InputTotal))
	c.value(MaxStateBytes, float64(e.StateTotal))
	counts(c, Drops, e.Drops)
	counts(c, LimitHits, e.Limits)
	counts(c, LimitHits, s.Limits)
	c.count(LimitHits, s.Incomplete, "attachment_time")
	c.histogram(HeartbeatLateness, e.HeartbeatLate)
	c.histogram(HeartbeatRoundTrip, e.HeartbeatAnswered)
}

func (c collection) handshakes(e *engine.Stats) {
	c.count(Handshakes, e.Opened-min(e.Opened, e.Adopted), "opened")
	c.count(Handshakes, e.Adopted, "adopted")
	c.count(Handshakes, e.Refused[engine.CodeUnknownTransport], "transport")
	c.count(Handshakes, e.Refused[engine.CodeBadHandshakeMethod], "method")
	c.count(Handshakes, e.Refused[engine.CodeBadRequest], "request")
	c.count(Handshakes, e.Refused[engine.CodeForbidden], "forbidden")
	c.count(Handshakes, e.Refused[engine.CodeUnsupportedProtocol], "protocol")
	c.count(Handshakes, e.Limits["handshake_size"], "too_large")
	c.count(Handshakes, e.Unadmitted, "full")
	c.count(Handshakes, e.TurnedAway, "draining")
	c.count(UnknownSessions, e.Refused[engine.CodeUnknownSession])
}

func (c collection) sockets(s *server.Stats) {
	c.live(Namespaces, s.Namespaces)
	c.live(Connecting, s.Connecting)
	c.live(PendingAcks, s.PendingAcks)
	c.live(Workers, s.Workers)
	c.count(AckTimeouts, s.AckTimeouts)
	c.count(UnknownAcks, s.UnknownAcks)
	for result, n := range s.Recovery {
		c.count(Recoveries, n, result)
	}
	c.count(Panics, s.Panics)
	c.count(Failures, s.Misfits, "arguments")
	c.count(Failures, s.Failures-min(s.Failures, s.Misfits), "other")
	c.count(ParseErrors, s.ParseErrors)
	c.count(InboxPauses, s.InboxPauses)
	c.count(Refusals, s.Refused)
	c.count(EncodeFailures, s.EncodeFailures)
}

// namespaces reports what has the label of a namespace, each value of it once.
func (c collection) namespaces(all []server.NamespaceStats, names *namespaces) {
	sums := make(map[string]server.NamespaceStats)
	for _, n := range all {
		label := names.label(n.Name)
		sum := sums[label]
		sum.Sockets += n.Sockets
		sum.Rooms += n.Rooms
		sum.Joined += n.Joined
		sum.Refused += n.Refused
		sums[label] = sum
	}
	for label, sum := range sums {
		if label != unknownNamespaces {
			c.live(Sockets, sum.Sockets, label)
			c.live(Rooms, sum.Rooms, label)
			c.count(Connects, sum.Joined, label, "joined")
		}
		c.count(Connects, sum.Refused, label, "refused")
	}
	for label, list := range names.series() {
		var events [len(outcomes)]uint64
		var took latency.Snapshot
		for _, s := range list {
			for i := range events {
				events[i] += s.events[i].Load()
			}
			took = took.Plus(s.took.Snapshot())
		}
		if _, live := sums[label]; !live && took.Count == 0 {
			continue
		}
		for i, n := range events {
			c.count(Events, n, label, string(outcomes[i]))
		}
		c.histogram(HandlerTime, took, label)
	}
}

func (c collection) cluster(s *server.Stats) {
	cl := &s.Cluster
	c.live(Members, cl.Alive, "alive")
	c.live(Members, cl.Silent, "silent")
	c.live(Members, cl.Absent, "absent")
	c.live(DrainingMembers, cl.Draining)
	c.live(Questions, s.Questions)
	c.count(ServerSideDrops, s.ServerSideDrops)
	c.count(OrderWaits, s.Order.Waited)
	c.count(OrderTimeouts, s.Order.Late)
	c.count(OrderSkips, s.Order.Skipped)
	if cl.Broker == nil {
		return
	}
	c.broker(cl.Broker)
	c.histogram(BrokerRoundTrip, cl.RoundTrip)
	c.histogram(MessageLatency, cl.OneWay)
	c.count(CanariesLost, cl.RoundTripsLost, "broker")
	c.count(CanariesLost, cl.OneWaysLost, "node")
}

func (c collection) broker(b *adapter.BrokerStats) {
	c.is(BrokerUp, b.Up)
	c.count(BrokerSent, b.Sent)
	c.count(BrokerReceived, b.Received)
	counts(c, BrokerErrors, b.Failed)
	counts(c, BrokerDrops, b.Dropped)
	c.live(BrokerQueue, b.Queued)
	c.live(BrokerQueueBytes, b.QueuedBytes)
	c.count(Reconnects, b.Reconnects)
	c.count(Resubscriptions, b.Resubscribed)
	c.count(LogBreaks, b.LogBroken)
}

func (c collection) directory(s users.Stats) {
	c.live(DirectoryUsers, s.Users, "present")
	c.live(DirectoryUsers, s.Away, "away")
	c.live(DirectoryUsers, s.Pending, "pending")
	c.live(DirectoryCached, s.Cached)
	c.is(DirectoryStoreUp, !s.StoreAway)
	c.is(DirectoryMixed, s.Mixed)
	c.count(DirectoryMessages, s.Directed, "directed")
	c.count(DirectoryMessages, s.Forwarded, "forwarded")
	c.count(DirectoryMessages, s.Everywhere, "everywhere")
	c.count(DirectoryMessages, s.Foreign, "foreign")
	c.count(DirectoryMessages, s.Lost, "lost")
	c.count(DirectoryLookups, s.CacheHits, "cached")
	c.count(DirectoryLookups, s.Lookups, "asked")
	c.count(DirectoryErrors, s.StoreErrors)
	c.count(DirectorySweeps, s.Swept)
}

func (c collection) forwarder(s forward.Stats) {
	c.count(Forwarded, s.Forwarded, "answered")
	c.count(Forwarded, s.Relayed, "relayed")
	c.count(Forwarded, s.Served, "served")
	counts(c, Forwarded, s.Unknown)
	counts(c, ForwardRefusals, s.Refused)
	c.live(Relays, s.Relays)
	c.count(Handovers, s.Arrived, "in")
	c.count(Handovers, s.Left, "out")
	c.count(Handovers, s.Lost, "lost")
}
