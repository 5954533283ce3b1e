package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

const (
	emitters    = 16
	eventsEach  = 300
	firstEvents = 50 // of each emitter, before the upgrade begins
	lastEvents  = 50 // of each emitter, after it
)

// TestOrderThroughUpgrade sends numbered events, text and binary, from many goroutines to one socket that changes its
// transport meanwhile, and as many back: each goroutine's events come in order, each attachment directly behind its event.
func TestOrderThroughUpgrade(t *testing.T) {
	for _, kind := range []string{"unicast", "broadcast"} {
		t.Run(kind, func(t *testing.T) { testOrder(t, kind == "broadcast") })
	}
}

func testOrder(t *testing.T, broadcast bool) {
	srv, err := server.New(&server.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	begun, upgraded := make(chan struct{}), make(chan struct{})
	backward := newSequence()
	srv.Of("/").Handle("up", server.Func(func(_ context.Context, _ *server.Socket, n server.Args2[int, []byte]) error {
		return backward.next(0, n.First, n.Second)
	}))
	srv.Of("/").Handle("go", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
		emit := s.Emit
		if broadcast {
			emit = s.Namespace().Emit
		}
		emitNumbered(emit, begun, upgraded)
		return nil
	}))
	srv.Of("/").Handle("done", server.FuncAck(func(context.Context, *server.Socket, server.None) (server.None, error) {
		return server.None{}, nil
	}))
	var failed sync.Once
	srv.Of("/").OnError(func(_ context.Context, _ *server.Socket, _ string, err error) { failed.Do(func() { t.Error(err) }) })

	c := servertest.New(t, srv, nil).Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
	s := c.Connect("/", nil)
	s.Emit("go")
	for i := range 50 {
		s.Emit("up", i, payload(0, i))
	}
	<-begun
	c.Upgrade()
	close(upgraded)
	for i := range 50 {
		s.Emit("up", 50+i, payload(0, 50+i))
	}
	forward := newSequence()
	for range emitters * eventsEach {
		e := s.Expect("n")
		var sender, number int
		var attachment []byte
		if err := errors.Join(e.Args.Unmarshal(0, &sender), e.Args.Unmarshal(1, &number), e.Args.Unmarshal(2, &attachment)); err != nil {
			t.Fatal(err)
		}
		if err := forward.next(sender, number, attachment); err != nil {
			t.Fatal(err)
		}
	}
	s.EmitWithAck("done")
	if got := backward.last(0); got != 99 {
		t.Errorf("the last event of the client was %d", got)
	}
	if st := srv.Stats(); st.ParseErrors+st.Panics+st.Failures != 0 {
		t.Errorf("%+v", st)
	}
}

// emitNumbered emits from many goroutines; every third event is text only. It closes begun when each has emitted some,
// and keeps some for after the upgrade.
func emitNumbered(emit func(string, ...any) error, begun chan<- struct{}, upgraded <-chan struct{}) {
	var all, started sync.WaitGroup
	started.Add(emitters)
	for g := range emitters {
		all.Go(func() {
			for i := range eventsEach {
				switch i {
				case firstEvents:
					started.Done()
				case eventsEach - lastEvents:
					<-upgraded
				}
				if i%3 == 0 {
					_ = emit("n", g, i)
				} else {
					_ = emit("n", g, i, payload(g, i))
				}
			}
		})
	}
	started.Wait()
	close(begun)
	all.Wait()
}

// payload is the attachment of an event: it tells which, and its length varies.
func payload(g, i int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(g))
	b = binary.BigEndian.AppendUint32(b, uint32(i))
	return append(b, strings.Repeat("x", i*7%2000)...)
}

// sequence checks the numbers of several senders.
type sequence struct {
	mu   sync.Mutex
	seen map[int]int // the next number of each sender
}

func newSequence() *sequence { return &sequence{seen: make(map[int]int)} }

func (q *sequence) next(sender, number int, attachment []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if want := q.seen[sender]; number != want {
		return fmt.Errorf("number %d of sender %d, want %d", number, sender, want)
	}
	q.seen[sender]++
	if attachment != nil && !bytes.Equal(attachment, payload(sender, number)) {
		return fmt.Errorf("number %d of sender %d came with %d bytes that are not its own", number, sender, len(attachment))
	}
	return nil
}

func (q *sequence) last(sender int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.seen[sender] - 1
}
