package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// sink records acknowledgements and complains about those that come after the call.
type sink struct {
	t     *testing.T
	acked chan struct{} // has room for all acknowledgements; nil if nobody waits for them

	mu sync.Mutex
	// Guarded by mu.
	expected int
	values   []string
	gone     []string
	over     bool
}

func (s *sink) Expected(n int) {
	s.note(func() { s.expected += n })
}

func (s *sink) Ack(_ adapter.NodeID, _ string, value parser.Payload) {
	s.note(func() { s.values = append(s.values, string(value.JSON)) })
	if s.acked != nil {
		s.acked <- struct{}{}
	}
}

func (s *sink) Gone(_ adapter.NodeID, sid string) {
	s.note(func() { s.gone = append(s.gone, sid) })
}

func (s *sink) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		s.t.Error("the sink was called after the end")
	}
	f()
}

func (s *sink) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	slices.Sort(s.values)
	slices.Sort(s.gone)
}

// answerWithID makes every socket acknowledge with its id.
func (c *cluster) answerWithID() {
	for id, s := range c.sockets {
		s.Answer(func(*parser.Packet) (parser.Payload, bool) {
			return parser.Payload{JSON: []byte(`"` + id + `"`)}, true
		})
	}
}

func quoted(ids []string) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = `"` + id + `"`
	}
	return list
}

func testAcks(t *testing.T, c *cluster) {
	c.answerWithID()
	for _, tt := range []struct {
		sel   adapter.Selection
		flags adapter.Flags
		want  []string
	}{
		{adapter.Selection{}, adapter.Flags{}, c.everywhere("a", "b", "c")},
		{adapter.Selection{Rooms: []string{"red"}, Except: []string{"blue"}}, adapter.Flags{}, c.everywhere("a")},
		{adapter.Selection{}, adapter.Flags{Local: true}, []string{"a0", "b0", "c0"}},
	} {
		s := &sink{t: t}
		summary, err := c.adapters[0].BroadcastWithAck(patient(t), event(t, "/chat", "ask"), tt.sel, tt.flags, s)
		s.end()
		if err != nil || summary.Unanswered != 0 || len(summary.Missing) != 0 {
			t.Errorf("%v: summary %+v, error %v", tt.sel, summary, err)
		}
		if s.expected != len(tt.want) || !slices.Equal(s.values, quoted(tt.want)) || len(s.gone) != 0 {
			t.Errorf("%v: %d expected, values %v, gone %v", tt.sel, s.expected, s.values, s.gone)
		}
	}
}

func testAcksNobody(t *testing.T, c *cluster) {
	s := &sink{t: t}
	_, err := c.adapters[0].BroadcastWithAck(patient(t), event(t, "/chat", "ask"), adapter.Selection{Rooms: []string{"green"}}, adapter.Flags{}, s)
	s.end()
	if err != nil || s.expected != 0 || len(s.values) != 0 {
		t.Errorf("%d expected, values %v, error %v", s.expected, s.values, err)
	}
}

// testAcksGone disconnects a socket that has not answered: the call must not wait for it, wherever it is.
func testAcksGone(t *testing.T, c *cluster) {
	last := len(c.nodes) - 1
	c.answerWithID()
	for node := range map[int]bool{0: true, last: true} {
		id := fmt.Sprint("b", node)
		silent := c.sockets[id]
		silent.Answer(nil)
		var wg sync.WaitGroup
		s := &sink{t: t}
		wg.Go(func() {
			if _, err := c.adapters[0].BroadcastWithAck(patient(t), event(t, "/chat", "ask"), adapter.Selection{Rooms: []string{id, "a0"}}, adapter.Flags{}, s); err != nil {
				t.Error(err)
			}
		})
		c.nodes[node].await(t, "the question", func() bool { return len(silent.waiting) == 1 })
		silent.Disconnect()
		wg.Wait()
		s.end()
		if !slices.Equal(s.gone, []string{id}) || s.expected != 2 || !slices.Equal(s.values, []string{`"a0"`}) {
			t.Errorf("%d expected, values %v, gone %v, want %s gone", s.expected, s.values, s.gone, id)
		}
	}
}

// testAcksLate lets the time run out while a socket of another node is silent.
func testAcksLate(t *testing.T, c *cluster) {
	id := fmt.Sprint("b", len(c.nodes)-1)
	c.answerWithID()
	c.sockets[id].Answer(nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s := &sink{t: t}
	_, err := c.adapters[0].BroadcastWithAck(ctx, event(t, "/chat", "ask"), adapter.Selection{}, adapter.Flags{}, s)
	s.end()
	if !errors.Is(err, context.DeadlineExceeded) || s.expected != 3*len(c.nodes) || len(s.values) != s.expected-1 {
		t.Errorf("error %v, %d expected, values %v", err, s.expected, s.values)
	}
	if !slices.Equal(s.gone, []string{id}) && !slices.Equal(s.gone, []string{""}) {
		t.Errorf("gone %v, want %s or a nameless socket", s.gone, id)
	}
}

func testAcksCancelled(t *testing.T, c *cluster) {
	c.answerWithID()
	silent := c.sockets["b0"]
	silent.Answer(nil)
	ctx, cancel := context.WithCancel(patient(t))
	var wg sync.WaitGroup
	s := &sink{t: t, acked: make(chan struct{}, 3*len(c.nodes))}
	wg.Go(func() {
		_, err := c.adapters[0].BroadcastWithAck(ctx, event(t, "/chat", "ask"), adapter.Selection{}, adapter.Flags{}, s)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
		s.end()
	})
	c.nodes[0].await(t, "the question", func() bool { return len(silent.waiting) == 1 })
	for range 3*len(c.nodes) - 1 {
		select {
		case <-s.acked:
		case <-ctx.Done():
			t.Fatal("the others do not acknowledge")
		}
	}
	cancel()
	wg.Wait()
	if !slices.Equal(s.gone, []string{"b0"}) {
		t.Errorf("gone %v, want the silent socket", s.gone)
	}
	silent.Disconnect()
}

// testAcksBrokenOff gives up a question, of which sockets of other nodes owe answers, after the first reply: the call returns at once,
// what comes later reaches nobody, and the next question has its own answers alone.
func testAcksBrokenOff(t *testing.T, c *cluster) {
	for round := range 2 {
		c.answerWithID()
		last := len(c.nodes) - 1
		silent := c.sockets[fmt.Sprint([]string{"b", "c"}[round], last)]
		silent.Answer(nil)
		ctx, cancel := context.WithCancel(patient(t))
		s := &sink{t: t, acked: make(chan struct{}, 3*len(c.nodes))}
		ended := make(chan error, 1)
		go func() {
			_, err := c.adapters[0].BroadcastWithAck(ctx, event(t, "/chat", "ask"), adapter.Selection{}, adapter.Flags{}, s)
			s.end()
			ended <- err
		}()
		<-s.acked
		c.nodes[last].await(t, "the question", func() bool { return len(silent.waiting) == 1 })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
		silent.Disconnect() // a late word, which the sink complains of
		next := &sink{t: t}
		want := []string{"a0"}
		_, err := c.adapters[0].BroadcastWithAck(patient(t), event(t, "/chat", "ask"), adapter.Selection{Rooms: want}, adapter.Flags{}, next)
		next.end()
		if err != nil || next.expected != 1 || !slices.Equal(next.values, quoted(want)) || len(next.gone) != 0 {
			t.Errorf("the next: error %v, %d expected, values %v, gone %v", err, next.expected, next.values, next.gone)
		}
	}
}
