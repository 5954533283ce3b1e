package membership

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// The others are told at once that a node drains, newcomers with its hello, and that it does not any more.
func TestDraining(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 3)
		var told []string
		nodes[0].Watch(func(c Change) {
			told = append(told, fmt.Sprintf("%s %v %v %s", c.Node.Name, c.Known, c.Node.Draining, c.Reason))
		})
		synctest.Wait()
		told = nil
		for range 2 {
			nodes[1].SetDraining(true)
			synctest.Wait()
		}
		if n, ok := nodes[2].Lookup(nodes[1].id); !ok || !n.Draining || !nodes[1].Self().Draining {
			t.Errorf("another node knows %+v", n)
		}
		late := b.start(t, 3, Options{})
		synctest.Wait()
		if n, ok := late.Lookup(nodes[1].id); !ok || !n.Draining {
			t.Errorf("a newcomer knows %+v", n)
		}
		nodes[1].SetDraining(false)
		synctest.Wait()
		want := []string{"n1 true true draining", "n3 false false hello", "n1 true false draining"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if n, ok := late.Lookup(nodes[1].id); !ok || n.Draining {
			t.Errorf("afterwards it knows %+v", n)
		}
	})
}

// Nodes that do not drain say what they have always said: former versions know nothing of it.
func TestDrainingOnTheWire(t *testing.T) {
	m := message{V: wireVersion, Kind: kindBeat, From: "a", Every: 1}
	body, err := m.encode()
	if err != nil || bytes.Contains(body, []byte("draining")) {
		t.Errorf("%s, %v", body, err)
	}
}
