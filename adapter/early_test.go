package adapter

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// TestEarly: what was delivered before it was in the log is waited for until it has come, or until something has that was sent later.
func TestEarly(t *testing.T) {
	var h clusterHistory
	e := &h.early
	places := [3]Place{}
	e.note(5, &places[0])
	e.note(7, &places[2])
	e.note(6, &places[1])
	done := make(chan struct{})
	e.waiting = []placeWaiter{{6, done}}
	arrived := func(seq uint64, offset string) (over bool) {
		e.arrived(&Message{Seq: seq, Offset: offset})
		h.wakeLocked()
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	if arrived(4, "o4") || arrived(5, "o5") {
		t.Error("not all have come")
	}
	if e.missing || e.lost != "" {
		t.Errorf("nothing is missing: %+v", e)
	}
	if !arrived(7, "o7") {
		t.Error("all have come, or will not")
	}
	if e.lost != "o7" || e.missing {
		t.Errorf("number 6 has not come: %+v", e)
	}
	if got := places[0].Offset() + places[1].Offset() + places[2].Offset(); got != "o5o7" {
		t.Errorf("the places are %s", got)
	}
	e.never(8)
	if !e.missing {
		t.Error("what was not sent is missing")
	}
	e.passed("p")
	if e.missing || e.lost != "p" {
		t.Errorf("it was sent before p: %+v", e)
	}
	for i := range uint64(maxEarly + 1) {
		e.note(100+i, new(Place))
	}
	if len(e.list) != maxEarly || !e.missing {
		t.Errorf("%d are remembered", len(e.list))
	}
}

// toldBus notes what is published and sent, and does neither.
type toldBus struct {
	Bus
	fail            error
	published, sent []*Message
}

func (b *toldBus) Publish(m *Message) error {
	if b.fail == nil {
		b.published = append(b.published, m)
	}
	return b.fail
}

func (b *toldBus) Send(_ NodeID, m *Message) error {
	b.sent = append(b.sent, m)
	return nil
}

func (b *toldBus) Parted() bool        { return true }
func (b *toldBus) ToAll(*Message) bool { return true }

type countingLocal struct {
	Local
	delivered int
	flags     Flags // of the last one
}

func (l *countingLocal) Deliver(_ *parser.Packet, _ Selection, flags Flags) {
	l.delivered++
	l.flags = flags
}

// TestEarlyUnsent: a broadcast that is not in the log is waited for by nobody, whether that is known at once or later.
func TestEarlyUnsent(t *testing.T) {
	for _, later := range []Receipt{{}, {Err: ErrClusterUnavailable}, {Past: true}} {
		bus, local := new(toldBus), new(countingLocal)
		h := &clusterHistory{c: &clustered{ctx: t.Context(), bus: bus, parted: bus, local: local}, patience: time.Minute}
		h.keep(&numberedLog{}, time.Minute)
		h.away.Store(true)
		atOnce := later == Receipt{}
		if atOnce {
			bus.fail = ErrClusterUnavailable
		}
		packet := &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}
		err := h.broadcast(&Message{Kind: KindBroadcast, Packet: packet})
		if atOnce == (err == nil) {
			t.Errorf("later %+v: %v", later, err)
		}
		if !atOnce {
			bus.published[0].Sent(later)
		}
		if local.delivered != 1 {
			t.Errorf("later %+v: delivered %d times", later, local.delivered)
		}
		if err := h.placed(t.Context(), "00001"); !errors.Is(err, ErrHistoryGap) {
			t.Errorf("later %+v: %v while nothing has come, want a gap", later, err)
		}
		h.mu.Lock()
		h.early.passed("00005") // of another node
		h.mu.Unlock()
		if err := h.placed(t.Context(), "00004"); !errors.Is(err, ErrHistoryGap) {
			t.Errorf("later %+v: %v for who was away, want a gap", later, err)
		}
		if err := h.placed(t.Context(), "00005"); err != nil {
			t.Errorf("later %+v: %v for who has come since", later, err)
		}
	}
}

// TestEarlyUnsentBehind: a broadcast that was not sent while one before it was awaited is missing behind that one's offset.
func TestEarlyUnsentBehind(t *testing.T) {
	bus, local := new(toldBus), new(countingLocal)
	h := &clusterHistory{c: &clustered{ctx: t.Context(), bus: bus, parted: bus, local: local}, patience: time.Minute}
	h.keep(&numberedLog{}, time.Minute)
	packet := &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}
	for range 2 {
		if err := h.broadcast(&Message{Kind: KindBroadcast, Packet: packet}); err != nil {
			t.Fatal(err)
		}
	}
	bus.published[1].Sent(Receipt{Err: ErrClusterUnavailable})
	first := &Message{Kind: KindBroadcast, Seq: bus.published[0].Seq, Offset: "00007"}
	h.release(func(t *pendingTurn) bool { return t.seq <= first.Seq }, first)
	if local.delivered != 2 {
		t.Errorf("%d are delivered, want both", local.delivered)
	}
	if err := h.placed(t.Context(), "00007"); !errors.Is(err, ErrHistoryGap) {
		t.Errorf("%v for a client that has got the first alone, want a gap", err)
	}
}

// TestEarlyMissed: a client has a broadcast among what it has missed, and its socket gets it here meanwhile without offset, because it comes
// from the log late. When the client knows what it has missed, it is known that the two are one.
func TestEarlyMissed(t *testing.T) {
	for _, behind := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bus, local := new(toldBus), new(countingLocal)
			log := &numberedLog{first: 1, last: 7, begun: make(chan struct{}), hold: make(chan struct{})}
			close(log.hold)
			h := &clusterHistory{c: &clustered{ctx: t.Context(), bus: bus, parted: bus, local: local}, patience: 500 * time.Millisecond}
			h.reads.h = h
			h.keep(log, time.Minute)
			packet := &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}
			if err := h.broadcast(&Message{Kind: KindBroadcast, Packet: packet}); err != nil {
				t.Fatal(err)
			}
			var missed Missed
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				missed, err = h.Missed(t.Context(), "00005", []string{"even", "odd"}, HistoryLimits{Packets: 100, Bytes: 1 << 20})
			}()
			synctest.Wait()
			select {
			case <-done:
				t.Fatal("a broadcast of this node may be among what was read, and has not come")
			default:
			}
			time.Sleep(600 * time.Millisecond)
			synctest.Wait()
			if local.delivered != 1 || local.flags.Place == nil || local.flags.Place.Offset() != "" {
				t.Fatalf("delivered %d times, %+v", local.delivered, local.flags)
			}
			offset := "00007"
			if behind {
				offset = "00008"
			}
			came := &Message{Kind: KindBroadcast, Seq: bus.published[0].Seq, Offset: offset}
			h.release(func(t *pendingTurn) bool { return t.seq <= came.Seq }, came)
			<-done
			if err != nil || len(missed.Events) != 2 {
				t.Fatalf("missed %d events, %v", len(missed.Events), err)
			}
			if at := local.flags.Place.Offset(); at != offset || missed.Had(at) == behind {
				t.Errorf("what was delivered is at %q, had %v", at, missed.Had(at))
			}
			h.close()
		})
	}
}

// TestEarlyTooLate: a client does not wait for ever for what may be among what it has missed.
func TestEarlyTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(toldBus)
		log := &numberedLog{first: 1, last: 7, begun: make(chan struct{}), hold: make(chan struct{})}
		close(log.hold)
		h := &clusterHistory{c: &clustered{ctx: t.Context(), bus: bus, parted: bus, local: new(countingLocal)}, patience: time.Second}
		h.reads.h = h
		h.keep(log, time.Minute)
		packet := &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}
		if err := h.broadcast(&Message{Kind: KindBroadcast, Packet: packet}); err != nil {
			t.Fatal(err)
		}
		_, err := h.Missed(t.Context(), "00005", []string{"even"}, HistoryLimits{Packets: 100, Bytes: 1 << 20})
		if !errors.Is(err, ErrClusterUnavailable) || len(h.early.waiting) != 0 {
			t.Errorf("%v, %d wait", err, len(h.early.waiting))
		}
		h.close()
	})
}
