package parser

import (
	"errors"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	one := [][]byte{{1}}
	lim := &Limits{MaxDepth: 3}
	for _, tt := range []struct {
		name   string
		packet Packet
		want   error
	}{
		{"connect", Packet{Type: Connect, ID: NoID, Payload: Payload{JSON: []byte(`{"a":1}`)}}, nil},
		{"disconnect", Packet{Type: Disconnect, Namespace: "/é?a=b", ID: NoID}, nil},
		{"event", Packet{Type: Event, ID: maxSafeInteger, Payload: Payload{[]byte(`["a",` + slot0 + `]`), one}}, nil},
		{"unnamed attachment", Packet{Type: Ack, Payload: Payload{[]byte(`[]`), one}}, nil},
		{"plain data like a placeholder", Packet{Type: Event, Payload: Payload{JSON: []byte(`["a",` + slot1 + `]`)}}, nil},
		{"type", Packet{Type: BinaryEvent, Payload: Payload{JSON: []byte(`["a"]`)}}, ErrUnknownType},
		{"no slash", Packet{Type: Connect, Namespace: "a"}, ErrNamespace},
		{"comma", Packet{Type: Connect, Namespace: "/a,b"}, ErrNamespace},
		{"namespace not UTF-8", Packet{Type: Connect, Namespace: "/\xff"}, ErrNamespace},
		{"id", Packet{Type: Ack, ID: maxSafeInteger + 1}, ErrID},
		{"no array", Packet{Type: Event, Payload: Payload{JSON: []byte(`{}`)}}, ErrPayload},
		{"no name", Packet{Type: Event, Payload: Payload{JSON: []byte(`[null]`)}}, ErrPayload},
		{"reserved name", Packet{Type: Event, Payload: Payload{JSON: []byte(`["disconnec\u0074"]`)}}, ErrPayload},
		{"auth", Packet{Type: Connect, Payload: Payload{JSON: []byte(`"a"`)}}, ErrPayload},
		{"data of a disconnect", Packet{Type: Disconnect, Payload: Payload{JSON: []byte(`{}`)}}, ErrPayload},
		{"white space in front", Packet{Type: Event, Payload: Payload{JSON: []byte(` ["a"]`)}}, ErrPayload},
		{"two values", Packet{Type: Event, Payload: Payload{JSON: []byte(`["a"]["b"]`)}}, ErrPayload},
		{"cut short", Packet{Type: Event, Payload: Payload{JSON: []byte(`["a"`)}}, ErrPayload},
		{"surrogate in UTF-8", Packet{Type: Event, Payload: Payload{JSON: []byte("[\"\xed\xa0\x80\"]")}}, ErrPayload},
		{"depth", Packet{Type: Event, Payload: Payload{JSON: []byte(`["a",[[[]]]]`)}}, ErrTooDeep},
		{"placeholder beyond", Packet{Type: Event, Payload: Payload{[]byte(`["a",` + slot1 + `]`), one}}, ErrAttachments},
		{"placeholder with a fraction", Packet{Type: Ack, Payload: Payload{[]byte(`[{"_placeholder":true,"num":0.5}]`), one}}, ErrAttachments},
		{"attachment of a connect", Packet{Type: Connect, Payload: Payload{[]byte(slot0), one}}, ErrAttachments},
		{"attachment without JSON", Packet{Type: Ack, Payload: Payload{nil, one}}, ErrAttachments},
	} {
		if err := tt.packet.Check(lim); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestRecognizesConnect(t *testing.T) {
	for text, want := range map[string]bool{"0": true, `0/a,{"b":1}`: true, "": false, `2["a"]`: false, "{": false, "\x83\xa4type": false} {
		if got := (JSON{}).Recognizes([]byte(text), false); got != want {
			t.Errorf("text %q: %v", text, got)
		}
		if (JSON{}).Recognizes([]byte(text), true) {
			t.Errorf("binary message %q is recognized", text)
		}
	}
}

func TestLimitsWithDefaults(t *testing.T) {
	want := Limits{MaxAttachments: 10, MaxBytes: 11_000_000, MaxDepth: 4096}
	if got := (Limits{}).WithDefaults(); got != want {
		t.Errorf("got %+v", got)
	}
	want = Limits{MaxAttachments: 1, MaxBytes: 2, MaxDepth: 3}
	if got := want.WithDefaults(); got != want {
		t.Errorf("got %+v", got)
	}
}

// The packet must stay where the sender has it: one more allocation per event otherwise.
func TestAppendAllocatesNothing(t *testing.T) {
	codec := Codec(JSON{})
	buf := make([]byte, 0, 1024)
	payload := Payload{JSON: []byte(`["a","` + strings.Repeat("x", 64) + `"]`)}
	if n := testing.AllocsPerRun(100, func() {
		p := Packet{Type: Event, Namespace: "/", ID: NoID, Payload: payload}
		if _, form, err := codec.Append(buf, p); form != TextWithAttachments || err != nil {
			t.Fatal(form, err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
