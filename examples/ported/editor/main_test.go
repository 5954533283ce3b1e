package main

import (
	"encoding/binary"
	"testing"
	"testing/fstest"

	"github.com/sockeye-io/sockeye/server/servertest"
)

const name = "/yjs|a document"

func newKit(t *testing.T) *servertest.Server {
	t.Helper()
	handler, err := newHandler(fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	return servertest.New(t, handler, nil)
}

// synchronize does what y-socket.io does once it is connected: it says how far its document goes, is told updates, and answers
// the same question with the whole.
func synchronize(t *testing.T, s *servertest.Socket, vector []byte, told [][]byte, whole []byte) {
	t.Helper()
	s.Emit("sync-step-1", vector)
	for _, u := range told {
		s.Expect("sync-update", u)
	}
	s.Expect("sync-step-1", noVector).Ack(whole)
	s.EmitWithAck("sync-update") // refused without an argument, once the answer is taken
}

func TestDocument(t *testing.T) {
	kit := newKit(t)
	ann := kit.Connect(t, name, nil)
	synchronize(t, ann, noVector, nil, noUpdate)
	ann.Emit("sync-update", []byte("one"))
	ann.Emit("sync-update", []byte("two"))
	ann.EmitWithAck("sync-update")

	// A newcomer is told what there is; the whole that it answers with takes its place, and is news to nobody.
	bob := kit.Connect(t, name, nil)
	synchronize(t, bob, noVector, [][]byte{noUpdate, []byte("one"), []byte("two")}, []byte("one, two"))
	bob.Emit("sync-update", []byte("three"))
	ann.Expect("sync-update", []byte("three"))

	// One that has written on its own brings that along.
	eve := kit.Connect(t, name, nil)
	synchronize(t, eve, []byte("something"), [][]byte{[]byte("one, two"), []byte("three")}, []byte("one, two, three, four"))
	ann.Expect("sync-update", []byte("one, two, three, four"))
	bob.Expect("sync-update", []byte("one, two, three, four"))

	other := kit.Connect(t, "/yjs|another", nil)
	synchronize(t, other, noVector, nil, noUpdate)
}

func TestWholeIsAskedForNowAndThen(t *testing.T) {
	kit := newKit(t)
	ann := kit.Connect(t, name, nil)
	synchronize(t, ann, noVector, nil, noUpdate)
	for range settleAfter - 1 { // the whole counts as one
		ann.Emit("sync-update", []byte("x"))
	}
	ann.Expect("sync-step-1", noVector).Ack([]byte("many x"))
	ann.EmitWithAck("sync-update")
	bob := kit.Connect(t, name, nil)
	synchronize(t, bob, noVector, [][]byte{[]byte("many x")}, []byte("many x"))
}

func TestTooLarge(t *testing.T) {
	kit := newKit(t)
	ann := kit.Connect(t, name, nil)
	synchronize(t, ann, noVector, nil, noUpdate)
	ann.Emit("sync-update", make([]byte, maxDocument-len(noUpdate)))
	ann.Emit("sync-update", []byte("x"))
	ann.ExpectDisconnect()
}

// word is what a client says of itself.
func word(client, clock uint64, state string) []byte {
	w := binary.AppendUvarint([]byte{1}, client)
	w = binary.AppendUvarint(w, clock)
	w = binary.AppendUvarint(w, uint64(len(state)))
	return append(w, state...)
}

func TestPresence(t *testing.T) {
	kit := newKit(t)
	ann, bob := kit.Connect(t, name, nil), kit.Connect(t, name, nil)
	ann.Emit("awareness-update", word(1_000_000, 1, `{"user":"ann"}`))
	bob.Expect("awareness-update", word(1_000_000, 1, `{"user":"ann"}`))
	bob.Emit("awareness-update", word(2, 7, `{"user":"bob"}`))
	ann.Expect("awareness-update", word(2, 7, `{"user":"bob"}`))
	ann.Emit("awareness-update", word(2, 7, `{"user":"bob"}`)) // what she has heard
	bob.Expect("awareness-update", word(2, 7, `{"user":"bob"}`))
	bob.Client().Close()
	ann.Expect("awareness-update", word(2, 8, "null"))

	eve := kit.Connect(t, name, nil)
	eve.Emit("sync-step-1", noVector)
	eve.Expect("awareness-update", word(1_000_000, 1, `{"user":"ann"}`))
	eve.Expect("sync-step-1", noVector).Ack(noUpdate)
	ann.Client().Close()
	eve.Expect("awareness-update", word(1_000_000, 2, "null"))
}

func FuzzPresence(f *testing.F) {
	f.Add(word(1_000_000, 1, `{"user":"ann"}`))
	f.Add([]byte{0})
	f.Add([]byte{1, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ok := parsePresence(data)
		if !ok {
			return
		}
		gone, ok := parsePresence(p.gone())
		if !ok || gone.client != p.client || gone.clock != p.clock+1 {
			t.Errorf("%v is gone as %v", p, gone)
		}
	})
}
