package membership

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func set(pairs ...string) Options {
	var o Options
	for i := 0; i < len(pairs); i += 2 {
		o.Settings = append(o.Settings, Setting{pairs[i], pairs[i+1]})
	}
	return o
}

// Nodes that cannot work together see each other, and each logs every other combination once, whoever started first.
func TestStrangers(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		classic := []*node{
			b.start(t, 0, set("adapter", "pubsub", "prefix", "socket.io")),
			b.start(t, 1, set("prefix", "socket.io", "adapter", "pubsub")), // the order does not matter
		}
		for _, n := range classic {
			n.link.set(func(l *link) { l.group = "classic" })
		}
		pass(time.Minute)
		sharded := []*node{b.start(t, 2, set("adapter", "sharded", "prefix", "socket.io"))}
		pass(time.Minute)
		sharded = append(sharded, b.start(t, 3, set("adapter", "sharded", "prefix", "socket.io")))
		pass(time.Minute)
		other := b.start(t, 4, set("adapter", "sharded", "prefix", "chat", "db", "1", "empty", ""))
		pass(time.Minute)
		complete(t, classic)
		complete(t, sharded)
		complete(t, []*node{other})
		for i, n := range append(append(classic, sharded...), other) {
			if lines := n.logged("level=WARN"); len(lines) != 2 {
				t.Errorf("node %d logged %q", i, lines)
			}
		}
		for n, texts := range map[*node][]string{
			classic[1]: {`node \"n2\" with --adapter sharded and this node \"n1\" with --adapter pubsub cannot work together: give both the same value of --adapter,`},
			sharded[1]: {`and this node \"n3\" with --adapter sharded cannot work together`,
				`node \"n4\" with --db 1 --empty \"\" --prefix chat and this node \"n3\" with no --db no --empty --prefix socket.io cannot`},
			other: {`give both the same value of --adapter and --db and --empty and --prefix,`},
		} {
			for _, text := range texts {
				if got := n.logged(text); len(got) != 1 {
					t.Errorf("%s logged %q of %q", n.id, got, text)
				}
			}
		}
		if got := other.Stats().Strangers; got == 0 {
			t.Error("no stranger is counted")
		}
	})
}

// Many nodes with equal settings answer a stranger with few voices.
func TestFewAnswerAStranger(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		for i := range 20 {
			b.start(t, i, set("adapter", "pubsub"))
		}
		pass(time.Second)
		b.forget()
		late := b.start(t, 20, set("adapter", "sharded"))
		pass(4 * time.Second)
		if got := b.received(late.id)["common hello"]; got < 2 || got > 6 { // its own is one
			t.Errorf("it received %d hellos", got)
		}
		if lines := late.logged("level=WARN"); len(lines) != 1 {
			t.Errorf("it logged %q", lines)
		}
		pass(4 * time.Second)
		if got := b.received(late.id)["common hello"]; got > 6 {
			t.Errorf("it received %d hellos", got)
		}
	})
}

func TestAnotherMajorVersion(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.start(t, 0, set("adapter", "pubsub"))
		b.start(t, 1, set("adapter", "pubsub"))
		synctest.Wait()
		n.take()
		// Nothing but the agreed fields has the known form.
		body := `{"v":2,"kind":"hello","from":"%s","name":"new","version":"2.0.0","settings":{"adapter":"pubsub"},"life":"x","tag":7,"every":{}}`
		for i, from := range []Channel{Common, All, Inbox, Common} {
			n.link.put(func() { n.link.receive(from, fmt.Appendf(nil, body, idOf(7+i%2))) })
		}
		n.link.put(func() { n.link.receive(All, fmt.Appendf(nil, `{"v":2,"kind":"beat","from":"%s"}`, idOf(7))) })
		n.expect(t)
		lines := n.logged("level=WARN")
		if len(lines) != 1 || !strings.Contains(lines[0], `node \"new\" (Sockeye 2.0.0) speaks version 2`) || !strings.Contains(lines[0], `this node \"n0\" (Sockeye 1.2.3) speaks version 1`) {
			t.Errorf("logged %q", lines)
		}
		if got := n.Stats(); got.Malformed != 0 || got.Strangers != 4 || got.Members != 1 {
			t.Errorf("stats are %+v", got)
		}
	})
}

// Two nodes on one channel whose settings differ are no members of each other, and do not ask again and again.
func TestStrangersOnTheSameChannel(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := []*node{b.start(t, 0, set("mode", "a")), b.start(t, 1, set("mode", "b")), b.start(t, 2, set("mode", "b"))}
		for _, n := range nodes {
			n.link.set(func(l *link) { l.group = "" })
		}
		pass(time.Minute)
		for _, n := range nodes {
			if got := b.received(n.id); got["inbox ask"] > 2 {
				t.Errorf("%s received %v", n.id, got)
			}
		}
		complete(t, nodes[:1])
		complete(t, nodes[1:])
	})
}

func TestCommonRefused(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		refused := errors.New("NOPERM this user has no permissions to access one of the channels")
		nodes := b.cluster(t, 2)
		for range 3 {
			nodes[0].link.set(func(l *link) { l.refuse = refused })
			nodes[0].link.connect(false)
			nodes[0].link.connect(true)
			pass(10 * time.Second)
		}
		complete(t, nodes)
		if lines := nodes[0].logged("level=INFO"); len(lines) != 1 || !strings.Contains(lines[0], "NOPERM") {
			t.Errorf("logged %q", lines)
		}
		b.start(t, 2, set("adapter", "other")) // no answer is due
		pass(10 * time.Second)
		if got := nodes[0].Stats().Unsent; got != 0 {
			t.Errorf("%d were not sent", got)
		}
		complete(t, nodes)
	})
}
