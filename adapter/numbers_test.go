package adapter_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
)

// numberedBus notes the numbers of what goes to all nodes.
type numberedBus struct {
	adapter.Bus
	last *uint64
}

func (b *numberedBus) Parted() bool                { return true }
func (b *numberedBus) ToAll(*adapter.Message) bool { return true }

func (b *numberedBus) Publish(m *adapter.Message) error {
	*b.last = m.Seq
	return b.Bus.Publish(m)
}

// TestNumbersOfReplaced closes the adapter of a namespace and opens it again. The others know the numbers of the one before: those
// of the next one are higher, or all of them would count as having come late.
func TestNumbersOfReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c adaptertest.Cluster
		var last uint64
		cluster, err := adapter.Join(adapter.Node{ID: "a", Name: "a"}, nil,
			wrapped{c.Broker("a"), func(b adapter.Bus) adapter.Bus { return &numberedBus{b, &last} }}, nil)
		if err != nil {
			t.Fatal(err)
		}
		before := uint64(0)
		for range 3 {
			a, err := cluster.New(adaptertest.NewNode("/"))
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				if err := a.Broadcast(question, adapter.Selection{}, adapter.Flags{}); err != nil {
					t.Fatal(err)
				}
				if last <= before {
					t.Errorf("number %d comes after %d", last, before)
				}
				before = last
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
}
