package membership

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A watcher that comes late gets what is known first, and no change twice.
func TestWatchBeginsWithWhatIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 4)
		nodes[1].Serve("/")
		nodes[1].Serve("/a")
		nodes[3].link.vanish()
		pass(11 * time.Second)
		var mu sync.Mutex
		var got []string
		stop := nodes[0].Watch(func(c Change) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s %v %v %v %v %s", c.Node.Name, c.Was, c.Node.State, c.Known, c.Served, c.Reason))
		})
		nodes[2].Close()
		synctest.Wait()
		mu.Lock()
		want := []string{"n1 alive alive false [/ /a] known", "n2 alive alive false [] known", "n3 silent silent false [] known", "n2 alive over true [] good-bye"}
		if !slices.Equal(got, want) {
			t.Errorf("it was told %q, want %q", got, want)
		}
		mu.Unlock()
		stop()
		stop()
		nodes[1].Close()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(got) != len(want) {
			t.Errorf("it was told %q after it had stopped", got[len(want):])
		}
	})
}

// A watcher may take its time, call what it wants and stop itself, and misses nothing.
func TestSlowWatcher(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.start(t, 0, Options{})
		var mu sync.Mutex
		var told []string
		n.Watch(func(c Change) {
			time.Sleep(time.Minute)
			n.Lookup(c.Node.ID)
			n.Nodes()
			n.Watch(func(Change) {})()
			mu.Lock()
			defer mu.Unlock()
			told = append(told, c.Node.Name)
		})
		var stop func()
		once := 0
		stop = n.Watch(func(Change) { once++; stop() })
		for i := 1; i <= 3; i++ {
			b.start(t, i, Options{})
			synctest.Wait()
		}
		pass(30 * time.Second)
		if got := n.Stats().Members; got != 3 {
			t.Errorf("%d members are known while the watcher is at work", got)
		}
		pass(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"n1", "n2", "n3"}; !slices.Equal(told, want) || once != 1 {
			t.Errorf("told %q, and %d times", told, once)
		}
	})
}

func TestCloseWhileChanging(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 8)
		var all sync.WaitGroup
		for i, n := range nodes {
			for range 2 {
				all.Go(func() {
					for j := range 20 {
						n.Serve(fmt.Sprint("/", j))
						n.Heard(idOf(j % 8))
						n.Unanswered(idOf(j%8), time.Now())
						_ = n.Probe(t.Context(), []ID{idOf(j % 8)})
						n.Serving("/1")
						if j > i {
							n.Close()
						}
					}
				})
			}
		}
		all.Wait()
		for _, n := range nodes {
			n.Close()
			n.Serve("/late")
			n.Watch(func(Change) { t.Error("a watcher was called after Close") })
			n.take()
			checkInvariants(t, n.Members)
		}
		pass(time.Minute)
	})
}

type failing struct{ link }

func (f *failing) Start(receive func(Channel, []byte), up, _ func()) error {
	up()
	// A doubt starts a goroutine, which has to end.
	for i := range 2 {
		msg := message{V: 1, Kind: kindHello, From: idOf(i), Every: 3000, Topics: 1, identity: identity{Name: "a", Tag: "aaaa"}}
		body, _ := msg.encode()
		receive(All, body)
	}
	return errAway
}

func TestStartFails(t *testing.T) {
	f := &failing{link{b: newBroker()}}
	m, err := New(Options{Self: Node{ID: NewID(), Name: "a"}}, f)
	if m != nil || !errors.Is(err, errAway) {
		t.Errorf("New returned %v, %v", m, err)
	}
}

// A member whose link was cut and works again is back: what was sent to it meanwhile may be lost. One that is called differently
// from now on is not.
func TestBack(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 3)
		var mu sync.Mutex
		var got []string
		began := time.Now()
		defer nodes[0].Watch(func(c Change) {
			mu.Lock()
			defer mu.Unlock()
			if c.Reason != reasonKnown {
				got = append(got, fmt.Sprintf("%s %v %s %v %v", c.Node.Name, c.Node.State, c.Reason, c.Back(), c.At.Sub(began)))
			}
		})()
		pass(time.Second)
		nodes[1].link.connect(false)
		nodes[1].link.connect(true)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"n1 alive back true 1s"}; !slices.Equal(got, want) {
			t.Errorf("it was told %q, want %q", got, want)
		}
	})
}
