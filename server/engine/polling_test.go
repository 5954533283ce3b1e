package engine

import (
	"net/http"
	"strings"
	"testing"
)

// TestFullBodies: a client packs as many packets into a POST as maxPayload allows, and an answer takes everything that is
// queued, however much, as in the reference.
func TestFullBodies(t *testing.T) {
	const packets = defaultMaxBuffer / 5
	g := newRigOn(t, &Options{HTTPCompression: &HTTPCompression{Disabled: true}}, true, 0)
	sid, target := g.openPoll()
	body := strings.Repeat("4abc\x1e", packets-1) + "4last"
	if len(body) != defaultMaxBuffer {
		t.Fatalf("a body of %d bytes", len(body))
	}
	if a := g.must("POST", target, body); a.status != http.StatusOK || a.body != "ok" {
		t.Fatalf("POST: %d %q", a.status, a.body)
	}
	if got, want := g.recorder(sid).received(), strings.Repeat("abc|", packets-1)+"last"; got != want {
		t.Errorf("received %d bytes, want %d", len(got), len(want))
	}
	if _, other := g.openPoll(); g.must("POST", other, body+"!").status != http.StatusRequestEntityTooLarge {
		t.Error("one byte more is taken")
	}
	const text = "twenty bytes of text"
	m := NewMessage([]byte(text))
	for range packets / 2 {
		if err := g.recorder(sid).s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.TrimSuffix(strings.Repeat("4"+text+"\x1e", packets/2), "\x1e")
	if a := g.must("GET", target, ""); a.body != want {
		t.Errorf("the answer has %d bytes, want %d", len(a.body), len(want))
	}
}
