package adapter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// numberedLog has the broadcasts first to last; their offsets are their numbers with leading zeros.
type numberedLog struct {
	first, last int
	reads       atomic.Int32
	breaks      atomic.Uint64
	begun       chan struct{} // closed by the first reading
	hold        chan struct{} // readings wait for it
	once        sync.Once
}

func numberOffset(n int) string { return fmt.Sprintf("%05d", n) }

func (l *numberedLog) Read() string { return numberOffset(l.last) }

func (l *numberedLog) Ready(context.Context) error { return nil }

func (l *numberedLog) Breaks() uint64 { return l.breaks.Load() }

func (l *numberedLog) Compare(a, b string) int {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return x - y
}

func (l *numberedLog) message(n int) *Message {
	m := &Message{Kind: KindBroadcast, Offset: numberOffset(n), Selection: Selection{Rooms: []string{"even"}}}
	if n%2 == 1 {
		m.Selection.Rooms[0] = "odd"
	}
	m.Packet = &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(fmt.Sprintf(`["n",%d]`, n))}}
	return m
}

func (l *numberedLog) After(_ context.Context, offset string, each func(m *Message) bool) (string, error) {
	l.reads.Add(1)
	l.once.Do(func() { close(l.begun) })
	<-l.hold
	n, _ := strconv.Atoi(offset)
	if n+1 < l.first {
		return "", ErrHistoryGap
	}
	for n++; n <= l.last; n++ {
		if m := l.message(n); !each(m) {
			return m.Offset, nil
		}
	}
	return numberOffset(n - 1), nil
}

// TestMissedTogether has a thousand clients come back while a reading is under way: each gets what it has missed, those whose offset is
// too old or who have missed too much are told so, and the log is read far less than a thousand times.
func TestMissedTogether(t *testing.T) {
	log := &numberedLog{first: 100, last: 400, begun: make(chan struct{}), hold: make(chan struct{})}
	h := &clusterHistory{c: &clustered{ctx: t.Context()}}
	h.reads.h = h
	h.keep(log, time.Minute)
	var group sync.WaitGroup
	ask := func(n int) {
		defer group.Done()
		room, limit := []string{"even", "odd"}[n%2], 100
		got, err := h.Missed(t.Context(), numberOffset(n), []string{room}, HistoryLimits{Packets: limit, Bytes: 1 << 20})
		var want []int
		for m := n + 1; m <= log.last; m++ {
			if m%2 == n%2 {
				want = append(want, m)
			}
		}
		switch {
		case n+1 < log.first:
			if !errors.Is(err, ErrHistoryGap) {
				t.Errorf("offset %d: %v, want a gap", n, err)
			}
			return
		case len(want) > limit:
			if !errors.Is(err, ErrHistoryLimit) {
				t.Errorf("offset %d: %v, want that it is too much", n, err)
			}
			return
		case err != nil || len(got.Events) != len(want):
			t.Errorf("offset %d: %d events, %v, want %d", n, len(got.Events), err, len(want))
			return
		}
		for i, m := range want {
			if text := fmt.Sprintf(`["n",%d,"%05d"]`, m, m); string(got.Events[i].JSON) != text {
				t.Errorf("offset %d: event %d is %s, want %s", n, i, got.Events[i].JSON, text)
			}
		}
		if newest := max(n, log.last); !got.Had(numberOffset(newest)) || got.Had(numberOffset(newest+1)) {
			t.Errorf("offset %d: what it has is not what came up to %d", n, newest)
		}
	}
	group.Add(1)
	go ask(300)
	<-log.begun
	for i := range 1000 {
		group.Add(1)
		go ask(90 + i%320) // also beyond what is known here
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := h.Missed(gone, numberOffset(200), nil, HistoryLimits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone: %v", err)
	}
	close(log.hold)
	group.Wait()
	if n := log.reads.Load(); n > 300 {
		t.Errorf("%d readings for 1,000 clients", n)
	}
}

// laterGapLog is like a stream: whether all is there is looked at when it has been read, and an offset behind the end is none.
type laterGapLog struct {
	numberedLog
}

func (l *laterGapLog) After(ctx context.Context, offset string, each func(m *Message) bool) (string, error) {
	n := l.Compare(offset, "0")
	from := max(n, l.first-1)
	end := offset
	for i := from + 1; i <= l.last; i++ {
		end = numberOffset(i)
		m := &Message{Offset: end, Packet: &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}}
		if !each(m) {
			return end, nil
		}
	}
	if n+1 < l.first || n > l.last {
		return "", ErrHistoryGap
	}
	return end, nil
}

// TestMissedOnce: who is in a group with somebody whose offset is too old, or behind the end, gets everything once; they get a gap.
func TestMissedOnce(t *testing.T) {
	log := &laterGapLog{numberedLog: numberedLog{first: 100, last: 110}}
	h := &clusterHistory{c: &clustered{ctx: t.Context()}}
	h.reads.h = h
	h.keep(log, time.Minute)
	var list []*missedRead
	for n := 90; n < 130; n++ {
		q := &missedRead{ctx: t.Context(), offset: numberOffset(n), limits: HistoryLimits{Packets: 1000, Bytes: 1 << 20}, done: make(chan struct{})}
		list = append(list, q)
	}
	h.reads.serve(log, append([]*missedRead(nil), list...))
	for i, q := range list {
		n := 90 + i
		<-q.done
		switch {
		case n+1 < log.first || n > log.last:
			if !errors.Is(q.err, ErrHistoryGap) {
				t.Errorf("offset %d: %v, want a gap", n, q.err)
			}
		case q.err != nil || len(q.missed.Events) != log.last-n:
			t.Errorf("offset %d: %d events, %v, want %d", n, len(q.missed.Events), q.err, log.last-n)
		}
	}
}
