package adapter

import (
	"errors"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// TestEarly: what was delivered before it was in the log is waited for until it has come, or until something has that was sent later.
func TestEarly(t *testing.T) {
	var e early
	e.note(5)
	e.note(7)
	e.note(6)
	e.drained = make(chan struct{})
	drained := e.drained
	e.arrived(&Message{Seq: 4, Offset: "o4"})
	e.arrived(&Message{Seq: 5, Offset: "o5"})
	select {
	case <-drained:
		t.Error("not all have come")
	default:
	}
	if e.missing || e.lost != "" {
		t.Errorf("nothing is missing: %+v", e)
	}
	e.arrived(&Message{Seq: 7, Offset: "o7"})
	select {
	case <-drained:
	default:
		t.Error("all have come, or will not")
	}
	if e.lost != "o7" || e.missing {
		t.Errorf("number 6 has not come: %+v", e)
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
		e.note(100 + i)
	}
	if len(e.seqs) != maxEarly || !e.missing {
		t.Errorf("%d are remembered", len(e.seqs))
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
}

func (l *countingLocal) Deliver(*parser.Packet, Selection, Flags) { l.delivered++ }

// TestEarlyUnsent: a broadcast that the broker has not taken is waited for by nobody, whether that is known at once or later.
func TestEarlyUnsent(t *testing.T) {
	for _, later := range []bool{false, true} {
		bus, local := new(toldBus), new(countingLocal)
		h := &clusterHistory{c: &clustered{ctx: t.Context(), bus: bus, parted: bus, local: local}, patience: time.Minute}
		var log Log = &numberedLog{}
		h.log.Store(&log)
		h.away.Store(true)
		if !later {
			bus.fail = ErrClusterUnavailable
		}
		packet := &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}
		err := h.broadcast(&Message{Kind: KindBroadcast, Packet: packet})
		if later {
			bus.published[0].Sent(Receipt{Err: ErrClusterUnavailable})
		} else if err == nil {
			t.Error("no error")
		}
		if local.delivered != 1 {
			t.Errorf("later %t: delivered %d times", later, local.delivered)
		}
		if err := h.placed(t.Context(), "00001"); !errors.Is(err, ErrHistoryGap) {
			t.Errorf("later %t: %v while nothing has come, want a gap", later, err)
		}
		h.mu.Lock()
		h.early.passed("00005") // of another node
		h.mu.Unlock()
		if err := h.placed(t.Context(), "00004"); !errors.Is(err, ErrHistoryGap) {
			t.Errorf("later %t: %v for who was away, want a gap", later, err)
		}
		if err := h.placed(t.Context(), "00005"); err != nil {
			t.Errorf("later %t: %v for who has come since", later, err)
		}
	}
}

// TestEarlyUnsentBehind: a broadcast that was not sent while one before it was awaited is missing behind that one's offset.
func TestEarlyUnsentBehind(t *testing.T) {
	bus, local := new(toldBus), new(countingLocal)
	h := &clusterHistory{c: &clustered{ctx: t.Context(), bus: bus, parted: bus, local: local}, patience: time.Minute}
	var log Log = &numberedLog{}
	h.log.Store(&log)
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
