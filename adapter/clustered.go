package adapter

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter/membership"
	"github.com/sockeye-io/sockeye/server/parser"
)

// ClusterOptions configure Join. Zero values mean the defaults.
type ClusterOptions struct {
	// Timeout is how long a question waits for the other nodes when neither its context nor its flags say, and how long
	// this node waits for acknowledgements on behalf of a node that does not say. Default: 5 s, as in the reference.
	Timeout time.Duration
	// Settings are what nodes must have in common to work together, by the names of the flags.
	Settings []membership.Setting
	// OverAfter is how long a node must be silent until its life counts as over, see package membership.
	OverAfter time.Duration
	// Ordered chooses namespaces in which the sockets of all nodes get broadcasts in one and the same order: this node's own are
	// delivered here at their place in the broker's log, too, unless nothing comes from there for 2 s. It has no effect with a broker
	// that has no log. nil: none.
	Ordered func(namespace string) bool
	// Logger hears of nodes that come, go and do not answer. Default: nothing is logged.
	Logger *slog.Logger
}

func (o *ClusterOptions) setDefaults() {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Clustered is the adapter of a namespace that Join's clusters make. It is a RoomObserver or a JoinWaiter if its bus is one.
//
// Nothing in it waits for the bus but the answers to questions. While the cluster is unavailable everything is done on this
// node, acknowledgements of its own sockets included, and ErrClusterUnavailable is returned.
type Clustered interface {
	Adapter
	Lister
	Director
	// Pending returns the number of questions of this node that wait for other nodes.
	Pending() int
	// Order tells what was done to keep the order of messages, see package adapter.
	Order() OrderStats
}

// newClustered makes and starts the bus, which it closes with the adapter.
func newClustered(local Local, node *joined) (Clustered, error) {
	c := &clustered{local: local, node: node, members: node.members, opts: node.opts, listening: make(chan struct{})}
	bus, err := node.broker.Bus(busLocal{local, c})
	if err != nil {
		return nil, err
	}
	c.bus = bus
	c.questions.open = make(map[string]*openQuestion)
	c.answers = answers{local: local, bus: bus, timeout: c.opts.Timeout, open: make(map[*ackAnswer]struct{})}
	c.losses = func() uint64 { return 0 }
	if l, ok := bus.(LossCounter); ok {
		c.losses = l.Losses
	}
	if p, ok := bus.(Parted); ok && p.Parted() {
		c.parted = p
	}
	c.order.begin(c.do)
	c.numbers.base = uint64(time.Since(node.began).Microseconds())
	if c.opts.Ordered != nil && c.opts.Ordered(local.Name()) {
		c.inOrder(maxPlace)
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	if err := bus.Start(c.receive); err != nil {
		c.stop()
		return nil, err
	}
	node.add(c)
	c.running.Go(c.announce)
	observer, observes := bus.(RoomObserver)
	waiter, waits := bus.(JoinWaiter)
	switch {
	case observes && waits:
		return struct {
			*clustered
			RoomObserver
			JoinWaiter
		}{c, observer, waiter}, nil
	case observes:
		return struct {
			*clustered
			RoomObserver
		}{c, observer}, nil
	case waits:
		return struct {
			*clustered
			JoinWaiter
		}{c, waiter}, nil
	}
	return c, nil
}

// busLocal is what a bus may ask of this node.
type busLocal struct {
	Local
	c *clustered
}

// ExpectsRoom implements RoomExpecter. It asks for the room last: what is settled by then has been done.
func (l busLocal) ExpectsRoom(room string) bool {
	if h := l.c.history.Load(); h != nil && !h.settled() {
		return true
	}
	return l.c.order.unsettled() || l.HasRoom(room)
}

// Members implements MemberCounter.
func (l busLocal) Members() int { return len(l.c.present()) }

// clustered is a node of a cluster in one namespace.
type clustered struct {
	// Static after construction.
	local   Local
	bus     Bus
	node    *joined
	members *membership.Members
	losses  func() uint64 // of the bus
	parted  Parted        // nil if all messages of a node take one way
	opts    ClusterOptions
	ctx     context.Context // ends with Close
	stop    context.CancelFunc

	running   sync.WaitGroup
	listening chan struct{} // closed once answers are heard

	questions questions
	gathered  atomic.Uint64 // losses of the bus after which a question has waited for the nodes
	answers   answers
	foreign   foreign
	order     order
	numbers   numbers

	history atomic.Pointer[clusterHistory] // nil unless what is broadcast is kept

	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error // set by closeOnce
}

// announce tells the other nodes that this one serves the namespace, as soon as it hears what they say there: who is asked
// must be able to answer.
func (c *clustered) announce() {
	if err := c.bus.Listening(c.ctx); err != nil {
		return
	}
	c.node.serve(c)
	close(c.listening)
}

// receive takes what other nodes say. The bus calls it for one message at a time.
func (c *clustered) receive(m *Message) {
	if c.closed.Load() {
		return
	}
	if m.From != "" {
		c.members.Heard(m.From)
	}
	if m.Kind.isAnswer() { // which has no place in the order: a handler that the order waits for may wait for it
		if !c.questions.answer(m) && !c.isMember(m.From) {
			c.foreign.heard()
		}
		return
	}
	if h := c.history.Load(); h != nil && m.Offset != "" {
		h.arrive(m)
		return
	}
	c.order.take(m)
}

// inTurn calls f in its place among what is delivered on this node.
func (c *clustered) inTurn(f func()) {
	if h := c.history.Load(); h != nil {
		h.turns.take(f)
		return
	}
	f()
}

// afterOwn calls f when this node has delivered here what it has broadcast before.
func (c *clustered) afterOwn(f func()) {
	if h := c.history.Load(); h != nil {
		h.Turn(f)
		return
	}
	f()
}

// do does what a message says. The channel is closed when the handlers of a server-side event have returned; it is nil if
// there is nothing to wait for.
func (c *clustered) do(m *Message) (handled <-chan struct{}) {
	if c.closed.Load() {
		return nil
	}
	switch m.Kind {
	case KindBroadcast:
		c.inTurn(func() { c.take(m) })
	case KindJoin:
		c.inTurn(func() { c.local.SocketsJoin(m.Selection, m.Rooms) })
	case KindLeave:
		c.inTurn(func() { c.local.SocketsLeave(m.Selection, m.Rooms) })
	case KindDisconnect:
		c.inTurn(func() { c.local.DisconnectSockets(m.Selection, m.Close) })
	case KindFetch:
		c.inTurn(func() { c.bus.Respond(m, c.sockets(m)) })
	case KindListRooms:
		c.bus.Respond(m, &Message{Kind: KindRooms, Request: m.Request, Rooms: c.local.Rooms()})
	case KindServerSide:
		return c.local.OnServerSideEmit(m.Payload, c.answers.serverSide(m))
	}
	return nil
}

// take delivers a broadcast of another node.
func (c *clustered) take(m *Message) {
	switch {
	case m.Flags.Foreign:
	case m.Request != "":
		c.answers.broadcast(m)
	default:
		c.deliver(m.Packet, m.Selection, m.Flags, m.Offset, nil)
		if r, ok := c.local.(Redirector); ok && m.Flags.Direction != nil && len(m.Flags.Direction.Holders) > 0 {
			r.Redirect(m)
		}
	}
}

// memberChanged ends what waits for a node. left reports whether the node does not serve the namespace any more.
func (c *clustered) memberChanged(change NodeChange, left bool) {
	id, over := change.Node.ID, change.Node.State == membership.Over
	if over {
		c.numbers.forget(id)
	}
	if over || left {
		c.order.forget(id)
	}
	c.questions.each(func(q *openQuestion) {
		switch {
		case over || left || change.Node.State == membership.Absent:
			q.gone(id)
		case change.Node.State == membership.Silent:
			q.tell(func(t *tally) { t.Silent(id) })
		case change.Back() && q.began.Before(change.At):
			q.tell(func(t *tally) { t.Missed(id) })
		}
	})
}

func (c *clustered) isMember(id NodeID) bool {
	_, known := c.members.Lookup(id)
	return known
}

// self reports whether a message for one node is for this one.
func (c *clustered) self(id NodeID) bool { return id != "" && id == c.members.Self().ID }

// reaches reports whether a node hears what is sent to it alone: another Go node that serves the namespace.
func (c *clustered) reaches(id NodeID) bool {
	return id != "" && c.members.Serves(id, c.local.Name())
}

// lost reports whether an operation is limited to another node that cannot be reached.
func (c *clustered) lost(flags Flags) bool {
	return flags.Only && !c.self(flags.Node) && !c.reaches(flags.Node)
}

// tell sends a message that wants no answer, to one node if the flags say so and it can be reached. Where messages take several
// ways, a join or a leave goes to all nevertheless: what is sent to all after it relies on it, and would not wait.
// here reports whether this node has to do its part.
func (c *clustered) tell(flags Flags, m *Message) (here bool, err error) {
	switch {
	case flags.Local || c.self(flags.Node):
		return true, nil
	case c.lost(flags):
		return false, ErrNodeUnreachable
	case c.parted != nil && (m.Kind == KindJoin || m.Kind == KindLeave):
	case c.reaches(flags.Node):
		return false, c.send(flags.Node, m)
	}
	return true, c.publish(m)
}

func (c *clustered) Broadcast(p *parser.Packet, sel Selection, flags Flags) error {
	if c.closed.Load() {
		return ErrClosed
	}
	m := &Message{Kind: KindBroadcast, Packet: p, Selection: sel, Flags: flags}
	if flags.Direction != nil {
		m.Sent = flags.Direction.Receipt
	}
	if h := c.history.Load(); h != nil && !flags.Foreign {
		return h.broadcast(m)
	}
	here, err := c.tell(flags, m)
	if here && !flags.Foreign {
		c.local.Deliver(p, sel, flags)
	}
	return err
}

func (c *clustered) SocketsJoin(sel Selection, flags Flags, rooms []string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	here, err := c.tell(flags, &Message{Kind: KindJoin, Selection: sel, Flags: flags, Rooms: rooms})
	if here {
		c.afterOwn(func() { c.local.SocketsJoin(sel, rooms) })
	}
	return err
}

func (c *clustered) SocketsLeave(sel Selection, flags Flags, rooms []string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	here, err := c.tell(flags, &Message{Kind: KindLeave, Selection: sel, Flags: flags, Rooms: rooms})
	if here {
		c.afterOwn(func() { c.local.SocketsLeave(sel, rooms) })
	}
	return err
}

func (c *clustered) DisconnectSockets(sel Selection, flags Flags, closeConn bool) error {
	if c.closed.Load() {
		return ErrClosed
	}
	here, err := c.tell(flags, &Message{Kind: KindDisconnect, Selection: sel, Flags: flags, Close: closeConn})
	if here {
		c.afterOwn(func() { c.local.DisconnectSockets(sel, closeConn) })
	}
	return err
}

func (c *clustered) ServerSideEmit(args parser.Payload) error {
	if c.closed.Load() {
		return ErrClosed
	}
	return c.publish(&Message{Kind: KindServerSide, Payload: args})
}

func (c *clustered) ServerSideEmitWithAck(ctx context.Context, args parser.Payload) (Result[parser.Payload], error) {
	return gather(ctx, c, &Message{Kind: KindServerSide, Payload: args},
		func() []parser.Payload { return nil },
		func(m *Message) []parser.Payload { return []parser.Payload{m.Payload} })
}

// ServerSideEmitTo implements Director.
func (c *clustered) ServerSideEmitTo(node NodeID, args parser.Payload) error {
	switch {
	case c.closed.Load():
		return ErrClosed
	case !c.reaches(node):
		return ErrNodeUnreachable
	}
	return c.send(node, &Message{Kind: KindServerSide, Payload: args})
}

// ServerSideEmitWithAckTo implements Director.
func (c *clustered) ServerSideEmitWithAckTo(ctx context.Context, node NodeID, args parser.Payload) (Result[parser.Payload], error) {
	if c.self(node) {
		return Result[parser.Payload]{}, ErrNodeUnreachable
	}
	return gather(ctx, c, &Message{Kind: KindServerSide, Payload: args, Flags: Flags{Node: node, Only: true}},
		func() []parser.Payload { return nil },
		func(m *Message) []parser.Payload { return []parser.Payload{m.Payload} })
}

func (c *clustered) FetchSockets(ctx context.Context, sel Selection, flags Flags) (Result[SocketDetails], error) {
	self := c.members.Self().ID
	return gather(ctx, c, &Message{Kind: KindFetch, Selection: sel, Flags: flags},
		func() []SocketDetails { return on(self, c.local.FetchSockets(sel)) },
		func(m *Message) []SocketDetails {
			if !c.isMember(m.From) {
				return m.Sockets
			}
			return on(m.From, m.Sockets)
		})
}

// sockets answers a question for sockets.
func (c *clustered) sockets(question *Message) *Message {
	answer := &Message{Kind: KindSockets, Request: question.Request}
	switch question.Want {
	case WantIDs:
		answer.SocketIDs = c.local.SocketIDs(question.Selection)
	case WantCount:
		answer.Count = c.local.CountSockets(question.Selection)
	default:
		answer.Sockets = c.local.FetchSockets(question.Selection)
	}
	return answer
}

// SocketIDs implements Lister.
func (c *clustered) SocketIDs(ctx context.Context, sel Selection, flags Flags) (Result[string], error) {
	return gather(ctx, c, &Message{Kind: KindFetch, Want: WantIDs, Selection: sel, Flags: flags},
		func() []string { return c.local.SocketIDs(sel) },
		func(m *Message) []string {
			ids := slices.Clip(m.SocketIDs)
			for _, s := range m.Sockets { // of a node that tells all
				ids = append(ids, s.ID)
			}
			return ids
		})
}

// CountSockets implements Lister.
func (c *clustered) CountSockets(ctx context.Context, sel Selection, flags Flags) (Result[int], error) {
	return gather(ctx, c, &Message{Kind: KindFetch, Want: WantCount, Selection: sel, Flags: flags},
		func() []int { return []int{c.local.CountSockets(sel)} },
		func(m *Message) []int { return []int{max(m.Count, len(m.Sockets))} })
}

// on notes which node sockets are on.
func on(id NodeID, sockets []SocketDetails) []SocketDetails {
	for i := range sockets {
		sockets[i].Node = id
	}
	return sockets
}

func (c *clustered) Rooms(ctx context.Context) (Result[string], error) {
	result, err := gather(ctx, c, &Message{Kind: KindListRooms}, c.local.Rooms, func(m *Message) []string { return m.Rooms })
	slices.Sort(result.Values)
	result.Values = slices.Compact(result.Values)
	return result, err
}

// ServerCount counts the members, and what the broker counts beyond them.
func (c *clustered) ServerCount(ctx context.Context) (int, error) {
	if c.closed.Load() {
		return 0, ErrClosed
	}
	c.awaitListening(ctx)
	count, err := c.countNodes(ctx)
	if err == nil && count > 1+len(c.present()) {
		var others []NodeID
		if others, err = c.listOthers(ctx); err == nil {
			count = min(count, 1+len(others)) // what else listens is no node; others may have what only looks like one
		}
	}
	if c.closed.Load() {
		return 0, ErrClosed
	}
	return count, err
}

func (c *clustered) Pending() int { return c.questions.pending() }

func (c *clustered) Order() OrderStats { return c.order.stats() }

func (c *clustered) Close() error {
	c.closeOnce.Do(func() {
		c.closed.Store(true)
		c.stop()
		c.node.remove(c)
		c.questions.close()
		c.answers.close()
		c.closeErr = c.bus.Close()
		if h := c.history.Load(); h != nil {
			h.close()
		}
		c.order.close()
		c.running.Wait()
	})
	return c.closeErr
}
