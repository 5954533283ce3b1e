package adapter

import "testing"

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
	e.note(0)
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
