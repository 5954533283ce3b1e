package server

import (
	"context"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
)

// Count is a number of sockets in the whole cluster.
type Count struct {
	// Sockets is how many there are on the nodes that have answered, this one included.
	Sockets int
	// Missing names the nodes that did not answer, as far as they are known by name; Unanswered counts all of them.
	Missing    []NodeID
	Unanswered int
}

// Complete reports whether every node answered.
func (c Count) Complete() bool { return c.Unanswered == 0 }

// LocalCount counts the selected sockets on this node. That is adapter.rooms.get(room).size in Node. It asks nobody.
func (b BroadcastOperator) LocalCount() int {
	n := 0
	b.eachLocal(func(l local) { n += l.CountSockets(b.selection()) })
	return n
}

// LocalIDs names the selected sockets on this node, in no order. It asks nobody.
func (b BroadcastOperator) LocalIDs() []string {
	var ids []string
	b.eachLocal(func(l local) { ids = append(ids, l.SocketIDs(b.selection())...) })
	return ids
}

// eachLocal calls f with all namespaces that are meant.
func (b BroadcastOperator) eachLocal(f func(l local)) {
	switch {
	case b.nobody():
	case b.parent == nil:
		f(local{b.nsp})
	default:
		for _, n := range b.parent.Children() {
			f(local{n})
		}
	}
}

// Count counts the selected sockets. Sockeye nodes answer with a number, Node.js nodes as they answer FetchSockets. The
// error is as for FetchSockets; what has been counted by then comes with it.
func (b BroadcastOperator) Count(ctx context.Context) (Count, error) {
	if b.parent != nil {
		return Count{}, fmt.Errorf("count sockets: %w", ErrParentNamespace)
	}
	if b.nobody() {
		return Count{}, nil
	}
	numbers, err := b.count(ctx)
	c := Count{Missing: numbers.Missing, Unanswered: numbers.Unanswered}
	for _, n := range numbers.Values {
		c.Sockets += n
	}
	return c, failed("count sockets", err)
}

func (b BroadcastOperator) count(ctx context.Context) (Result[int], error) {
	return askNodes(ctx, b, "count sockets", func(ctx context.Context, a adapter.Adapter, flags adapter.Flags) (Result[int], error) {
		if l, ok := a.(adapter.Lister); ok {
			return l.CountSockets(ctx, b.selection(), flags)
		}
		all, err := a.FetchSockets(ctx, b.selection(), flags)
		return Result[int]{Values: []int{len(all.Values)}, Missing: all.Missing, Unanswered: all.Unanswered}, err
	})
}

// IDs names the selected sockets, in no order. It costs less than FetchSockets. The result says which nodes did not answer.
func (b BroadcastOperator) IDs(ctx context.Context) (Result[string], error) {
	if b.parent != nil {
		return Result[string]{}, fmt.Errorf("list sockets: %w", ErrParentNamespace)
	}
	if b.nobody() {
		return Result[string]{}, nil
	}
	ids, err := askNodes(ctx, b, "list sockets", func(ctx context.Context, a adapter.Adapter, flags adapter.Flags) (Result[string], error) {
		if l, ok := a.(adapter.Lister); ok {
			return l.SocketIDs(ctx, b.selection(), flags)
		}
		all, err := a.FetchSockets(ctx, b.selection(), flags)
		ids := Result[string]{Missing: all.Missing, Unanswered: all.Unanswered}
		for _, d := range all.Values {
			ids.Values = append(ids.Values, d.ID)
		}
		return ids, err
	})
	return ids, failed("list sockets", err)
}
