package api

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

const (
	// lease is how long a node watches for another one that is not heard any more; renewPace is how often that says that it is there.
	lease     = 20 * time.Second
	renewPace = 5 * time.Second
	// gather is how long what was seen is gathered before it is sent.
	gather = 100 * time.Millisecond
	// maxGathered and maxGatheredBytes bound what is gathered; the rest is counted.
	maxGathered      = 1000
	maxGatheredBytes = 256 << 10
	// maxWatches bounds the traces that a node takes part in, maxWatched the sockets of each on one node.
	maxWatches = 100
	maxWatched = 1000
	// maxShown bounds the arguments that are shown of one event, in bytes.
	maxShown = 16 << 10
	// maxPending bounds the acknowledgements of a trace whose time is taken.
	maxPending = 1000
)

// watchOrder asks a node to watch a user or a socket, for as long as the order is renewed.
type watchOrder struct {
	ID       string         `json:"id"`
	From     adapter.NodeID `json:"from"`
	User     string         `json:"user,omitempty"`
	Socket   string         `json:"socket,omitempty"`
	Payloads bool           `json:"payloads,omitempty"`
}

// traceEntry is one thing that was seen.
type traceEntry struct {
	Time      time.Time       `json:"time"`
	Node      string          `json:"node"`
	Namespace string          `json:"namespace"`
	Socket    string          `json:"socket"`
	Kind      string          `json:"kind"` // received, refused, handled, ack_received, sent, ack_sent, connected or disconnected
	Event     string          `json:"event,omitempty"`
	Ack       *int64          `json:"ack,omitempty"`      // id of the acknowledgement; each direction has its own
	Bytes     int             `json:"bytes,omitempty"`    // of the payload
	Ms        *float64        `json:"ms,omitempty"`       // handled: in handlers; ack_*: since the event
	Queued    int64           `json:"queued,omitempty"`   // sent: bytes that wait for the client already
	Outcome   string          `json:"outcome,omitempty"`  // handled: how
	Reason    string          `json:"reason,omitempty"`   // disconnected: why
	Args      json.RawMessage `json:"args,omitempty"`     // if payloads were asked for
	Withheld  bool            `json:"withheld,omitempty"` // the arguments are too long to be shown
}

// traceBatch is what a node has seen.
type traceBatch struct {
	ID      string       `json:"id"`
	Node    string       `json:"node"`
	Entries []traceEntry `json:"entries"`
	Dropped int          `json:"dropped,omitempty"` // more than could be gathered
}

// ackKey names an acknowledgement that is due.
type ackKey struct {
	socket   string
	toClient bool
	id       int64
}

// watch is one trace on a node that is watched.
type watch struct {
	// Static.
	agent *Agent
	order watchOrder

	mu sync.Mutex
	// Guarded by mu.
	remove  func()                    // of what tells of new sockets
	sockets map[*server.Socket]func() // with how to stop
	lease   *time.Timer
	flush   *time.Timer // runs while something is gathered
	batch   traceBatch
	bytes   int
	pending map[ackKey]time.Time
	ended   bool
}

// watch begins to watch, or goes on. It returns how many sockets are watched.
func (g *Agent) watch(o *watchOrder) (sockets int, ok bool) {
	if o == nil || o.ID == "" || (o.User == "") == (o.Socket == "") || o.User != "" && g.dir == nil {
		return 0, o != nil && o.User != "" && g.dir == nil // a node without a directory has no users
	}
	g.watchMu.Lock()
	w := g.watches[o.ID]
	known := w != nil
	if !known && (len(g.watches) >= maxWatches || g.ctx.Err() != nil) {
		g.watchMu.Unlock()
		return 0, false
	}
	if !known {
		w = &watch{agent: g, order: *o, sockets: make(map[*server.Socket]func()), pending: make(map[ackKey]time.Time), remove: func() {}}
		w.lease = time.AfterFunc(lease, w.end)
		g.watches[o.ID] = w
	}
	g.watchMu.Unlock()
	if known {
		w.lease.Reset(lease)
	} else {
		w.begin()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sockets), true
}

// unwatch ends a watch before its lease does.
func (g *Agent) unwatch(id string) {
	g.watchMu.Lock()
	w := g.watches[id]
	g.watchMu.Unlock()
	if w != nil {
		w.end()
	}
}

// begin finds the sockets that are there. Those of a user that come later are told by the directory.
func (w *watch) begin() {
	g := w.agent
	if w.order.Socket != "" {
		for _, n := range g.srv.Namespaces() {
			if s, ok := n.Socket(w.order.Socket); ok {
				w.add(s, false)
			}
		}
		return
	}
	w.untilEnd(g.dir.OnBind(func(s *server.Socket, user string) {
		if user == w.order.User {
			w.add(s, true)
		}
	}))
	n := g.dir.Namespace()
	for _, id := range n.In(g.dir.User(w.order.User).Room()).LocalIDs() {
		if s, ok := n.Socket(id); ok && w.concerns(s) {
			w.add(s, false)
		}
	}
}

// untilEnd has remove called at the end, or at once if that was already.
func (w *watch) untilEnd(remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		remove()
		return
	}
	w.remove = remove
}

// concerns reports whether a socket is, still, the watched one.
func (w *watch) concerns(s *server.Socket) bool {
	if w.order.Socket != "" {
		return true
	}
	user, ok := w.agent.dir.UserOf(s)
	return ok && user == w.order.User
}

// add watches a socket.
func (w *watch) add(s *server.Socket, came bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.sockets[s]; known || w.ended {
		return
	}
	if len(w.sockets) >= maxWatched {
		w.batch.Dropped++
		w.armLocked()
		return
	}
	w.sockets[s] = s.Observe(func(o server.Observation) { w.observe(s, &o) })
	if came {
		w.keepLocked(traceEntry{Kind: "connected"}, s)
	}
}

// observe takes in what a socket sends or gets.
func (w *watch) observe(s *server.Socket, o *server.Observation) {
	gone := o.Kind == server.ObservedDisconnected
	belongs := gone || w.concerns(s)
	e := traceEntry{Kind: string(o.Kind), Event: o.Event, Bytes: o.Bytes, Outcome: string(o.Result.Outcome), Reason: string(o.Reason)}
	if o.ID >= 0 {
		e.Ack = &o.ID
	}
	switch o.Kind {
	case server.ObservedHandled:
		e.Ms = milliseconds(o.Result.Took)
	case server.ObservedSent:
		e.Queued = s.Conn().Queued()
	}
	if w.order.Payloads && o.Kind != server.ObservedHandled && !gone {
		e.Args, e.Withheld = shown(o.Args())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone || !belongs {
		if stop := w.sockets[s]; stop != nil {
			stop()
			delete(w.sockets, s)
		}
	}
	if !belongs || w.ended {
		return
	}
	w.timeLocked(s.ID(), o, &e)
	w.keepLocked(e, s)
}

// timeLocked notes when an event asks for an acknowledgement, and how long that has taken.
func (w *watch) timeLocked(socket string, o *server.Observation, e *traceEntry) {
	if o.ID < 0 {
		return
	}
	key := ackKey{socket, o.Kind == server.ObservedSent || o.Kind == server.ObservedAckReceived, o.ID}
	switch o.Kind {
	case server.ObservedReceived, server.ObservedSent:
		if len(w.pending) < maxPending {
			w.pending[key] = time.Now()
		}
	case server.ObservedAckReceived, server.ObservedAckSent:
		if since, ok := w.pending[key]; ok {
			delete(w.pending, key)
			e.Ms = milliseconds(time.Since(since))
		}
	}
}

func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Microseconds()) / 1000
	return &ms
}

// shown is what is told of arguments.
func shown(args server.Args) (text json.RawMessage, withheld bool) {
	text = append(text, '[')
	for i := range args.Len() {
		p, err := args.At(i).Inline()
		if err != nil || len(text)+len(p.JSON) > maxShown {
			return nil, true
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, p.JSON...)
	}
	return append(text, ']'), false
}

// keepLocked gathers an entry, unless there is too much.
func (w *watch) keepLocked(e traceEntry, s *server.Socket) {
	e.Time, e.Node, e.Namespace, e.Socket = time.Now().UTC(), w.agent.srv.Node().Name, s.Namespace().Name(), s.ID()
	size := len(e.Args) + len(e.Event) + 200
	if len(w.batch.Entries) >= maxGathered || w.bytes+size > maxGatheredBytes {
		w.batch.Dropped++
	} else {
		w.batch.Entries = append(w.batch.Entries, e)
		w.bytes += size
	}
	w.armLocked()
}

// armLocked sees to it that what is gathered is sent.
func (w *watch) armLocked() {
	if w.flush == nil && !w.ended {
		w.flush = time.AfterFunc(gather, w.send)
	}
}

// send tells who has asked what was seen.
func (w *watch) send() {
	w.mu.Lock()
	b := w.batch
	w.batch, w.bytes, w.flush = traceBatch{}, 0, nil
	ended := w.ended
	w.mu.Unlock()
	if ended {
		return
	}
	b.ID, b.Node = w.order.ID, w.agent.srv.Node().Name
	if w.order.From == w.agent.srv.Node().ID {
		w.agent.deliver(b)
		return
	}
	// What does not get there is lost: a trace shows what can be seen, and holds nothing up.
	_ = w.agent.main.ServerSideEmitTo(w.order.From, traceEvent, b)
}

// end stops watching.
func (w *watch) end() {
	g := w.agent
	g.watchMu.Lock()
	if g.watches[w.order.ID] == w {
		delete(g.watches, w.order.ID)
	}
	g.watchMu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.ended = true
	w.lease.Stop()
	if w.flush != nil {
		w.flush.Stop()
	}
	for _, stop := range w.sockets {
		stop()
	}
	w.sockets = nil
	w.remove()
}
