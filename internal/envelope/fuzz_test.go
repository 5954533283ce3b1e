package envelope

import (
	"encoding/hex"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/adapter"
)

// checkOpened holds what the rest of the program relies on in a message, and that it can be sent on.
func checkOpened(t *testing.T, m *adapter.Message, err error) {
	if err != nil || m == nil {
		if m != nil {
			t.Fatalf("message %+v with error %v", m, err)
		}
		return
	}
	if passed := (&adapter.Message{From: m.From, Seq: m.Seq, After: m.After, Directed: m.Directed}); m.Kind == 0 && m.Seq+m.Directed > 0 && reflect.DeepEqual(m, passed) {
		return
	}
	if m.Kind == 0 || m.From == here.uid || m.From == Emitter || max(m.Seq, m.After, m.Directed) > maxNumber {
		t.Fatalf("opened %+v", m)
	}
	if m.Kind == adapter.KindBroadcast {
		if _, _, err := m.Packet.Event(); err != nil || m.Packet.Namespace != here.namespace || !utf8.Valid(m.Packet.JSON) {
			t.Fatalf("packet %+v: %v", m.Packet, err)
		}
	}
	if m.Kind == adapter.KindListRooms || m.Kind == adapter.KindRooms {
		return // their ids change on the way
	}
	body, err := away.Sharded(m)
	if err != nil {
		if len(body) > 0 {
			t.Fatalf("body %q with error %v", body, err)
		}
		return // nested too deeply for MessagePack
	}
	again, err := here.Open(string(body))
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	if body[0] != '{' {
		return // values are spelled in another way
	}
	want := fromSender(*m)
	if want.Selection.Rooms, want.Selection.Except = again.Selection.Rooms, again.Selection.Except; !reflect.DeepEqual(again, &want) {
		t.Fatalf("%q became\n%+v, was\n%+v", body, again, &want)
	}
}

func FuzzOpen(f *testing.F) {
	for _, tt := range messages {
		f.Add([]byte(`{"type":` + tt.kind + `,"data":` + tt.data + `,"uid":"` + sender + `","nsp":"/chat"}`))
		packed, err := away.Packed(&tt.m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
		tt.m.Seq, tt.m.After, tt.m.Directed = 1, 1<<40, maxNumber
		if packed, err = away.Packed(&tt.m); err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	frame, err := hex.DecodeString(notepackFrame)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := here.Open(string(body))
		checkOpened(t, m, err)
	})
}

func FuzzOpenEntry(f *testing.F) {
	for _, tt := range messages {
		f.Add(tt.kind, tt.data)
		f.Add(tt.kind, tt.data[:len(tt.data)-1]+`,"seq":1,"after":1099511627776,"directed":9007199254740991}`)
	}
	f.Add("3", binaryEntry)
	f.Fuzz(func(t *testing.T, kind, data string) {
		m, err := here.OpenEntry(Entry{sender, "/chat", kind, data})
		checkOpened(t, m, err)
	})
}
