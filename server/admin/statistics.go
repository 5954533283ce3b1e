package admin

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/server/engine"
)

// maxListed bounds the namespaces of a server_stats: there may be thousands of dynamic ones. Those with most sockets are listed.
const maxListed = 1000

// maxAggregates bounds what waits for the next server_stats, which takes 2 samples.
const maxAggregates = 256

// baseStats are what never changes of a server_stats.
type baseStats struct {
	ServerID string `json:"serverId"`
	Hostname string `json:"hostname"`
	PID      int    `json:"pid"`
}

func newBaseStats(serverID string) baseStats {
	host, _ := os.Hostname() // "" is shown as nothing
	return baseStats{ServerID: serverID, Hostname: host, PID: os.Getpid()}
}

// serverStats tell pages how a server is.
type serverStats struct {
	baseStats
	Uptime              float64          `json:"uptime"` // seconds since Instrument
	ClientsCount        int              `json:"clientsCount"`
	PollingClientsCount int              `json:"pollingClientsCount"`
	AggregatedEvents    []aggregate      `json:"aggregatedEvents"`
	Namespaces          []namespaceStats `json:"namespaces"`
}

type namespaceStats struct {
	Name         string `json:"name"`
	SocketsCount int    `json:"socketsCount"`
}

// aggregate is how often something happened in one second, or how much.
type aggregate struct {
	Timestamp int64  `json:"timestamp"` // milliseconds since 1970, a whole second
	Type      string `json:"type"`
	SubType   string `json:"subType,omitempty"` // the reason of a disconnection
	Count     uint64 `json:"count"`
}

// aggregates are the differences between the counts of a second and those of the one before. Nothing is counted for them.
type aggregates struct {
	last   engine.Stats
	events []aggregate
}

func newAggregates(now engine.Stats) *aggregates {
	return &aggregates{last: now, events: []aggregate{}}
}

// sample notes what has happened since the last call.
func (g *aggregates) sample(now engine.Stats, at time.Time) {
	second := at.Truncate(time.Second).UnixMilli()
	add := func(kind, sub string, count uint64) {
		if count > 0 && len(g.events) < maxAggregates {
			g.events = append(g.events, aggregate{second, kind, sub, count})
		}
	}
	last := &g.last
	add("rawConnection", "", now.Opened-last.Opened)
	for _, reason := range reasonsOf(now.Ended) {
		add("rawDisconnection", reason, now.Ended[reason]-last.Ended[reason])
	}
	add("packetsIn", "", now.PacketsIn-last.PacketsIn)
	add("bytesIn", "", now.BytesIn-last.BytesIn)
	add("packetsOut", "", now.PacketsOut-last.PacketsOut)
	add("bytesOut", "", now.BytesOut-last.BytesOut)
	g.last = now
}

func reasonsOf(ended map[string]uint64) []string {
	list := make([]string, 0, len(ended))
	for reason := range ended {
		list = append(list, reason)
	}
	slices.Sort(list)
	return list
}

// take returns what has been noted, and begins anew.
func (g *aggregates) take() []aggregate {
	events := g.events
	g.events = []aggregate{}
	return events
}

// emitStats tells the pages of all nodes how this server is.
func (a *Admin) emitStats(g *aggregates) error {
	return a.pages.Emit("server_stats", serverStats{
		baseStats: a.base, Uptime: time.Since(a.began).Seconds(),
		ClientsCount: g.last.Sessions, PollingClientsCount: g.last.Polling,
		AggregatedEvents: g.take(), Namespaces: a.namespaces(),
	})
}

// namespaces counts the sockets of this node.
func (a *Admin) namespaces() []namespaceStats {
	all := a.srv.Namespaces()
	list := make([]namespaceStats, len(all))
	for i, n := range all {
		list[i] = namespaceStats{n.Name(), n.LocalCount()}
	}
	if len(list) > maxListed {
		slices.SortFunc(list, func(x, y namespaceStats) int { return cmp.Compare(y.SocketsCount, x.SocketsCount) })
		list = list[:maxListed]
	}
	return list
}
