package envelope

import (
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestNumbers: every kind of message carries its numbers in every form, as the last members of its data, and none that is 0.
func TestNumbers(t *testing.T) {
	for _, tt := range messages {
		for members, m := range map[string]adapter.Message{
			`"seq":7`:                {Seq: 7},
			`"after":1`:              {After: 1},
			`"directed":2`:           {Directed: 2},
			`"after":9,"directed":3`: {After: 9, Directed: 3},
			`"seq":9007199254740991,"after":4294967296,"directed":65536`: {Seq: maxNumber, After: 1 << 32, Directed: 1 << 16},
		} {
			numbered := tt.m
			numbered.Seq, numbered.After, numbered.Directed = m.Seq, m.After, m.Directed
			want := fromSender(numbered)
			data := strings.TrimSuffix(tt.data, "}") + "," + members + "}"
			check := func(form string, got *adapter.Message, err error) {
				t.Helper()
				if err != nil || !reflect.DeepEqual(got, &want) {
					t.Errorf("%s of kind %d, %s: error %v, opened\n%+v, want\n%+v", form, tt.m.Kind, members, err, got, &want)
				}
			}
			body, err := away.Sharded(&numbered)
			if wire := `{"type":` + tt.kind + `,"data":` + data + `,"uid":"` + sender + `","nsp":"/chat"}`; err != nil || string(body) != wire {
				t.Errorf("sharded: error %v\ngot  %s\nwant %s", err, body, wire)
			}
			got, err := here.Open(string(body))
			check("sharded", got, err)

			entry, err := away.Entry(&numbered, false)
			if err != nil || entry.Data != data {
				t.Errorf("entry: error %v\ngot  %s\nwant %s", err, entry.Data, data)
			}
			got, err = here.OpenEntry(entry)
			check("entry", got, err)

			packed, err := away.Packed(&numbered)
			if err != nil {
				t.Fatal(err)
			}
			if !away.Own(string(packed)) || !away.Own(string(body)) {
				t.Errorf("own message of kind %d with numbers is not recognised", tt.m.Kind)
			}
			if want.Kind == adapter.KindServerReply && want.Payload.JSON == nil {
				want.Payload = text("null")
			}
			got, err = here.Open(string(packed))
			check("packed", got, err)
		}
	}
}

// TestPassed: a numbered message for rooms that nobody here is in leaves its numbers, since others wait for it.
func TestPassed(t *testing.T) {
	binary, err := parser.MarshalEvent("event", []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []parser.Payload{text(`["event"]`), binary} {
		for _, numbers := range []adapter.Message{{}, {After: 3}, {Seq: 4}, {Directed: 5, After: 6}} {
			m := adapter.Message{
				Kind: adapter.KindBroadcast, Packet: event(payload), Selection: adapter.Selection{Rooms: []string{"x", "y"}},
				Seq: numbers.Seq, After: numbers.After, Directed: numbers.Directed,
			}
			want := &adapter.Message{From: sender, Seq: m.Seq, After: m.After, Directed: m.Directed}
			if m.Seq == 0 && m.Directed == 0 {
				want = nil
			}
			body, err := away.Sharded(&m)
			if err != nil {
				t.Fatal(err)
			}
			entry, err := away.Entry(&m, false)
			if err != nil {
				t.Fatal(err)
			}
			packed, err := away.Packed(&m)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := here.OpenEntry(entry)
			if err != nil || !reflect.DeepEqual(opened, want) {
				t.Errorf("%+v: error %v, opened %+v", entry, err, opened)
			}
			for _, frame := range [][]byte{body, packed} {
				if opened, err := here.Open(string(frame)); err != nil || !reflect.DeepEqual(opened, want) {
					t.Errorf("%s: error %v, opened %+v", hex.EncodeToString(frame), err, opened)
				}
			}
		}
	}
}

// TestLoneNames reads room names with lone surrogates as JSON.stringify writes them: none becomes another.
func TestLoneNames(t *testing.T) {
	list, ok := names(`["u\ud800", "u\ud801","u` + "\ufffd" + `","\"\ud83d\ude00\udc00",42]`)
	if want := []string{"u\xed\xa0\x80", "u\xed\xa0\x81", "u\ufffd", "\"😀\xed\xb0\x80", "42"}; !ok || !slices.Equal(list, want) {
		t.Errorf("got %q, %v", list, ok)
	}
	for _, broken := range []string{`["u\ud80"]`, `["\x"]`, "[\"\\n\n\"]"} {
		if list, ok := names(broken); ok {
			t.Errorf("%s: got %q", broken, list)
		}
	}
}
