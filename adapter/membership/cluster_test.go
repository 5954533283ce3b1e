package membership

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEverybodyKnowsEverybodyAtOnce(t *testing.T) {
	for _, size := range []int{1, 3, 50} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *broker) {
				began := time.Now()
				nodes := b.cluster(t, size)
				complete(t, nodes)
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v", took)
				}
				pass(4 * time.Second)
				complete(t, nodes)
				for _, n := range nodes {
					for _, c := range n.changes {
						if c.Node.State != Alive || c.Known {
							t.Errorf("%s saw %+v", n.id, c)
						}
					}
					if len(n.changes) != size-1 {
						t.Errorf("%s saw %d changes", n.id, len(n.changes))
					}
				}
			})
		})
	}
}

func TestWelcomeGoesToTheNewcomerAlone(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 4)
		b.forget()
		late := b.start(t, 4, Options{})
		synctest.Wait()
		for _, n := range nodes {
			if got := b.received(n.id); got["all hello"] != 1 || got["inbox hello"] != 0 || got["common hello"] != 1 {
				t.Errorf("%s received %v", n.id, got)
			}
		}
		if got := b.received(late.id); got["inbox hello"] != 4 {
			t.Errorf("the newcomer received %v", got)
		}
		// One that comes back is known, and learns who is there.
		b.forget()
		late.link.connect(false)
		late.link.connect(true)
		synctest.Wait()
		if got := b.received(late.id); got["inbox beat"] != 4 || got["inbox hello"] != 0 {
			t.Errorf("the one that came back received %v", got)
		}
	})
}

func TestNodesAndLookup(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		started := time.Now().Add(-time.Hour)
		self := Node{Name: "zz", Tag: "ab-_", Address: "10.0.0.1:3000", Started: started, Version: "9.8.7", Adapter: "sharded"}
		a := b.start(t, 0, Options{Self: self})
		for i, name := range []string{"c", "a", "b"} {
			b.start(t, i+1, Options{Self: Node{Name: name}})
		}
		synctest.Wait()
		var names []string
		for _, n := range a.Nodes() {
			names = append(names, n.Name)
		}
		if want := []string{"zz", "a", "b", "c"}; !slices.Equal(names, want) {
			t.Errorf("names are %v, want %v", names, want)
		}
		seen := b.start(t, 4, Options{})
		synctest.Wait()
		got, ok := seen.Lookup(a.id)
		self.ID, self.Life, self.Started = a.id, string(a.id), started.UTC().Round(0)
		if !ok || got != self {
			t.Errorf("another node is %+v, %v, want %+v", got, ok, self)
		}
		if me, ok := a.Lookup(a.id); !ok || me != a.Self() {
			t.Errorf("this node is %+v, %v", me, ok)
		}
		if _, ok := a.Lookup(NewID()); ok {
			t.Error("an unknown node is known")
		}
	})
}

func TestBudget(t *testing.T) {
	for _, test := range []struct {
		members int
		want    time.Duration
	}{{9, 3 * time.Second}, {99, 3 * time.Second}, {299, 3 * time.Second}, {300, 3010 * time.Millisecond}, {999, 10 * time.Second}} {
		t.Run(fmt.Sprint(test.members), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *broker) {
				n := b.start(t, 0, Options{Interval: 3 * time.Second})
				for i := range test.members {
					feed(n, All, &message{V: 1, Kind: kindHello, From: idOf(i + 1), Every: 600_000, Topics: 1, identity: identity{Name: fmt.Sprint("f", i), Tag: randomTag()}})
				}
				pass(time.Minute)
				b.forget()
				pass(1000 * time.Second)
				beats := b.received(n.id)["all beat"] // its own
				if mean := 1000 * time.Second / time.Duration(beats); mean < test.want*95/100 || mean > test.want*105/100 {
					t.Errorf("a beat every %v, want about %v", mean, test.want)
				}
				if rate := float64(beats*(test.members+extraBeats)) / 1000; rate > 105 {
					t.Errorf("every node would receive %.0f messages a second", rate)
				}
			})
		})
	}
}

// feed gives a node a message as if its transport did.
func feed(n *node, from Channel, msg *message) {
	body, err := msg.encode()
	if err != nil {
		panic(err)
	}
	n.link.put(func() { n.link.receive(from, body) })
	synctest.Wait()
}

func TestBeatIsShort(t *testing.T) {
	beat := message{V: 1, Kind: kindBeat, From: NewID(), Every: 10_000, Topics: 1000}
	if body, err := beat.encode(); err != nil || len(body) > 80 {
		t.Errorf("a beat is %s, %d bytes, %v", body, len(body), err)
	}
}

func TestTopics(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 3)
		a, other := nodes[0], nodes[1]
		nodes[2].Serve("/")
		other.Serve("/")
		other.Serve("/chat")
		synctest.Wait()
		late := b.start(t, 3, Options{})
		synctest.Wait()
		for _, n := range []*node{a, late} {
			if alive, silent := n.Serving("/"); !slices.Equal(alive, []ID{idOf(1), idOf(2)}) || silent != nil {
				t.Errorf("serving / at %s: %v, %v", n.id, alive, silent)
			}
		}
		pass(time.Second)
		if alive, _ := late.Serving("/chat"); !slices.Equal(alive, []ID{idOf(1)}) {
			t.Errorf("serving /chat: %v", alive)
		}
		if alive, silent := late.Serving("/none"); alive != nil || silent != nil {
			t.Errorf("serving /none: %v, %v", alive, silent)
		}
		other.Unserve("/")
		other.Serve("/admin")
		pass(time.Second)
		if alive, _ := late.Serving("/"); !slices.Equal(alive, []ID{idOf(2)}) {
			t.Errorf("serving / at the end: %v", alive)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.ContainsFunc(a.changes, func(c Change) bool {
			return c.Node.ID == other.id && c.Known && c.Reason == reasonTopics && slices.Equal(c.Unserved, []string{"/"})
		}) {
			t.Errorf("no change tells that a topic is not served any more: %+v", a.changes)
		}
	})
}

func TestTopicsAreToldInBatches(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 3)
		pass(time.Second)
		b.forget()
		for i := range 1000 {
			nodes[0].Serve(fmt.Sprint("/", i))
			if i%2 == 1 {
				nodes[0].Unserve(fmt.Sprint("/", i-1))
			}
			if i == 0 {
				synctest.Wait()
				if alive, _ := nodes[1].Serving("/0"); len(alive) != 1 {
					t.Error("the first topic was not told at once")
				}
			}
			time.Sleep(time.Millisecond)
		}
		pass(time.Second)
		for _, n := range nodes[1:] {
			if got := b.received(n.id); got["all topics"] < 2 || got["all topics"] > 12 || got["inbox hello"] != 0 {
				t.Errorf("%s received %v", n.id, got)
			}
			for i := range 1000 {
				if alive, _ := n.Serving(fmt.Sprint("/", i)); len(alive) != i%2 {
					t.Errorf("%d serve topic %d", len(alive), i)
				}
			}
			checkInvariants(t, n.Members)
		}
	})
}

func TestManyTopics(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 2)
		name := func(i int) string { return fmt.Sprintf("/%s%04d", strings.Repeat("<", 30), i) }
		for i := range maxTopics + 10 {
			nodes[0].Serve(name(i))
		}
		nodes[0].Serve(strings.Repeat("x", maxName+1))
		nodes[0].Serve("not\xffUTF-8")
		pass(time.Second)
		late := b.start(t, 2, Options{})
		synctest.Wait()
		count := func(n *node) int {
			n.Members.mu.Lock()
			defer n.Members.mu.Unlock()
			return len(n.serving)
		}
		for _, n := range []*node{nodes[1], late} {
			if got := count(n); got != maxTopics {
				t.Errorf("%s knows %d topics", n.id, got)
			}
			if got := b.received(n.id); got["inbox ask"] != 0 {
				t.Errorf("%s received %v", n.id, got)
			}
		}
		if got := b.received(late.id)["inbox hello"]; got < 10 {
			t.Errorf("the topics came in %d bodies", got)
		}
		nodes[0].Members.mu.Lock()
		for _, body := range nodes[0].helloLocked() {
			if len(body) > maxTold {
				t.Errorf("a body has %d bytes", len(body))
			}
		}
		nodes[0].Members.mu.Unlock()
		// What was too much takes the place of what goes.
		for i := range 10 {
			nodes[0].Unserve(name(i))
		}
		pass(time.Second)
		for i := maxTopics; i < maxTopics+10; i++ {
			if alive, _ := late.Serving(name(i)); len(alive) != 1 {
				t.Errorf("topic %d is not served", i)
			}
		}
		if got := count(late); got != maxTopics {
			t.Errorf("%d topics at the end", got)
		}
		// All go at once, and one of them is back before that is told.
		for i := range maxTopics + 10 {
			nodes[0].Unserve(name(i))
		}
		nodes[0].Serve(name(10))
		pass(time.Second)
		if alive, _ := late.Serving(name(10)); len(alive) != 1 || count(late) != 1 {
			t.Errorf("%v serve the one topic of %d that is left", alive, count(late))
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.longest > maxTold || b.longest < maxTold/2 {
			t.Errorf("the longest body has %d bytes", b.longest)
		}
	})
}

// With one lost part of a hello, or one lost change, the others are asked again.
func TestLostTopicsHeal(t *testing.T) {
	for _, kind := range []string{kindTopics, kindHello} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *broker) {
				nodes := b.cluster(t, 3)
				name := func(i int) string { return fmt.Sprintf("/%s%d", strings.Repeat("x", 200), i) }
				lost := false
				b.drop = func(_, to ID, msg *message) bool {
					if lost || to != idOf(2) && to != idOf(3) || msg.Kind != kind || msg.From != idOf(0) || kind == kindHello && msg.Part != 1 {
						return false
					}
					lost = true
					return true
				}
				for i := range 1000 {
					nodes[0].Serve(name(i))
				}
				pass(time.Second)
				nodes = append(nodes, b.start(t, 3, Options{}))
				pass(4 * time.Second)
				if !lost {
					t.Fatal("nothing was lost")
				}
				for _, n := range nodes[1:] {
					for i := range 1000 {
						if alive, _ := n.Serving(name(i)); len(alive) != 1 {
							t.Fatalf("%s does not know topic %d", n.id, i)
						}
					}
				}
			})
		})
	}
}

func TestLossHeals(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *broker) {
				random, luck := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
				lossy := true
				b.drop = func(_, _ ID, msg *message) bool { return lossy && msg.Kind != kindBye && luck.IntN(10) < 4 }
				nodes := b.cluster(t, 10)
				for range 30 {
					n := nodes[random.IntN(len(nodes))]
					topic := fmt.Sprint("/", random.IntN(5))
					if random.IntN(3) == 0 {
						n.Unserve(topic)
					} else {
						n.Serve(topic)
					}
					pass(time.Second)
				}
				b.mu.Lock()
				lossy = false
				b.mu.Unlock()
				pass(7 * time.Second)
				complete(t, nodes)
				for _, n := range nodes {
					for _, c := range n.changes {
						if c.Node.State == Over {
							t.Errorf("%s saw %+v", n.id, c)
						}
					}
					for _, other := range nodes {
						if n == other {
							continue
						}
						other.Members.mu.Lock()
						want := other.topics.told
						other.Members.mu.Unlock()
						n.Members.mu.Lock()
						if got := n.members[other.id].topics; !reflect.DeepEqual(got, want) {
							t.Errorf("%s knows that %s serves %v, want %v", n.id, other.id, got, want)
						}
						n.Members.mu.Unlock()
					}
				}
			})
		})
	}
}
