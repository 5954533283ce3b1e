package adapter

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal does what an order hands on, and remembers when.
type journal struct {
	order
	began time.Time

	mu      sync.Mutex
	entries []string
	handled map[string]chan struct{} // of server-side events, by request
}

func newJournal() *journal {
	j := &journal{began: time.Now(), handled: make(map[string]chan struct{})}
	j.begin(j.note)
	return j
}

func (j *journal) note(m *Message) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, fmt.Sprintf("%s@%d", m.Request, time.Since(j.began).Milliseconds()))
	if m.Kind == KindServerSide {
		j.handled[m.Request] = make(chan struct{})
		return j.handled[m.Request]
	}
	return nil
}

func (j *journal) finish(event string) {
	j.mu.Lock()
	close(j.handled[event])
	j.mu.Unlock()
	synctest.Wait()
}

func (j *journal) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.entries, want) {
		t.Errorf("%s: %v, want %v", what, j.entries, want)
	}
	j.entries = nil
}

// say takes messages of the sender s.
func (j *journal) say(list ...*Message) {
	for _, m := range list {
		if m.From == "" {
			m.From = "s"
		}
		j.take(m)
	}
}

func event(name string) *Message { return &Message{Kind: KindServerSide, Request: name} }
func toAll(name string, seq uint64) *Message {
	return &Message{Kind: KindJoin, Request: name, Seq: seq}
}
func aside(name string, after uint64) *Message {
	return &Message{Kind: KindBroadcast, Request: name, After: after}
}

// TestOrderServerSide: what was sent after a server-side event waits for its handlers, of the same sender only, and not for long.
func TestOrderServerSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		j.say(aside("a", 0), event("e"), aside("b", 0), event("f"), aside("c", 0), &Message{From: "other", Request: "x"})
		j.expect(t, "at once", "a@0", "e@0", "x@0")
		time.Sleep(50 * time.Millisecond)
		j.finish("e")
		j.expect(t, "one has returned", "b@50", "f@50")
		time.Sleep(40 * time.Millisecond)
		j.finish("f")
		j.expect(t, "both have", "c@90")
		if n := len(j.senders); n != 0 {
			t.Errorf("%d senders are remembered", n)
		}
		j.say(event("slow"), aside("d", 0))
		time.Sleep(99 * time.Millisecond)
		j.expect(t, "a slow one", "slow@90")
		time.Sleep(time.Millisecond)
		j.expect(t, "a slow one, over", "d@190")
		j.say(event("next"), aside("e", 0), aside("f", 0))
		j.expect(t, "nobody waits behind a slow one", "next@190", "e@190", "f@190")
		j.finish("slow")
		j.say(event("quick"), aside("g", 0))
		j.expect(t, "until it has returned", "quick@190")
		j.finish("quick")
		j.expect(t, "and again", "g@190")
		if s := j.stats(); s.Late != 1 {
			t.Errorf("%+v", s)
		}
		j.close()
	})
}

// TestOrderNumbers has messages that come on several channels.
func TestOrderNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		j.say(toAll("1", 1), aside("after 1", 1), aside("after 3", 3), aside("after 2", 2), toAll("2", 2))
		j.expect(t, "the first that is not for all waits, the second behind it", "1@0", "after 1@0", "2@0")
		time.Sleep(30 * time.Millisecond)
		j.say(toAll("3", 3))
		j.expect(t, "it has come", "3@30", "after 3@30", "after 2@30")
		j.say(toAll("5", 5), aside("after 5", 5), toAll("4", 4))
		j.expect(t, "two ways to all", "4@30", "5@30", "after 5@30")
		j.say(aside("after 7", 7), toAll("6", 6))
		time.Sleep(100 * time.Millisecond)
		j.expect(t, "one is lost", "6@30", "after 7@130")
		j.say(toAll("7", 7), toAll("8", 8))
		j.expect(t, "it comes late", "7@130", "8@130")
		j.say(toAll("10", 10), toAll("11", 11))
		time.Sleep(100 * time.Millisecond)
		j.expect(t, "a hole", "10@230", "11@230")
		if s := j.stats(); s.Late != 2 || s.Waited == 0 {
			t.Errorf("%+v", s)
		}
		j.close()
	})
}

// TestOrderBeginning has a sender that was there before.
func TestOrderBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		j.say(toAll("90", 90), aside("after 90", 90))
		j.expect(t, "the first number counts from there", "90@0", "after 90@0")
		j.say(&Message{From: "late", Request: "after 5", After: 5}, &Message{From: "late", Request: "after 5, too", After: 5})
		j.say(&Message{From: "unnumbered", Request: "old"})
		time.Sleep(100 * time.Millisecond)
		j.expect(t, "nothing is known of it", "old@0", "after 5@100", "after 5, too@100")
		j.say(&Message{From: "late", Request: "again", After: 5})
		j.expect(t, "later it is", "again@100")
		j.forget("s")
		j.say(toAll("1", 1))
		j.expect(t, "a new life", "1@100")
		j.close()
	})
}

// TestOrderDirected counts what never came to this node alone.
func TestOrderDirected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		for _, n := range []uint64{4, 5, 8, 8, 6, 9} {
			j.say(&Message{Request: fmt.Sprint(n), Directed: n})
		}
		j.expect(t, "all are handed on", "4@0", "5@0", "8@0", "8@0", "6@0", "9@0")
		if s := j.stats(); s.Skipped != 2 {
			t.Errorf("%+v", s)
		}
		j.close()
	})
}

// TestOrderFlood: there is an end to what waits, and to who is remembered.
func TestOrderFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		j.say(toAll("1", 1))
		for range orderQueue + 1 {
			j.say(aside("x", 2))
		}
		synctest.Wait()
		j.mu.Lock()
		n := len(j.entries)
		j.mu.Unlock()
		if n != orderQueue+2 {
			t.Errorf("%d messages were handed on", n)
		}
		for i := range 2 * orderSenders {
			j.say(&Message{From: NodeID(fmt.Sprint("invented", i)), Seq: 1})
		}
		synctest.Wait()
		if len(j.senders) > orderSenders {
			t.Errorf("%d senders are remembered", len(j.senders))
		}
		j.close()
	})
}

// TestOrderClose: nothing is handed on afterwards, and no goroutine stays.
func TestOrderClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		j.say(toAll("1", 1), aside("after 2", 2), event("e"))
		j.close()
		time.Sleep(time.Second)
		j.expect(t, "closed", "1@0")
	})
}
