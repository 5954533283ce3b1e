package server

import (
	"context"
	"errors"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// ServerSideEmit sends an event to the other nodes of the cluster; see HandleServerSide. It never blocks.
func (n *Namespace) ServerSideEmit(event string, args ...any) error {
	payload, err := adapter.ServerSidePayload(event, spread(args)...)
	if err == nil {
		_, end := n.server.begin(context.Background(), Operation{Kind: OperationEmit, Namespace: n.name, Event: event, Cluster: true})
		err = n.cluster().ServerSideEmit(payload)
		end(err)
	}
	return failed("server-side emit", err)
}

// ServerSideEmitWithAck sends an event to the other nodes of the cluster and gathers one answer from each, decoded into
// R. Without a deadline in ctx it waits for Options.AckTimeout. Nodes that did not answer are in the result; the error is
// ErrAckTimeout then, or ErrAckMissing if the adapter gave up before the deadline.
func ServerSideEmitWithAck[R any](ctx context.Context, n *Namespace, event string, args ...any) (Result[R], error) {
	var result Result[R]
	payload, err := adapter.ServerSidePayload(event, spread(args)...)
	if err != nil {
		return result, failed("server-side emit", err)
	}
	ctx, cancel := n.server.ackContext(ctx)
	defer cancel()
	ctx, end := n.server.begin(ctx, n.asking(event))
	raw, err := n.cluster().ServerSideEmitWithAck(ctx, payload)
	end(err)
	result.Missing, result.Unanswered = raw.Missing, raw.Unanswered
	for _, v := range raw.Values {
		var r R
		if decodeErr := decodeValue(v, &r); decodeErr != nil {
			return result, decodeErr
		}
		result.Values = append(result.Values, r)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		err = n.server.ackEnded(ctx)
	case err == nil && result.Unanswered > 0:
		err = ErrAckMissing
	}
	return result, err
}

// ServerSideEmitTo sends an event to one other node, which alone hears it; see HandleServerSide. It never blocks. It returns
// ErrNodeUnreachable if the node is this one, or no live member that serves the namespace.
func (n *Namespace) ServerSideEmitTo(node NodeID, event string, args ...any) error {
	payload, err := adapter.ServerSidePayload(event, spread(args)...)
	if err == nil {
		if d, ok := n.cluster().(adapter.Director); ok {
			err = d.ServerSideEmitTo(node, payload)
		} else {
			err = ErrNodeUnreachable
		}
	}
	return failed("server-side emit", err)
}

// ServerSideEmitWithAckTo sends an event to one other node and returns its answer. Errors are those of ServerSideEmitTo and
// ServerSideEmitWithAck.
func ServerSideEmitWithAckTo[R any](ctx context.Context, n *Namespace, node NodeID, event string, args ...any) (R, error) {
	var answer R
	payload, err := adapter.ServerSidePayload(event, spread(args)...)
	if err != nil {
		return answer, failed("server-side emit", err)
	}
	d, ok := n.cluster().(adapter.Director)
	if !ok {
		return answer, failed("server-side emit", ErrNodeUnreachable)
	}
	ctx, cancel := n.server.ackContext(ctx)
	defer cancel()
	ctx, end := n.server.begin(ctx, n.asking(event))
	raw, err := d.ServerSideEmitWithAckTo(ctx, node, payload)
	end(err)
	switch {
	case err != nil && ctx.Err() != nil:
		return answer, n.server.ackEnded(ctx)
	case err != nil:
		return answer, failed("server-side emit", err)
	case len(raw.Values) == 0:
		return answer, ErrAckMissing
	}
	return answer, decodeValue[R](raw.Values[0], &answer)
}

// OnServerSideEmit queues an event of another node for the handlers.
func (l local) OnServerSideEmit(args parser.Payload, reply func(parser.Payload)) <-chan struct{} {
	n := l.nsp
	if len(n.hooks().serverSide) == 0 && reply == nil {
		return nil
	}
	e := serverSideEvent{args: args, reply: reply, handled: make(chan struct{})}
	switch n.serverSide.put(e, func() { n.server.spawn(n.workServerSide) }) {
	case queueFull:
		n.server.serverSideDrops.Add(1)
		return nil
	case queueClosed:
		return nil
	}
	return e.handled
}

// serverSideLimit bounds the events of other nodes that wait for their handlers.
const serverSideLimit = 16 << 20

// serverSideQueue holds events of other nodes in order. A worker exists only while there are some.
type serverSideQueue struct {
	mu sync.Mutex
	// Guarded by mu.
	items   []serverSideEvent
	bytes   int
	running bool
	closed  bool
}

// What becomes of an event of another node.
const (
	queued = iota
	queueFull
	queueClosed
)

type serverSideEvent struct {
	args    parser.Payload
	reply   func(parser.Payload)
	handled chan struct{} // closed when the handlers have returned
}

func (e *serverSideEvent) size() int { return taskOverhead + payloadSize(&e.args) }

// put queues an event. start starts the worker, with mu held: nobody who waits for goroutines sees that there is none between the two.
func (q *serverSideQueue) put(e serverSideEvent, start func()) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return queueClosed
	case q.bytes > serverSideLimit:
		return queueFull
	}
	q.items = append(q.items, e)
	q.bytes += e.size()
	if !q.running {
		q.running = true
		start()
	}
	return queued
}

// close refuses what the adapter, which has closed, may still be handing on: whoever waits for the goroutines after it has waited for all.
func (q *serverSideQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

func (q *serverSideQueue) take() []serverSideEvent {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.bytes = nil, 0
	q.running = len(items) > 0
	return items
}

// workServerSide is the server-side worker. If a handler ends its goroutine by runtime.Goexit another one takes its place.
func (n *Namespace) workServerSide() {
	finished := false
	defer func() {
		if !finished {
			n.server.spawn(n.workServerSide)
		}
	}()
	for batch := n.serverSide.take(); len(batch) > 0; batch = n.serverSide.take() {
		each(batch, n.dispatchServerSide)
	}
	finished = true
}

func (n *Namespace) dispatchServerSide(r serverSideEvent) {
	defer close(r.handled)
	p := parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: r.args}
	name, args, err := p.Event()
	if err != nil {
		if held, ok := n.server.failed.Pass(n.name, failureInterval); ok {
			n.server.opts.Logger.Warn("server-side event is malformed", "namespace", n.name, "error", err, "notLogged", held)
		}
		return
	}
	e := &Event{Name: name, Args: args, Reply: &Reply{id: parser.NoID, remote: r.reply}}
	each(n.hooks().serverSide[name], func(h *slot[ServerSideHandler]) {
		err := n.server.protect(name, n.name, "", func() error {
			return h.value.HandleServerSide(n.server.ctx, e)
		})
		if err != nil && !errors.Is(err, errPanic) {
			n.server.failures.Add(1)
			if held, ok := n.server.failed.Pass(n.name+" server-side "+name, failureInterval); ok {
				n.server.opts.Logger.Warn("server-side event failed", "namespace", n.name, "event", name, "error", err, "notLogged", held)
			}
		}
	})
}
