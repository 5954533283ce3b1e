package engine

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"github.com/sockeye-io/sockeye/internal/seldom"
)

// connCost is about what a connection takes in an HTTP server that waits for a request on it.
const connCost = 16 << 10

// waitingKind is a reason why no request is being answered on a connection.
type waitingKind uint8

const (
	halfOpen waitingKind = iota // the head of the first request has not come, nor has the TLS handshake ended perhaps
	idle                        // between two requests
	waitingKinds
)

// waitingConns are the connections on which no request is being answered. It is ready when most is set.
type waitingConns struct {
	most   [waitingKinds]int // static
	warned seldom.Counted

	mu sync.Mutex
	// Guarded by mu.
	lists  [waitingKinds]list.List // of net.Conn, that which has waited longest in front
	places map[net.Conn]place
	closed bool
}

type place struct {
	kind    waitingKind
	element *list.Element
}

// ConnState follows the connections of the HTTP server that srv is behind, and bounds those on which no request is being
// answered, see Options.MaxHalfOpen and MaxIdle. Close closes those on which no request has begun, for which
// http.Server.Shutdown would wait, and those to come:
//
//	web := &http.Server{Handler: mux, ConnState: srv.ConnState, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
func (srv *Server) ConnState(conn net.Conn, state http.ConnState) {
	w := &srv.waiting
	w.mu.Lock()
	w.removeLocked(conn)
	var surplus net.Conn
	kind := halfOpen
	switch {
	case state == http.StateNew && w.closed:
		w.mu.Unlock()
		closeNow(conn)
		return
	case state == http.StateNew:
		surplus = w.addLocked(halfOpen, conn)
	case state == http.StateIdle:
		kind = idle
		surplus = w.addLocked(idle, conn)
	}
	w.mu.Unlock()
	if surplus != nil {
		closeNow(surplus)
		srv.noteWaiting(kind)
	}
}

// noteWaiting counts a connection that was closed to make room for another.
func (srv *Server) noteWaiting(kind waitingKind) {
	limit := limitHalfOpen
	if kind == idle {
		limit = limitIdle
	}
	srv.count.limits[limit].Add(1)
	if held, ok := srv.waiting.warned.Pass(warnInterval); ok {
		srv.cfg.Logger.Warn("too many connections wait for a request: those that have waited longest are closed",
			"limit", limitNames[limit], "notLogged", held)
	}
}

func (w *waitingConns) removeLocked(conn net.Conn) {
	if p, ok := w.places[conn]; ok {
		w.lists[p.kind].Remove(p.element)
		delete(w.places, conn)
	}
}

// addLocked returns a connection that must be closed for the new one, nil if there is room.
func (w *waitingConns) addLocked(kind waitingKind, conn net.Conn) (surplus net.Conn) {
	if w.places == nil {
		w.places = make(map[net.Conn]place)
	}
	l := &w.lists[kind]
	w.places[conn] = place{kind, l.PushBack(conn)}
	if l.Len() > w.most[kind] {
		surplus = l.Front().Value.(net.Conn)
		w.removeLocked(surplus)
	}
	return surplus
}

// close closes the connections on which no request has begun, and those to come.
func (w *waitingConns) close() {
	w.mu.Lock()
	w.closed = true
	var fresh []net.Conn
	for l := &w.lists[halfOpen]; l.Len() > 0; {
		conn := l.Front().Value.(net.Conn)
		fresh = append(fresh, conn)
		w.removeLocked(conn)
	}
	w.mu.Unlock()
	for _, conn := range fresh {
		closeNow(conn)
	}
}

// closeNow closes a connection without TLS's farewell, which could wait for the peer.
func closeNow(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.Close()
}
