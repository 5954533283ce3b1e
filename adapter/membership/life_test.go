package membership

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A node that is killed and started again under its name: the old life is over at once if the broker can tell, and else after a
// second.
func TestReplaced(t *testing.T) {
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprint("blind=", blind), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *broker) {
				b.blind = blind
				nodes := b.cluster(t, 5)
				pass(10 * time.Second)
				nodes[0].take()
				nodes[1].take()
				nodes[3].link.vanish()
				nodes[4].link.vanish()
				pass(2 * time.Second)
				back := []*node{b.start(t, 13, Options{Self: Node{Name: "n3"}}), b.start(t, 14, Options{Self: Node{Name: "n4"}})}
				synctest.Wait()
				if blind {
					for _, n := range nodes[:2] {
						n.expect(t, "n3 alive hello", "n4 alive hello")
					}
					pass(time.Second)
					for _, n := range nodes[:2] {
						n.expect(t, "n3 over replaced", "n4 over replaced")
					}
				} else {
					for _, n := range nodes[:2] {
						n.expect(t, "n3 alive hello", "n3 absent absent", "n3 over replaced", "n4 alive hello", "n4 absent absent", "n4 over replaced")
						n.link.set(func(l *link) {
							if l.probes > 2 {
								t.Errorf("the broker was asked %d times", l.probes)
							}
						})
					}
				}
				pass(10 * time.Second)
				complete(t, append(nodes[:3:3], back...))
				for _, n := range back {
					if n.told() != nil || n.Self().Tag != TagOf(n.Self().Name) {
						t.Errorf("it is %+v now, told %v", n.Self(), n.told())
					}
				}
			})
		})
	}
}

// The old life's last words come after the new one's first; when it falls silent, it is asked again.
func TestReplacedAfterLastWords(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		b.blind = true
		nodes := b.cluster(t, 3)
		nodes[2].link.vanish()
		back := b.start(t, 12, Options{Self: Node{Name: "n2"}})
		synctest.Wait()
		feed(nodes[0], All, &message{V: 1, Kind: kindBeat, From: idOf(2), Every: 3000, Topics: 1})
		nodes[0].take()
		pass(12 * time.Second)
		nodes[0].expect(t, "n2 silent silence", "n2 over replaced")
		complete(t, []*node{nodes[0], nodes[1], back})
	})
}

// The elder of two lives answers when it is asked, also if its asker does not hear that the younger has changed its name.
func TestTheElderAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		b.blind = true
		seldom := Options{Interval: time.Minute} // so that no beat speaks for it
		nodes := []*node{b.start(t, 0, seldom), b.start(t, 1, seldom)}
		pass(time.Second)
		b.drop = func(from, to ID, msg *message) bool { return from == idOf(12) && to == idOf(0) && msg.Name != "n1" }
		b.start(t, 12, Options{Self: Node{Name: "n1"}})
		synctest.Wait()
		nodes[0].take()
		for range 20 {
			pass(100 * time.Millisecond)
			nodes[0].expect(t)
		}
	})
}

// While the broker is away nobody can answer.
func TestReplacedDuringAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		b.blind = true
		nodes := b.cluster(t, 2)
		nodes[1].link.set(func(l *link) { l.cut = true })
		back := b.start(t, 12, Options{Self: Node{Name: "n1"}})
		synctest.Wait()
		nodes[0].take()
		nodes[0].link.connect(false)
		pass(time.Minute)
		nodes[0].expect(t)
		nodes[1].link.set(func(l *link) { l.cut = false })
		nodes[0].link.connect(true)
		pass(10 * time.Second)
		nodes[0].expect(t, back.Self().Name+" alive hello") // the younger has changed its name
		if name := back.Self().Name; name == "n1" || nodes[1].Self().Name != "n1" {
			t.Errorf("the names are %q and %q", nodes[1].Self().Name, name)
		}
	})
}

func TestTwoLivesOfOneName(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := []*node{b.start(t, 0, Options{}), b.start(t, 1, Options{Self: Node{Name: "same"}})}
		pass(10 * time.Second)
		second := b.start(t, 2, Options{Self: Node{Name: "same"}})
		synctest.Wait()
		third := b.start(t, 3, Options{Self: Node{Name: "same"}})
		pass(time.Minute)
		nodes = append(nodes, second, third)
		complete(t, nodes)
		for i, want := range []string{"n0", "same", "same-0002", "same-0003"} {
			if got := nodes[i].Self().Name; got != want {
				t.Errorf("node %d is called %q, want %q", i, got, want)
			}
			for _, c := range nodes[i].changes {
				if c.Node.State != Alive {
					t.Errorf("node %d saw %+v", i, c)
				}
			}
		}
		for i, want := range []int{0, 2, 1, 1} {
			if got := nodes[i].logged("level=WARN"); len(got) != want {
				t.Errorf("node %d logged %q", i, got)
			}
		}
		for _, n := range nodes[2:] {
			told := n.told()
			if len(told) == 0 || told[len(told)-1] != n.Self() || n.Self().Tag == TagOf("same") {
				t.Errorf("%+v was told %+v", n.Self(), told)
			}
			if len(n.logged("--node-name")) != 1 {
				t.Error("the log does not say what to change")
			}
		}
		if nodes[1].told() != nil {
			t.Errorf("the eldest was told %v", nodes[1].told())
		}
	})
}

func TestTagCollision(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		self := func(name string) Options { return Options{Self: Node{Name: name, Tag: "same"}} }
		// All of them start at once: the smallest id is the eldest.
		nodes := []*node{b.start(t, 0, self("a")), b.start(t, 1, self("b")), b.start(t, 2, self("c"))}
		pass(10 * time.Second)
		nodes = append(nodes, b.start(t, 3, self("d")))
		pass(time.Second)
		complete(t, nodes)
		tags := make(map[string]bool)
		for i, n := range nodes {
			tags[n.Self().Tag] = true
			if i == 0 {
				if n.Self().Tag != "same" || n.told() != nil || n.logged("tag") != nil {
					t.Errorf("the eldest is %+v, was told %v, logged %q", n.Self(), n.told(), n.logged("tag"))
				}
				continue
			}
			told := n.told()
			if n.Self().Tag == "same" || !validTag(n.Self().Tag) || len(told) == 0 || told[len(told)-1] != n.Self() || len(n.logged("newTag")) == 0 {
				t.Errorf("node %d is %+v, was told %v, logged %q", i, n.Self(), told, n.logged("newTag"))
			}
		}
		if len(tags) != 4 {
			t.Errorf("tags are %v", tags)
		}
		for _, n := range nodes {
			if n.logged("level=WARN") != nil {
				t.Errorf("logged %q", n.logged("level=WARN"))
			}
		}
	})
}

// Nodes that others have declared over go on with a new life, each time.
func TestOverWhileAlive(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 5)
		for _, n := range nodes {
			n.Serve("/")
		}
		// One of them hears all the time; it sees the old life end when the new one begins.
		started := time.Now()
		for round := 2; round < 4; round++ {
			pass(10 * time.Second)
			b.mu.Lock()
			b.drop = func(from, to ID, _ *message) bool {
				return (from == idOf(3) || from == idOf(4)) && to != idOf(2)
			}
			b.mu.Unlock()
			for _, n := range nodes {
				n.take()
			}
			pass(6 * time.Minute)
			for _, n := range nodes[:2] {
				n.expect(t, "n3 silent silence", "n3 over silence", "n4 silent silence", "n4 over silence")
			}
			nodes[2].expect(t)
			for _, n := range nodes {
				n.take()
			}
			b.mu.Lock()
			b.drop = nil
			b.mu.Unlock()
			pass(4 * time.Second)
			for _, n := range nodes[:2] {
				n.expect(t, "n3 alive hello", "n4 alive hello")
			}
			nodes[2].expect(t, "n3 over new life", "n3 alive hello", "n4 over new life", "n4 alive hello")
			for _, n := range nodes[3:] {
				want := fmt.Sprintf("%s-%d", n.id, round)
				told := n.told()
				if self := n.Self(); self.Life != want || self.ID != n.id || !self.Started.Equal(started) || len(told) != round-1 || told[round-2] != self {
					t.Errorf("it is %+v, was told %+v", self, told)
				}
			}
			pass(4 * time.Second)
			complete(t, nodes)
			for _, n := range nodes[:3] {
				if alive, _ := n.Serving("/"); !slices.Contains(alive, idOf(3)) || !slices.Contains(alive, idOf(4)) {
					t.Errorf("serving at %s: %v", n.id, alive)
				}
			}
		}
		// Late words of an earlier life mean nothing.
		nodes[0].take()
		feed(nodes[0], All, &message{V: 1, Kind: kindBye, From: idOf(3), Every: 3000, Life: 2, Topics: 2})
		feed(nodes[3], Inbox, &message{V: 1, Kind: kindOver, From: idOf(0), Every: 3000, Topics: 2, Of: 2})
		nodes[0].expect(t)
		if len(nodes[3].told()) != 2 {
			t.Errorf("it was told %+v", nodes[3].told())
		}
	})
}

// Both halves of a cluster have declared the other over: each node takes a new life, once.
func TestSplit(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 6)
		b.mu.Lock()
		b.drop = func(from, to ID, _ *message) bool { return from < idOf(3) != (to < idOf(3)) }
		b.mu.Unlock()
		pass(10 * time.Minute)
		complete(t, nodes[:3])
		complete(t, nodes[3:])
		b.mu.Lock()
		b.drop = nil
		b.mu.Unlock()
		pass(10 * time.Second)
		complete(t, nodes)
		for _, n := range nodes {
			if told := n.told(); len(told) != 1 || n.Self().Life != string(n.id)+"-2" {
				t.Errorf("%s was told %+v", n.id, told)
			}
		}
	})
}

func TestGravesAreBounded(t *testing.T) {
	g := newGraves()
	for i := range 2*maxMembers + 7 {
		g.dig(idOf(i), 1)
		g.dig(idOf(i), 3)
		g.dig(idOf(i), 2)
	}
	if len(g.lives) != maxMembers || g.lives[idOf(2*maxMembers+6)] != 3 || g.lives[idOf(maxMembers+7)] != 3 || g.lives[idOf(maxMembers+6)] != 0 {
		t.Errorf("%d graves", len(g.lives))
	}
}

// A younger one that has not changed its name yet may say hello again.
func TestOneWarningForTwoLives(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.start(t, 0, Options{})
		synctest.Wait()
		for i := 1; i <= 2; i++ {
			for range 3 {
				other := hello(i)
				other.Name, other.Started = "n0", time.Now().Add(time.Hour)
				feed(n, All, other)
			}
			if lines := n.logged("level=WARN"); len(lines) != i {
				t.Errorf("logged %q", lines)
			}
		}
		if n.told() != nil || n.Self().Name != "n0" {
			t.Errorf("the elder is %+v now", n.Self())
		}
	})
}

// A name that somebody else has with the same four characters gets others.
func TestRenameAvoidsTakenNames(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := []*node{
			b.start(t, 0, Options{Self: Node{Name: "same"}}),
			b.start(t, 1, Options{Self: Node{Name: "same-0003"}}),
			b.start(t, 2, Options{Self: Node{Name: "same-abcd"}}),
			b.start(t, 3, Options{Self: Node{Name: "same"}}),
		}
		pass(10 * time.Second)
		complete(t, nodes)
		name := nodes[3].Self().Name
		for _, n := range nodes[:3] {
			if n.Self().Name == name || n.told() != nil {
				t.Errorf("%s is called %q, was told %v", n.id, n.Self().Name, n.told())
			}
		}
	})
}
