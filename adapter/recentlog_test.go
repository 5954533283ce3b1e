package adapter

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// come has a message come from a log, as a bus does: it is handed on, then the log has been read up to there.
func (l *numberedLog) come(r *recentLog, m *Message) {
	m.Offset = numberOffset(l.last + 1)
	r.add(m, time.Now())
	l.last++
}

// unopened is a broadcast in a log that is not looked at.
func unopened() *Message {
	return &Message{Unopened: &Unopened{Open: func() (*Message, error) { return nil, nil }}}
}

// TestRecentBreakAtEnd: while a break is being read a node still stands before it. A position that it gives then is not taken for one that
// has what comes behind the break right behind it.
func TestRecentBreakAtEnd(t *testing.T) {
	log := &numberedLog{last: 7}
	l := newRecentLog(log, time.Minute)
	before := log.Read()
	log.breaks.Add(1)
	if got := l.position(nil, before); got != before {
		t.Errorf("the position is %s, want %s", got, before)
	}
	log.last++ // the break
	log.come(l, unopened())
	if _, found := l.find(before); found {
		t.Error("what comes behind a break is handed to who has missed what the break is for")
	}
}

// TestRecentBreakMeanwhile: what comes behind a break does not follow what was last found before it.
func TestRecentBreakMeanwhile(t *testing.T) {
	log := &numberedLog{last: 7}
	l := newRecentLog(log, time.Minute)
	log.come(l, unopened())
	number, found := l.find(log.Read())
	if !found {
		t.Fatal("the last one is not there")
	}
	log.breaks.Add(1)
	log.come(l, unopened())
	if _, _, _, err := l.events.missed(number, nil, HistoryLimits{Packets: 9, Bytes: 1 << 20}); !errors.Is(err, ErrHistoryGap) {
		t.Errorf("there is a break behind it: %v, want a gap", err)
	}
}

// TestPositionStays: what is being delivered past the log just then does not set the position back to what this node's sockets got last.
func TestPositionStays(t *testing.T) {
	log := &numberedLog{last: 3}
	h := &clusterHistory{c: &clustered{ctx: t.Context(), bus: new(toldBus), local: new(countingLocal)}}
	h.keep(log, time.Minute)
	got := log.Read()
	h.delivered.Store(&got)
	log.last = 50 // all of that for nobody here
	idle := h.Position()
	var busy string
	h.turns.take(func() { busy = h.Position() })
	if idle != numberOffset(50) || busy != idle {
		t.Errorf("the position is %s, and a moment later %s", idle, busy)
	}
}

// TestRecentLogMatches has a log get broadcasts and breaks at random, and clients come back to it: what a node remembers is what the log
// says, and it never hands on what is behind a break.
func TestRecentLogMatches(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		log := &numberedLog{first: 1, last: 100, begun: make(chan struct{}), hold: make(chan struct{})}
		close(log.hold)
		h := &clusterHistory{c: &clustered{ctx: t.Context()}}
		h.reads.h = h
		h.keep(log, time.Minute)
		l := h.recent.Load()
		served := 0
		for range 200 {
			switch random.IntN(10) {
			case 0:
				log.breaks.Add(1)
				log.first = log.last + 2 // who has what came before does not go on
				log.last++
			case 1, 2, 3, 4, 5:
				m := log.message(log.last + 1)
				if random.IntN(2) == 0 {
					later := m
					m = &Message{Unopened: &Unopened{Size: 100, Open: func() (*Message, error) { return later, nil }}}
				}
				log.come(l, m)
				l.passed.Store(&m.Offset)
			case 6:
				if got := h.Position(); got != log.Read() {
					t.Fatalf("seed %d: the position is %s, want %s", seed, got, log.Read())
				}
			default:
				from, room := numberOffset(log.last-random.IntN(20)), []string{"even", "odd"}[random.IntN(2)]
				ask := func() *missedRead {
					return &missedRead{ctx: t.Context(), offset: from, rooms: []string{room}, limits: HistoryLimits{1000, 1 << 20}, done: make(chan struct{})}
				}
				got, want := ask(), ask()
				if !l.serve(got) {
					continue
				}
				served++
				end, err := log.After(t.Context(), from, func(m *Message) bool { return take(log, []*missedRead{want}, m) })
				want.finish(log, end, err)
				if !errors.Is(got.err, want.err) || !reflect.DeepEqual(got.missed.Events, want.missed.Events) {
					t.Fatalf("seed %d: after %s came %s, %v, want %s, %v", seed, from, got.missed.Events, got.err, want.missed.Events, want.err)
				}
				if want.err == nil && (!got.missed.Had(end) || got.missed.Had(numberOffset(log.last+1))) {
					t.Fatalf("seed %d: what it has is not what came up to %s", seed, end)
				}
			}
		}
		if served == 0 {
			t.Errorf("seed %d: nobody was served", seed)
		}
	}
}
