package server_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// TestPacketLimit sends a packet of several messages. What it may be long follows from the length of a message and the
// number of attachments.
func TestPacketLimit(t *testing.T) {
	for _, tt := range []struct {
		name        string
		buffer      int64
		attachments int
		send        []int
		ok          bool
	}{
		{"long messages", 20_000_000, 0, []int{12_000_000}, true},
		{"many attachments", 0, 13, []int{1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6}, true},
		{"short messages", 1000, 0, []int{1001}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, &server.Options{Engine: engine.Options{MaxHTTPBufferSize: tt.buffer}, MaxAttachments: tt.attachments})
			n.Of("/").Handle("sizes", server.FuncAck(func(_ context.Context, _ *server.Socket, list [][]byte) (int, error) {
				total := 0
				for _, b := range list {
					total += len(b)
				}
				return total, nil
			}))
			p, _ := n.connect(t)
			var slots []string
			total := 0
			for i, size := range tt.send {
				total += size
				slots = append(slots, `{"_placeholder":true,"num":`+strconv.Itoa(i)+`}`)
			}
			p.send("5" + strconv.Itoa(len(slots)) + `-0["sizes",[` + strings.Join(slots, ",") + "]]")
			for _, size := range tt.send {
				p.write(2, strings.Repeat("x", size))
			}
			if tt.ok {
				p.expect("30[" + strconv.Itoa(total) + "]")
			} else {
				p.expectClosed()
			}
		})
	}
}

// faulty is an adapter whose Close fails and whose rooms cannot be subscribed to.
type faulty struct{ adapter.Adapter }

func (f faulty) Close() error { return errors.Join(errors.New("no"), f.Adapter.Close()) }

func (f faulty) WaitJoined(ctx context.Context, rooms []string) error {
	return adapter.ErrClusterUnavailable
}

// TestFaultyAdapter serves this node when the adapter does not do its part.
func TestFaultyAdapter(t *testing.T) {
	for name, builder := range map[string]adapter.Builder{
		"cannot be built": adapter.BuilderFunc(func(adapter.Local) (adapter.Adapter, error) { return nil, errors.New("no") }),
		"fails": adapter.BuilderFunc(func(l adapter.Local) (adapter.Adapter, error) {
			return faulty{adapter.NewMemory(l)}, nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, &server.Options{Adapter: builder})
			p, s := n.connect(t)
			if err := s.Join(t.Context(), "room"); err != nil && !errors.Is(err, adapter.ErrClusterUnavailable) {
				t.Error(err)
			}
			if err := n.Of("/").To("room").Emit("here"); err != nil {
				t.Error(err)
			}
			p.expect(`2["here"]`)
		})
	}
}
