package membership

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// expectUnknown fails if a node is known.
func (n *node) expectUnknown(t *testing.T, id ID) {
	t.Helper()
	if other, ok := n.Lookup(id); ok {
		t.Errorf("%s still knows %+v", n.id, other)
	}
}

func TestSilence(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 5)
		for _, n := range nodes {
			n.Serve("/")
		}
		pass(20 * time.Second)
		for _, n := range nodes {
			n.take()
		}
		for _, n := range nodes[3:] {
			n.link.set(func(l *link) { l.cut = true })
		}
		pass(6 * time.Second)
		for _, n := range nodes[:3] {
			n.expect(t)
		}
		pass(5 * time.Second)
		for _, n := range nodes[:3] {
			n.expect(t, "n3 silent silence", "n4 silent silence")
			alive, silent := n.Serving("/")
			if len(alive) != 2 || !slices.Equal(silent, []ID{idOf(3), idOf(4)}) {
				t.Errorf("serving at %s: %v, %v", n.id, alive, silent)
			}
			checkInvariants(t, n.Members)
		}
		nodes[4].expect(t, "n0 silent silence", "n1 silent silence", "n2 silent silence", "n3 silent silence")
		for _, n := range nodes[3:] {
			n.link.set(func(l *link) { l.cut = false })
		}
		pass(4 * time.Second)
		for _, n := range nodes[:3] {
			n.expect(t, "n3 alive heard", "n4 alive heard")
		}
		complete(t, nodes)
	})
}

func TestSilenceEndsALifeAfterMinutes(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 4)
		nodes[2].Serve("/")
		nodes[2].Serve("/chat")
		pass(time.Second)
		for _, n := range nodes[:2] {
			n.take()
		}
		for _, n := range nodes[2:] {
			n.link.vanish()
		}
		pass(5*time.Minute - 4*time.Second)
		for _, n := range nodes[:2] {
			n.expect(t, "n2 silent silence", "n3 silent silence")
		}
		pass(4 * time.Second)
		for _, n := range nodes[:2] {
			n.mu.Lock()
			for _, c := range n.changes {
				if c.Node.ID == idOf(2) && !slices.Equal(c.Unserved, []string{"/", "/chat"}) {
					t.Errorf("with its life, %v end", c.Unserved)
				}
			}
			n.mu.Unlock()
			n.expect(t, "n2 over silence", "n3 over silence")
			n.expectUnknown(t, idOf(2))
			n.expectUnknown(t, idOf(3))
			if alive, silent := n.Serving("/"); len(alive)+len(silent) > 0 {
				t.Errorf("serving: %v, %v", alive, silent)
			}
		}
		complete(t, nodes[:2])
	})
}

// A node is given three intervals of its own, not of the hearer.
func TestSilenceCountsTheIntervalsOfTheSilent(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.start(t, 0, Options{Interval: 10 * time.Second})
		b.start(t, 1, Options{Interval: time.Second}).link.vanish()
		b.start(t, 2, Options{Interval: 6 * time.Second}).link.vanish()
		synctest.Wait()
		feed(n, All, &message{V: 1, Kind: kindHello, From: idOf(1), Every: 1000, Topics: 1, identity: identity{Name: "n1", Tag: "aaaa"}})
		feed(n, All, &message{V: 1, Kind: kindHello, From: idOf(2), Every: 6000, Topics: 1, identity: identity{Name: "n2", Tag: "bbbb"}})
		n.take()
		pass(3300 * time.Millisecond)
		n.expect(t)
		pass(100 * time.Millisecond)
		n.expect(t, "n1 silent silence")
		pass(16500 * time.Millisecond)
		n.expect(t)
		pass(200 * time.Millisecond)
		n.expect(t, "n2 silent silence")
	})
}

func TestGoodBye(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 4)
		nodes[0].take()
		nodes[3].Serve("/")
		pass(time.Second)
		nodes[0].take()
		nodes[3].Close()
		nodes[2].Close()
		nodes[0].expect(t, "n2 over good-bye", "n3 over good-bye")
		if alive, silent := nodes[0].Serving("/"); len(alive)+len(silent) > 0 {
			t.Errorf("serving: %v, %v", alive, silent)
		}
		// What was on its way does not bring it back.
		feed(nodes[0], All, &message{V: 1, Kind: kindBeat, From: idOf(3), Every: 3000, Topics: 2})
		nodes[0].expect(t)
		pass(time.Minute)
		complete(t, nodes[:2])
		nodes[3].Close() // again
	})
}

func TestUnanswered(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 4)
		n := nodes[0]
		pass(20 * time.Second)
		n.take()
		asked := time.Now()
		nodes[1].link.vanish()
		nodes[2].link.vanish()
		pass(10 * time.Millisecond)
		n.Unanswered(idOf(1), asked)
		n.Unanswered(idOf(2), asked)
		n.Unanswered(idOf(3), asked.Add(-time.Minute)) // heard since then
		n.Unanswered(NewID(), asked)
		n.expect(t, "n1 silent unanswered", "n2 silent unanswered")
		n.Heard(idOf(2))
		n.Heard(NewID())
		n.expect(t, "n2 alive heard")
		if n.quiet.Load() != 1 {
			t.Errorf("%d are quiet", n.quiet.Load())
		}
		// One that lives has only lost the question.
		pass(10 * time.Millisecond)
		n.Unanswered(idOf(3), time.Now())
		n.expect(t, "n3 silent unanswered", "n3 alive heard")
		checkInvariants(t, n.Members)
	})
}

func TestHeardIsCheap(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.cluster(t, 2)[0]
		id := idOf(1)
		n.Members.mu.Lock() // it may not wait for this
		defer n.Members.mu.Unlock()
		if allocs := testing.AllocsPerRun(100, func() { n.Heard(id) }); allocs > 0 {
			t.Errorf("%v allocations", allocs)
		}
	})
}

func TestProbe(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 5)
		n := nodes[0]
		for _, other := range nodes {
			other.Serve("/")
		}
		pass(time.Second)
		n.take()
		nodes[1].link.vanish()
		nodes[2].link.vanish()
		nodes[3].link.set(func(l *link) { l.cut = true }) // the broker sees no difference
		pass(time.Second)
		if err := n.Probe(t.Context(), []ID{idOf(1), idOf(2), idOf(3), idOf(4), NewID()}); err != nil {
			t.Fatal(err)
		}
		n.expect(t, "n1 absent absent", "n2 absent absent")
		if alive, silent := n.Serving("/"); !slices.Equal(alive, []ID{idOf(3), idOf(4)}) || silent != nil {
			t.Errorf("serving: %v, %v", alive, silent)
		}
		pass(20 * time.Second)
		n.expect(t, "n3 silent silence")
		if err := n.Probe(t.Context(), []ID{idOf(1), idOf(3)}); err != nil {
			t.Fatal(err)
		}
		n.expect(t)
		nodes[3].link.vanish()
		if err := n.Probe(t.Context(), []ID{idOf(3)}); err != nil {
			t.Fatal(err)
		}
		n.expect(t, "n3 absent absent")
		feed(n, All, &message{V: 1, Kind: kindBeat, From: idOf(1), Every: 3000, Topics: 2})
		n.expect(t, "n1 alive heard")
		pass(4*time.Minute + 50*time.Second)
		n.expect(t, "n1 silent silence", "n2 over silence", "n3 over silence")
	})
}

func TestProbeDecidesNothingItCannotKnow(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 3)
		n := nodes[0]
		nodes[1].link.vanish()
		n.take()
		n.link.connect(false)
		synctest.Wait()
		if err := n.Probe(t.Context(), []ID{idOf(1)}); !errors.Is(err, errAway) {
			t.Errorf("probing while the broker is away: %v", err)
		}
		n.link.connect(true)
		b.mu.Lock()
		b.blind = true
		b.mu.Unlock()
		if err := n.Probe(t.Context(), []ID{idOf(1), idOf(2)}); err != nil {
			t.Error(err)
		}
		n.expect(t)
		// The answer is from before an outage, or from before the node was heard.
		for name, meanwhile := range map[string]func(){
			"outage": func() { n.link.connect(false); n.link.connect(true) },
			"heard": func() {
				time.Sleep(time.Millisecond)
				feed(n, All, &message{V: 1, Kind: kindBeat, From: idOf(1), Every: 3000, Topics: 1})
			},
		} {
			n.transport = &absentee{link: n.link, meanwhile: func() { meanwhile(); synctest.Wait() }}
			if err := n.Probe(t.Context(), []ID{idOf(1)}); err != nil {
				t.Error(err)
			}
			if other, _ := n.Lookup(idOf(1)); other.State != Alive {
				t.Errorf("after %s it is %v", name, other.State)
			}
		}
	})
}

// absentee takes everybody for absent.
type absentee struct {
	*link
	meanwhile func()
}

func (a *absentee) Absent(_ context.Context, ids []ID) ([]ID, error) {
	a.meanwhile()
	return append(slices.Clone(ids), NewID()), nil
}

func TestBrokerDownForTenMinutes(t *testing.T) {
	for _, all := range []bool{true, false} {
		bubble(t, func(t *testing.T, b *broker) {
			nodes := b.cluster(t, 4)
			nodes[3].link.vanish() // silent from before
			pass(11 * time.Second)
			away := nodes[:3]
			if !all {
				away = nodes[:1]
			}
			for _, n := range nodes[:3] {
				n.expectStates(t, without(map[string]State{"n0": Alive, "n1": Alive, "n2": Alive, "n3": Silent}, n.Self().Name))
				n.take()
			}
			for _, n := range away {
				n.link.connect(false)
			}
			pass(time.Second)
			nodes[0].Unanswered(idOf(1), time.Now())
			if !all {
				// The others see a node that is gone, and say so after minutes.
				pass(4 * time.Minute)
				nodes[1].expect(t, "n0 silent silence")
			} else {
				nodes[1].Serve("/")
				pass(10 * time.Minute)
			}
			for _, n := range away {
				n.expect(t)
				n.link.connect(true)
			}
			synctest.Wait()
			for _, n := range nodes[:3] {
				n.expectStates(t, without(map[string]State{"n0": Alive, "n1": Alive, "n2": Alive, "n3": Silent}, n.Self().Name))
			}
			if all {
				if alive, _ := nodes[0].Serving("/"); !slices.Equal(alive, []ID{idOf(1)}) {
					t.Errorf("serving / after the outage: %v", alive)
				}
			}
			for _, n := range away {
				n.take()
			}
			pass(5*time.Minute - 5*time.Second)
			for _, n := range away {
				n.expect(t)
			}
			pass(6 * time.Second)
			for _, n := range away {
				n.expect(t, "n3 over silence")
			}
			complete(t, nodes[:3])
		})
	}
}

func without(states map[string]State, name string) map[string]State {
	delete(states, name)
	return states
}

func TestFrozen(t *testing.T) {
	for _, d := range []time.Duration{15 * time.Second, 4 * time.Minute} {
		bubble(t, func(t *testing.T, b *broker) {
			nodes := b.cluster(t, 4)
			frozen := nodes[0]
			pass(10 * time.Second)
			for _, n := range nodes {
				n.take()
			}
			thaw := frozen.link.freeze()
			pass(d)
			for _, n := range nodes[1:] {
				n.expect(t, "n0 silent silence")
			}
			// A question of before ends first.
			nodes[3].link.vanish()
			frozen.Unanswered(idOf(1), time.Now().Add(-d))
			frozen.Unanswered(idOf(3), time.Now().Add(-d))
			thaw()
			frozen.expect(t)
			pass(4 * time.Second)
			frozen.expect(t)
			nodes[1].expect(t, "n0 alive heard")
			pass(7 * time.Second)
			frozen.expect(t, "n3 silent silence")
			frozen.expectStates(t, map[string]State{"n1": Alive, "n2": Alive, "n3": Silent})
		})
	}
}

// What it could not hear does not count when it hears again.
func TestDeafForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 3)
		pass(10 * time.Second)
		nodes[0].link.set(func(l *link) { l.deaf = true })
		nodes[2].link.vanish()
		pass(5*time.Minute - 10*time.Second)
		nodes[0].link.set(func(l *link) { l.deaf = false })
		pass(5 * time.Second)
		nodes[0].take()
		pass(4*time.Minute + 50*time.Second)
		nodes[0].expect(t)
		pass(10 * time.Second)
		nodes[0].expect(t, "n2 over silence")
	})
}

// A node whose subscription has died unnoticed hears itself no more than others, and ends no life.
func TestDeaf(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 3)
		deaf := nodes[0]
		pass(10 * time.Second)
		deaf.link.set(func(l *link) { l.deaf = true })
		nodes[2].take()
		pass(20 * time.Minute)
		deaf.expectStates(t, map[string]State{"n1": Silent, "n2": Silent})
		nodes[2].expect(t)
		nodes[2].link.vanish()
		deaf.link.set(func(l *link) { l.deaf = false })
		pass(4 * time.Second)
		deaf.expectStates(t, map[string]State{"n1": Alive, "n2": Silent})
		pass(5 * time.Minute)
		deaf.expectStates(t, map[string]State{"n1": Alive})
		complete(t, nodes[:2])
	})
}
