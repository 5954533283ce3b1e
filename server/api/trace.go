package api

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	// traceEvent is the server-side event by which nodes tell what they have seen.
	traceEvent = "sockeye:trace"
	// maxTraces bounds the traces that are asked of one node.
	maxTraces = 10
	// traceQueue is how many batches wait for a reader that is slow; what exceeds them is counted.
	traceQueue = 64
	// traceSilence is after how long without an event a comment shows that the stream lives.
	traceSilence = 15 * time.Second
	// traceWrite is how long a reader may take for what is written.
	traceWrite = 10 * time.Second
)

// trace is one stream of a node that is asked.
type trace struct {
	batches chan traceBatch // capacity traceQueue
	dropped atomic.Int64    // entries for which there was no room
}

// deliver gives a trace what a node has seen.
func (g *Agent) deliver(b traceBatch) {
	g.watchMu.Lock()
	t := g.traces[b.ID]
	g.watchMu.Unlock()
	if t == nil {
		return
	}
	select {
	case t.batches <- b:
	default:
		t.dropped.Add(int64(len(b.Entries) + b.Dropped))
	}
}

// openTrace returns nil if there are too many.
func (g *Agent) openTrace(id string) *trace {
	g.watchMu.Lock()
	defer g.watchMu.Unlock()
	if len(g.traces) >= maxTraces {
		return nil
	}
	t := &trace{batches: make(chan traceBatch, traceQueue)}
	g.traces[id] = t
	return t
}

func (g *Agent) closeTrace(id string) {
	g.watchMu.Lock()
	defer g.watchMu.Unlock()
	delete(g.traces, id)
}

// watchingView is the first event of a stream, and one more whenever it changes.
type watchingView struct {
	partial
	Sockets int      `json:"sockets"` // that are watched now
	Nodes   []string `json:"nodes"`   // that watch
}

// droppedView says that entries were lost.
type droppedView struct {
	Count int64  `json:"count"`
	Node  string `json:"node"` // that has dropped them
}

// traceOrder reads what is to be traced.
func (a *API) traceOrder(r *http.Request) (*watchOrder, error) {
	q := r.URL.Query()
	o := &watchOrder{ID: string(adapter.NewNodeID()), From: a.srv.Node().ID, User: q.Get("user"), Socket: q.Get("socket")}
	var err error
	if o.Payloads, err = flag(q, "payloads"); err != nil {
		return nil, err
	}
	switch {
	case (o.User == "") == (o.Socket == ""):
		return nil, invalid("user or socket is needed")
	case len(o.User)+len(o.Socket) > maxName:
		return nil, invalid("a name has 1 to %d bytes", maxName)
	case o.User != "" && a.dir == nil:
		return nil, errNoDirectory
	}
	if _, scope := a.identify(r); o.Payloads && scope < ScopeWrite {
		return nil, refuse(http.StatusForbidden, "forbidden", "payloads need a credential of scope %v, this one has %v", ScopeWrite, scope)
	}
	return o, nil
}

// trace streams what a user or a socket sends and gets.
func (a *API) trace(w http.ResponseWriter, r *http.Request) {
	o, err := a.traceOrder(r)
	if err != nil {
		writeFailure(w, failureOf(err))
		return
	}
	t := a.agent.openTrace(o.ID)
	if t == nil {
		writeFailure(w, refuse(http.StatusTooManyRequests, "too_many_traces", "%d traces run on this node already", maxTraces))
		return
	}
	defer a.agent.closeTrace(o.ID)
	defer a.unwatchAll(o.ID)
	first := a.watchAll(r.Context(), o)
	if o.Socket != "" && first.Sockets == 0 {
		writeFailure(w, refuse(http.StatusNotFound, "unknown_socket", "no node that was heard has the socket"))
		return
	}
	a.log.Info("control", "path", r.URL.Path, "user", o.User, "socket", o.Socket, "payloads", o.Payloads, "from", r.RemoteAddr)
	s := &stream{w: w, control: http.NewResponseController(w)}
	s.begin()
	a.stream(r.Context(), s, t, o, first)
}

// stream writes a stream until its reader goes, or the socket does.
func (a *API) stream(ctx context.Context, s *stream, t *trace, o *watchOrder, last watchingView) {
	ctx, cancel := context.WithCancel(ctx)
	renewed := make(chan watchingView, 1)
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		a.renew(ctx, o, renewed)
	}()
	s.event("watching", last)
	silence := time.NewTicker(traceSilence)
	defer silence.Stop()
	for s.err == nil {
		select {
		case b := <-t.batches:
			if s.batch(&b, o.Socket != "") {
				return
			}
			if lost := t.dropped.Swap(0); lost > 0 {
				s.event("dropped", droppedView{lost, a.srv.Node().Name})
			}
		case now := <-renewed:
			if now.differs(&last) {
				s.event("watching", now)
			}
			last = now
		case <-silence.C:
			s.write(": still there\n\n")
		case <-ctx.Done():
			return
		case <-a.agent.ctx.Done():
			return
		}
	}
}

func (v *watchingView) differs(o *watchingView) bool {
	return v.Sockets != o.Sockets || fmt.Sprint(v.Nodes, v.Missing) != fmt.Sprint(o.Nodes, o.Missing)
}

// renew tells the nodes that the reader is still there, those that have come since too.
func (a *API) renew(ctx context.Context, o *watchOrder, renewed chan<- watchingView) {
	ticker := time.NewTicker(renewPace)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := a.watchAll(ctx, o)
		select {
		case renewed <- now:
		default: // the reader is slow, and is told with the next one
		}
	}
}

// watchAll has all nodes watch.
func (a *API) watchAll(ctx context.Context, o *watchOrder) (v watchingView) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	answers, lacks := a.agent.askAll(ctx, question{Op: opWatch, Watch: o})
	v.partial, v.Nodes = lacks, []string{}
	for _, r := range answers {
		if !r.Has {
			v.Partial = true
			v.Missing = append(v.Missing, r.node.Name)
			v.Unanswered++
			continue
		}
		v.Sockets += r.Sockets
		v.Nodes = append(v.Nodes, r.node.Name)
	}
	return v
}

// unwatchAll ends a trace. A node that does not hear of it ends its part when the lease has run out.
func (a *API) unwatchAll(id string) {
	q := question{Op: opUnwatch, Watch: &watchOrder{ID: id}}
	a.agent.answer(q)
	ctx, cancel := context.WithTimeout(context.Background(), a.opts.Timeout)
	defer cancel()
	nodes, _ := a.srv.Nodes(ctx) // as far as they are known
	for _, n := range nodes[1:] {
		_ = a.agent.main.ServerSideEmitTo(n.ID, agentEvent, q)
	}
}

// stream writes Server-Sent Events. After an error it writes nothing.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (s *stream) begin() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep the events back
	s.w.WriteHeader(http.StatusOK)
}

func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	// A writer without deadlines, as in tests, has a reader that is never slow.
	_ = s.control.SetWriteDeadline(time.Now().Add(traceWrite))
	if _, s.err = fmt.Fprint(s.w, text); s.err == nil {
		s.err = s.control.Flush()
	}
}

func (s *stream) event(name string, v any) {
	s.write("event: " + name + "\ndata: " + string(encode(v)) + "\n")
}

// batch writes what a node has seen. It reports whether the stream is over, with one that ends with its socket.
func (s *stream) batch(b *traceBatch, single bool) (over bool) {
	for _, e := range b.Entries {
		s.event("trace", e)
		over = over || single && e.Kind == "disconnected"
	}
	if b.Dropped > 0 {
		s.event("dropped", droppedView{int64(b.Dropped), b.Node})
	}
	return over
}
