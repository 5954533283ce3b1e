package adapter_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
)

// TestWatcherAsks has a watcher ask a question, while which it hears of no other change. A node that leaves the namespace meanwhile
// is not waited for.
func TestWatcherAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c adaptertest.Cluster
		open := func(id adapter.NodeID) (adapter.Cluster, adapter.Adapter, *adaptertest.Node) {
			cluster, err := adapter.Join(adapter.Node{ID: id, Name: string(id)}, nil, c.Broker(id), nil)
			if err != nil {
				t.Fatal(err)
			}
			host := adaptertest.NewNode("/")
			a, err := cluster.New(host)
			if err != nil {
				t.Fatal(err)
			}
			return cluster, a, host
		}
		asking, a, _ := open("a")
		leaving, b, host := open("b")
		host.Connect("silent")
		time.Sleep(time.Second)
		var once sync.Once
		var summary adapter.AckSummary
		var err error
		var took time.Duration
		defer asking.Watch(func(adapter.NodeChange) {
			once.Do(func() {
				began := time.Now()
				summary, err = a.BroadcastWithAck(t.Context(), question, adapter.Selection{}, adapter.Flags{}, new(sink))
				took = time.Since(began)
			})
		})()
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		for _, end := range []func() error{a.Close, leaving.Close, asking.Close} {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
		if want := 750 * time.Millisecond; err != nil || took > want || summary.Unanswered != 1 {
			t.Errorf("%+v after %v, error %v, want one that has not answered, after %v", summary, took, err, want)
		}
	})
}
