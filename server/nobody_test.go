package server_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// undisturbed is an adapter that must not be asked to do anything: its methods are those of a nil interface.
type undisturbed struct{ adapter.Adapter }

func (undisturbed) Close() error { return nil }

// TestNobody calls everything that an operator can do after it was given an empty list of rooms. The adapter, and with it
// the wire, must not see any of it, because there an empty list means everybody.
func TestNobody(t *testing.T) {
	n := start(t, &server.Options{Adapter: adapter.BuilderFunc(func(adapter.Local) (adapter.Adapter, error) { return undisturbed{}, nil })})
	main, parent := n.Of("/"), n.OfPattern(regexp.MustCompile("^/p"))
	n.Of("/p1")
	_, s := n.connect(t)
	var none []string
	for name, op := range map[string]server.BroadcastOperator{
		"namespace":             main.To(),
		"namespace, nil list":   main.To(none...),
		"namespace, empty list": main.To([]string{}...),
		"namespace, In":         main.In(none...),
		"twice":                 main.To().To(none...),
		"with other flags":      main.Local().Volatile().Compress(false).To(none...).Except("x"),
		"flags after":           main.To(none...).Local().Volatile().Compress(false),
		"socket":                s.To(none...),
		"socket, In":            s.In(none...),
		"broadcast":             s.Volatile().Broadcast().To(none...),
		"parent":                parent.To(none...),
		"parent, In":            parent.In(none...),
	} {
		if err := errors.Join(op.Emit("x"), op.SocketsJoin("a"), op.SocketsLeave("a"), op.DisconnectSockets(), op.DisconnectClients()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := op.Emit("connect"); !errors.Is(err, server.ErrReservedEvent) {
			t.Errorf("%s: emit of a reserved event: %v", name, err)
		}
		if n, ids := op.LocalCount(), op.LocalIDs(); n != 0 || len(ids) != 0 {
			t.Errorf("%s: %d on this node, %v", name, n, ids)
		}
		sockets, err := op.FetchSockets(t.Context())
		replies, ackErr := server.BroadcastWithAck[int](t.Context(), op, "x")
		if strings.HasPrefix(name, "parent") {
			if !errors.Is(err, server.ErrParentNamespace) || !errors.Is(ackErr, server.ErrParentNamespace) {
				t.Errorf("%s: %v, %v", name, err, ackErr)
			}
			continue
		}
		if err != nil || !sockets.Complete() || len(sockets.Values) != 0 {
			t.Errorf("%s: fetched %v, %v", name, sockets, err)
		}
		count, err := op.Count(t.Context())
		if err != nil || count.Sockets != 0 || !count.Complete() {
			t.Errorf("%s: counted %v, %v", name, count, err)
		}
		ids, err := op.IDs(t.Context())
		if err != nil || len(ids.Values) != 0 || !ids.Complete() {
			t.Errorf("%s: ids %v, %v", name, ids, err)
		}
		if ackErr != nil || replies.Expected+len(replies.Values)+len(replies.Failed)+replies.Unanswered != 0 {
			t.Errorf("%s: replies %v, %v", name, replies, ackErr)
		}
	}
}

// TestEmptyListAmongOthers: an empty list adds nobody to a selection and takes nobody out of one.
func TestEmptyListAmongOthers(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	p, s := n.connect(t)
	if err := s.Join(context.Background(), "r"); err != nil {
		t.Fatal(err)
	}
	for i, op := range []server.BroadcastOperator{
		main.To().To("r"), main.To("r").To(), main.In("r").Except(), main.Except(), main.Compress(false).Except().In(s.ID()),
	} {
		if err := op.Emit("x", i); err != nil {
			t.Error(err)
		}
		p.expect(`2["x",` + string(rune('0'+i)) + `]`)
	}
}
