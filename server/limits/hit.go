package limits

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// kind is what is limited.
type kind uint8

const (
	kindAddressConnections kind = iota
	kindNetworkConnections
	kindAddressHandshakes
	kindNetworkHandshakes
	kindNodeHandshakes
	kindUnjoined
	kindPackets
	kindBytes
	kindEvents
	kindJoins
	kindConnects
	kindNamespaces
	kindUserEvents
	kindUserConnections
	kindEventBytes
	kinds
)

var kindNames = [kinds]string{
	"address_connections", "network_connections", "address_handshakes", "network_handshakes", "node_handshakes", "unjoined", "packets",
	"bytes", "events", "joins", "connects", "namespaces", "user_events", "user_connections", "event_bytes",
}

// hit counts and tells of a limit that was hit.
func (l *Limits) hit(k kind, h Hit) {
	l.hits[k].Add(1)
	h.Kind = kindNames[k]
	if h.Conn != nil {
		h.Address = h.Conn.Handshake().Address()
	}
	l.log.tell(k, &h, l.now())
	if l.opts.OnHit != nil {
		l.opts.OnHit(h)
	}
}

// logInterval is the least time between two lines about one kind.
const logInterval = time.Minute

// hitLog writes a line now and then: clients decide how often there is a reason.
type hitLog struct {
	to   *slog.Logger // static after Install; nil: slog.Default()
	gate [kinds]struct{ next, held atomic.Int64 }
}

// shortSID is what the log shows of a session's id: whoever knows all of it can poll in the client's place.
func shortSID(id string) string { return id[:min(len(id), 12)] }

func (g *hitLog) tell(k kind, h *Hit, now int64) {
	gate := &g.gate[k]
	next := gate.next.Load()
	if now < next || !gate.next.CompareAndSwap(next, now+int64(logInterval)) {
		gate.held.Add(1)
		return
	}
	log := g.to
	if log == nil {
		log = slog.Default()
	}
	about := []any{"limit", h.Kind, "address", h.Address}
	if h.User != "" {
		about = append(about, "user", h.User)
	}
	if h.Conn != nil {
		about = append(about, "sid", shortSID(h.Conn.ID()))
	}
	log.Warn("a client has reached a limit", append(about, "notLogged", gate.held.Swap(0))...)
}
