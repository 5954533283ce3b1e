package adapter

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// ClusteredOptions configure NewClustered. Zero values mean the defaults.
type ClusteredOptions struct {
	// Timeout is how long a question waits for the other nodes when neither its context nor its flags say, and how long
	// this node waits for acknowledgements on behalf of a node that does not say. Default: 5 s, as in the reference.
	Timeout time.Duration
	// Logger hears of nodes that do not answer. Default: nothing is logged.
	Logger *slog.Logger
}

// Clustered is the adapter that NewClustered makes.
type Clustered interface {
	Adapter
	// Pending returns the number of questions of this node that wait for other nodes.
	Pending() int
}

// NewClustered makes the adapter of a namespace from a bus, which it starts, and closes with the adapter. It is a
// RoomObserver or a JoinWaiter if the bus is one. opts may be nil.
//
// Nothing here waits for the bus but the answers to questions. While the cluster is unavailable everything is done on this
// node, acknowledgements of its own sockets included, and ErrClusterUnavailable is returned.
func NewClustered(local Local, bus Bus, opts *ClusteredOptions) (Clustered, error) {
	c := &clustered{local: local, bus: bus, done: make(chan struct{})}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Timeout <= 0 {
		c.opts.Timeout = 5 * time.Second
	}
	if c.opts.Logger == nil {
		c.opts.Logger = slog.New(slog.DiscardHandler)
	}
	c.questions.open = make(map[string]*question)
	c.answers = answers{local: local, bus: bus, timeout: c.opts.Timeout, open: make(map[*ackAnswer]struct{})}
	c.losses = func() uint64 { return 0 }
	if l, ok := bus.(LossCounter); ok {
		c.losses = l.Losses
	}
	c.census.bus, c.census.log = bus, c.opts.Logger.With("namespace", local.Name())
	c.census.ctx, c.census.stop = context.WithCancel(context.Background())
	if err := bus.Start(c.receive); err != nil {
		c.census.stop()
		return nil, err
	}
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

// clustered is a node of a cluster in one namespace.
type clustered struct {
	// Static after construction.
	local  Local
	bus    Bus
	losses func() uint64 // of the bus
	opts   ClusteredOptions
	done   chan struct{} // closed by Close

	questions questions
	answers   answers
	census    census

	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error // set by closeOnce
}

// receive takes what other nodes say. The bus calls it for one message at a time.
func (c *clustered) receive(m *Message) {
	if c.closed.Load() {
		return
	}
	c.census.heard(m)
	switch m.Kind {
	case KindBroadcast:
		if m.Request != "" {
			c.answers.broadcast(m)
		} else {
			c.local.Deliver(m.Packet, m.Selection, m.Flags)
		}
	case KindJoin:
		c.local.SocketsJoin(m.Selection, m.Rooms)
	case KindLeave:
		c.local.SocketsLeave(m.Selection, m.Rooms)
	case KindDisconnect:
		c.local.DisconnectSockets(m.Selection, m.Close)
	case KindFetch:
		c.bus.Respond(m, &Message{Kind: KindSockets, Request: m.Request, Sockets: c.local.FetchSockets(m.Selection)})
	case KindListRooms:
		c.bus.Respond(m, &Message{Kind: KindRooms, Request: m.Request, Rooms: c.local.Rooms()})
	case KindServerSide:
		c.local.OnServerSideEmit(m.Payload, c.answers.serverSide(m))
	case KindSockets, KindServerReply, KindRooms, KindCount, KindAck, KindGone:
		c.questions.answer(m)
	}
}

// tell sends a message that wants no answer.
func (c *clustered) tell(flags Flags, m *Message) error {
	if flags.Local {
		return nil
	}
	return c.bus.Publish(m)
}

func (c *clustered) Broadcast(p *parser.Packet, sel Selection, flags Flags) error {
	if c.closed.Load() {
		return ErrClosed
	}
	err := c.tell(flags, &Message{Kind: KindBroadcast, Packet: p, Selection: sel, Flags: flags})
	c.local.Deliver(p, sel, flags)
	return err
}

func (c *clustered) SocketsJoin(sel Selection, flags Flags, rooms []string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	err := c.tell(flags, &Message{Kind: KindJoin, Selection: sel, Flags: flags, Rooms: rooms})
	c.local.SocketsJoin(sel, rooms)
	return err
}

func (c *clustered) SocketsLeave(sel Selection, flags Flags, rooms []string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	err := c.tell(flags, &Message{Kind: KindLeave, Selection: sel, Flags: flags, Rooms: rooms})
	c.local.SocketsLeave(sel, rooms)
	return err
}

func (c *clustered) DisconnectSockets(sel Selection, flags Flags, closeConn bool) error {
	if c.closed.Load() {
		return ErrClosed
	}
	err := c.tell(flags, &Message{Kind: KindDisconnect, Selection: sel, Flags: flags, Close: closeConn})
	c.local.DisconnectSockets(sel, closeConn)
	return err
}

func (c *clustered) ServerSideEmit(args parser.Payload) error {
	if c.closed.Load() {
		return ErrClosed
	}
	return c.bus.Publish(&Message{Kind: KindServerSide, Payload: args})
}

func (c *clustered) ServerSideEmitWithAck(ctx context.Context, args parser.Payload) (Result[parser.Payload], error) {
	return gather(ctx, c, &Message{Kind: KindServerSide, Payload: args},
		func() []parser.Payload { return nil },
		func(m *Message) []parser.Payload { return []parser.Payload{m.Payload} })
}

func (c *clustered) FetchSockets(ctx context.Context, sel Selection, flags Flags) (Result[SocketDetails], error) {
	return gather(ctx, c, &Message{Kind: KindFetch, Selection: sel, Flags: flags},
		func() []SocketDetails { return c.local.FetchSockets(sel) },
		func(m *Message) []SocketDetails { return m.Sockets })
}

func (c *clustered) Rooms(ctx context.Context) (Result[string], error) {
	result, err := gather(ctx, c, &Message{Kind: KindListRooms}, c.local.Rooms, func(m *Message) []string { return m.Rooms })
	slices.Sort(result.Values)
	result.Values = slices.Compact(result.Values)
	return result, err
}

func (c *clustered) ServerCount(ctx context.Context) (int, error) {
	if c.closed.Load() {
		return 0, ErrClosed
	}
	c.bus.Listening(ctx)
	n, err := c.bus.Count(ctx)
	if err == nil && c.census.doubtful() {
		var nodes []NodeID
		nodes, err = c.census.nodes(ctx, time.Now())
		n = min(n, len(nodes)) // the list may have names of what only looks like a node
	}
	if c.closed.Load() {
		return 0, ErrClosed
	}
	return n, err
}

func (c *clustered) Pending() int { return c.questions.pending() }

func (c *clustered) Close() error {
	c.closeOnce.Do(func() {
		c.closed.Store(true)
		close(c.done)
		c.questions.close()
		c.answers.close()
		c.closeErr = c.bus.Close()
		c.census.close()
	})
	return c.closeErr
}
