package adaptertest

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

var _ adapter.Adapter = (*member)(nil)

func (m *member) Broadcast(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) error {
	if err := m.own.Broadcast(p, sel, flags); err != nil {
		return err
	}
	sel = copied(sel)
	return m.tell(flags, func(l adapter.Local) { l.Deliver(p, sel, flags) })
}

// copied returns a selection that outlives the call.
func copied(sel adapter.Selection) adapter.Selection {
	return adapter.Selection{Rooms: slices.Clone(sel.Rooms), Except: slices.Clone(sel.Except)}
}

// ackPart is what another node does for a broadcast with acknowledgements.
type ackPart struct {
	taken atomic.Bool   // begun, or given up by the one who asked
	done  chan struct{} // closed when the node will not call the sink any more
}

func (m *member) BroadcastWithAck(ctx context.Context, p *parser.Packet, sel adapter.Selection, flags adapter.Flags, acks adapter.AckSink) (adapter.AckSummary, error) {
	if m.ctx.Err() != nil {
		return adapter.AckSummary{}, context.Cause(m.ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	sel = copied(sel)
	parts := make(map[*member]*ackPart)
	others, sendErr := m.send(flags, func(to *member) func() {
		part := &ackPart{done: make(chan struct{})}
		parts[to] = part
		return func() { to.acknowledge(ctx, part, p, sel, flags, acks) }
	})
	summary, err := m.own.BroadcastWithAck(ctx, p, sel, flags, acks)
	for _, o := range others {
		part := parts[o]
		select {
		case <-part.done:
			continue
		case <-o.ctx.Done():
		case <-ctx.Done():
			err = ctx.Err()
		}
		if !part.taken.CompareAndSwap(false, true) {
			<-part.done
		} else if o.ctx.Err() == nil {
			summary.Missing = append(summary.Missing, o.id)
			summary.Unanswered++
		}
	}
	if m.ctx.Err() != nil {
		err = context.Cause(m.ctx)
	}
	if err == nil {
		err = sendErr
	}
	return summary, err
}

// acknowledge serves a broadcast of another node. It returns when the packet is on its way, so that it keeps its place
// among the broadcasts; the acknowledgements come later.
func (m *member) acknowledge(ctx context.Context, part *ackPart, p *parser.Packet, sel adapter.Selection, flags adapter.Flags, acks adapter.AckSink) {
	if !part.taken.CompareAndSwap(false, true) {
		return
	}
	delivered := make(chan struct{})
	go func() {
		defer close(part.done)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(m.ctx, cancel)()
		// Memory never fails; its errors here are that the one who asked has stopped, or that this node has left.
		once, _ := adapter.Memory().New(announcing{m.local, delivered})
		_, _ = once.BroadcastWithAck(ctx, p, sel, flags, named{acks, m.id})
	}()
	<-delivered
}

// announcing tells when a packet has been delivered.
type announcing struct {
	adapter.Local
	delivered chan struct{}
}

func (a announcing) DeliverWithAck(p *parser.Packet, sel adapter.Selection, flags adapter.Flags,
	onAck func(string, parser.Payload), onGone func(string)) (int, func() []string) {
	defer close(a.delivered)
	return a.Local.DeliverWithAck(p, sel, flags, onAck, onGone)
}

// named puts a node's name to its acknowledgements.
type named struct {
	adapter.AckSink
	node adapter.NodeID
}

func (n named) Ack(_ adapter.NodeID, sid string, value parser.Payload) {
	n.AckSink.Ack(n.node, sid, value)
}

func (n named) Gone(_ adapter.NodeID, sid string) { n.AckSink.Gone(n.node, sid) }

func (m *member) FetchSockets(ctx context.Context, sel adapter.Selection, flags adapter.Flags) (adapter.Result[adapter.SocketDetails], error) {
	result, err := m.own.FetchSockets(ctx, sel, flags)
	if err != nil {
		return result, err
	}
	sel = copied(sel)
	lists, err := ask(ctx, m, flags, func(l adapter.Local, answer func([]adapter.SocketDetails)) { answer(l.FetchSockets(sel)) })
	result.Missing, result.Unanswered = lists.Missing, lists.Unanswered
	result.Values = append(result.Values, slices.Concat(lists.Values...)...)
	return result, err
}

func (m *member) SocketsJoin(sel adapter.Selection, flags adapter.Flags, rooms []string) error {
	if err := m.own.SocketsJoin(sel, flags, rooms); err != nil {
		return err
	}
	sel, rooms = copied(sel), slices.Clone(rooms)
	return m.tell(flags, func(l adapter.Local) { l.SocketsJoin(sel, rooms) })
}

func (m *member) SocketsLeave(sel adapter.Selection, flags adapter.Flags, rooms []string) error {
	if err := m.own.SocketsLeave(sel, flags, rooms); err != nil {
		return err
	}
	sel, rooms = copied(sel), slices.Clone(rooms)
	return m.tell(flags, func(l adapter.Local) { l.SocketsLeave(sel, rooms) })
}

func (m *member) DisconnectSockets(sel adapter.Selection, flags adapter.Flags, closeConn bool) error {
	if err := m.own.DisconnectSockets(sel, flags, closeConn); err != nil {
		return err
	}
	sel = copied(sel)
	return m.tell(flags, func(l adapter.Local) { l.DisconnectSockets(sel, closeConn) })
}

func (m *member) ServerSideEmit(args parser.Payload) error {
	if err := m.own.ServerSideEmit(args); err != nil {
		return err
	}
	return m.tell(adapter.Flags{}, func(l adapter.Local) { l.OnServerSideEmit(args, nil) })
}

func (m *member) ServerSideEmitWithAck(ctx context.Context, args parser.Payload) (adapter.Result[parser.Payload], error) {
	if result, err := m.own.ServerSideEmitWithAck(ctx, args); err != nil {
		return result, err
	}
	return ask(ctx, m, adapter.Flags{}, func(l adapter.Local, answer func(parser.Payload)) { l.OnServerSideEmit(args, answer) })
}

func (m *member) Rooms(ctx context.Context) (adapter.Result[string], error) {
	result, err := m.own.Rooms(ctx)
	if err != nil {
		return result, err
	}
	lists, err := ask(ctx, m, adapter.Flags{}, func(l adapter.Local, answer func([]string)) { answer(l.Rooms()) })
	result.Missing, result.Unanswered = lists.Missing, lists.Unanswered
	result.Values = append(result.Values, slices.Concat(lists.Values...)...)
	slices.Sort(result.Values)
	result.Values = slices.Compact(result.Values)
	return result, err
}

func (m *member) ServerCount(ctx context.Context) (int, error) {
	if _, err := m.own.ServerCount(ctx); err != nil {
		return 0, err
	}
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	return len(m.cluster.members[m.local.Name()]), nil
}

func (m *member) Close() error {
	c := m.cluster
	c.mu.Lock()
	name := m.local.Name()
	if i := slices.Index(c.members[name], m); i >= 0 {
		c.members[name] = slices.Delete(slices.Clone(c.members[name]), i, i+1)
	}
	m.queue = nil
	c.mu.Unlock()
	m.leave(adapter.ErrClosed)
	return m.own.Close()
}
