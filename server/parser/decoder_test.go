package parser

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// The comparison with the reference, over thousands of packets, is compat-tests/test/parser.test.mjs. The tables here
// pin what it cannot see: which error, which limits, which memory.

func TestDecodeText(t *testing.T) {
	tests := []struct {
		text string
		want Packet
		json string
	}{
		{"", Packet{Type: Connect, Namespace: "/", ID: NoID}, ""},
		{"0", Packet{Type: Connect, Namespace: "/", ID: NoID}, ""},
		{`0/admin?token=x,{"a":1}`, Packet{Type: Connect, Namespace: "/admin?token=x", ID: NoID}, `{"a":1}`},
		{"1/admin", Packet{Type: Disconnect, Namespace: "/admin", ID: NoID}, ""},
		{"2", Packet{Type: Event, Namespace: "/", ID: NoID}, ""},
		{`2["a", 1.50 ]`, Packet{Type: Event, Namespace: "/", ID: NoID}, `["a", 1.50 ]`},
		{`2/x,0012["a"]`, Packet{Type: Event, Namespace: "/x", ID: 12}, `["a"]`},
		{`29007199254740991["a"]`, Packet{Type: Event, Namespace: "/", ID: maxSafeInteger}, `["a"]`},
		{`2 ["a"]`, Packet{Type: Event, Namespace: "/", ID: 0}, `["a"]`},
		{"30[]", Packet{Type: Ack, Namespace: "/", ID: 0}, "[]"},
		{`4"no"`, Packet{Type: ConnectError, Namespace: "/", ID: NoID}, `"no"`},
		{"2[\"\xff\xe2\x82\"]", Packet{Type: Event, Namespace: "/", ID: NoID}, "[\"\ufffd\ufffd\"]"},
	}
	for _, tt := range tests {
		var d jsonDecoder
		got, err := d.Text(nil, []byte(tt.text))
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if tt.json != "" {
			tt.want.JSON = []byte(tt.json)
		}
		if !reflect.DeepEqual(*got, tt.want) {
			t.Errorf("%q: got %+v, want %+v", tt.text, *got, tt.want)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	tests := []struct {
		text string
		want error
	}{
		{"7", ErrUnknownType}, {"x", ErrUnknownType}, {"\x80", ErrUnknownType},
		{"5", ErrAttachments}, {`50-["a"]`, ErrAttachments}, {`5-["a"]`, ErrAttachments}, {`51.5-["a"]`, ErrAttachments},
		{`511-["a"]`, ErrTooManyAttachments}, {`51e300-["a"]`, ErrTooManyAttachments}, {`51e400-["a"]`, ErrAttachments},
		{"2[", ErrPayload}, {"2[]", ErrPayload}, {`2["connect"]`, ErrPayload}, {`2["\u0063onnect"]`, ErrPayload},
		{"1{}", ErrPayload}, {"0[]", ErrPayload}, {"3{}", ErrPayload}, {"4[]", ErrPayload}, {`51-{}`, ErrPayload},
		{`29007199254740992["a"]`, ErrID}, {`2` + strings.Repeat("9", 5000) + `["a"]`, ErrID}, {`21 2["a"]`, ErrID},
		{"2" + strings.Repeat("[", maxDepth+1), ErrTooDeep}, {"3" + strings.Repeat(`[{"a":`, maxDepth), ErrTooDeep},
	}
	for _, tt := range tests {
		var d jsonDecoder
		if p, err := d.Text(nil, []byte(tt.text)); !errors.Is(err, tt.want) || p != nil || d.pending != nil {
			t.Errorf("%.40q: got %v, %v, want %v", tt.text, p, err, tt.want)
		}
	}
}

func TestDecodeAttachments(t *testing.T) {
	var d jsonDecoder
	text := []byte(`52-/x,7["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0.5}]`)
	if p, err := d.Text(nil, text); p != nil || err != nil || d.pending == nil {
		t.Fatalf("got %v, %v, pending %v", p, err, d.pending)
	}
	if _, err := d.Text(nil, []byte("2")); !errors.Is(err, ErrUnexpectedText) {
		t.Fatalf("text between attachments: %v", err)
	}
	if namespace, n := d.Incomplete(); namespace != "/x" || n != int64(len(text)) {
		t.Errorf("incomplete: %q, %d bytes", namespace, n)
	}
	first, second := []byte("first"), []byte("second")
	if p, err := d.Binary(nil, first); p != nil || err != nil {
		t.Fatalf("got %v, %v", p, err)
	}
	p, err := d.Binary(nil, second)
	if err != nil || d.pending != nil {
		t.Fatalf("%v, pending %v", err, d.pending != nil)
	}
	if namespace, n := d.Incomplete(); namespace != "" || n != 0 {
		t.Errorf("incomplete after the last attachment: %q, %d bytes", namespace, n)
	}
	clear(text)
	clear(first)
	clear(second)
	wantJSON := `["a",{"_placeholder":true,"num":1},null` + strings.Repeat(" ", len(`{"_placeholder":true,"num":0.5}`)-4) + `]`
	if p.Type != Event || p.Namespace != "/x" || p.ID != 7 || string(p.JSON) != wantJSON {
		t.Errorf("got %v %q %d %s", p.Type, p.Namespace, p.ID, p.JSON)
	}
	if want := [][]byte{[]byte("first"), []byte("second")}; !reflect.DeepEqual(p.Attachments, want) {
		t.Errorf("attachments %q", p.Attachments)
	}
	if _, err := d.Binary(nil, nil); !errors.Is(err, ErrUnexpectedBinary) {
		t.Errorf("binary without text: %v", err)
	}
}

func TestDecodeDropsAttachmentsThatNothingNames(t *testing.T) {
	for _, text := range []string{"51-", `51-["a"]`, `61-[{"_placeholder":true,"num":0.1}]`} {
		var d jsonDecoder
		if _, err := d.Text(nil, []byte(text)); err != nil {
			t.Fatal(err)
		}
		p, err := d.Binary(nil, []byte("x"))
		if err != nil || p.Attachments != nil {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
}

func TestDecodeIllegalPlaceholder(t *testing.T) {
	for _, num := range []string{"1", "-1", "1e400", `"0"`, "null", "-0.5"} {
		var d jsonDecoder
		if _, err := d.Text(nil, []byte(`51-["a",{"_placeholder":true,"num":`+num+`}]`)); err != nil {
			t.Fatal(err)
		}
		if p, err := d.Binary(nil, []byte("x")); p != nil || !errors.Is(err, ErrAttachments) {
			t.Errorf("num %s: %v, %v", num, p, err)
		}
	}
}

func TestLimits(t *testing.T) {
	lim := &Limits{MaxAttachments: 2, MaxBytes: 20, MaxDepth: 3}
	var d jsonDecoder
	for _, tt := range []struct {
		text string
		want error
	}{
		{`53-["a"]`, ErrTooManyAttachments},
		{`51-["` + strings.Repeat("a", 20) + `"]`, ErrTooLarge},
		{`2["` + strings.Repeat("a", 20) + `"]`, nil},
		{`2["a",[[]]]`, nil},
		{`2["a",[[[]]]]`, ErrTooDeep},
		{`2["a",[{"b":{}}]]`, ErrTooDeep},
	} {
		if _, err := d.Text(lim, []byte(tt.text)); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.text, err, tt.want)
		}
	}
	if _, err := d.Text(lim, []byte(`52-["a"]`)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Binary(lim, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Binary(lim, make([]byte, 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("bytes above the limit: %v", err)
	}
	d = jsonDecoder{}
	if _, err := d.Text(&Limits{MaxDepth: 1 << 30}, []byte("3"+strings.Repeat("[", maxDepth+1))); !errors.Is(err, ErrTooDeep) {
		t.Errorf("depth above the upper bound: %v", err)
	}
	if n := len(mustDecode(t, "3"+strings.Repeat("[", maxDepth)+strings.Repeat("]", maxDepth)).JSON); n != 2*maxDepth {
		t.Errorf("the deepest packet has %d bytes", n)
	}
}

func mustDecode(t testing.TB, text string, attachments ...[]byte) *Packet {
	t.Helper()
	var d jsonDecoder
	p, err := d.Text(nil, []byte(text))
	for _, data := range attachments {
		if err == nil {
			p, err = d.Binary(nil, data)
		}
	}
	if err != nil || p == nil {
		t.Fatalf("%.60s: %v, %v", text, p, err)
	}
	return p
}

func TestEvent(t *testing.T) {
	tests := []struct {
		text, name string
		args       []string
	}{
		{`2["a"]`, "a", nil},
		{` 2["a"]`[1:], "a", nil},
		{`2 [ "a\u00e9\ud83d\ude00\ud800" , 1 , { "x" : [ ] } ] `, "aé😀\xed\xa0\x80", []string{"1", `{ "x" : [ ] }`}},
		{`2[1.50,"x"]`, "1.5", []string{`"x"`}},
		{"2[1e21]", "1e+21", nil},
		{"2[-0]", "0", nil},
		{"2[1e999]", "Infinity", nil},
		{`2["a",0,1,2,3,4,5]`, "a", []string{"0", "1", "2", "3", "4", "5"}},
	}
	for _, tt := range tests {
		name, args, err := mustDecode(t, tt.text).Event()
		if err != nil || name != tt.name || args.Len() != len(tt.args) {
			t.Errorf("%s: %q, %d arguments, %v", tt.text, name, args.Len(), err)
			continue
		}
		for i, want := range tt.args {
			if got := string(args.At(i).JSON); got != want {
				t.Errorf("%s: argument %d is %s", tt.text, i, got)
			}
		}
		if p := args.At(len(tt.args)); p.JSON != nil || args.At(-1).JSON != nil {
			t.Errorf("%s: an argument beyond the last", tt.text)
		}
	}
	for _, p := range []*Packet{
		mustDecode(t, "2"), {}, {Payload: Payload{JSON: []byte("[]")}}, {Payload: Payload{JSON: []byte(`[null]`)}}, {Payload: Payload{JSON: []byte(`["a"`)}},
		{Payload: Payload{JSON: []byte(`{}`)}}, {Payload: Payload{JSON: []byte(`["a"]]`)}}, {Payload: Payload{JSON: []byte(`["a",]`)}}, {Payload: Payload{JSON: []byte(` `)}},
	} {
		if name, args, err := p.Event(); !errors.Is(err, ErrNoEvent) || name != "" || args.Len() != 0 {
			t.Errorf("%s: %q, %v", p.JSON, name, err)
		}
	}
}

func TestAppendText(t *testing.T) {
	binary := Payload{JSON: []byte(`["a",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}}}
	tests := []struct {
		packet Packet
		want   string
	}{
		{Packet{Type: Connect, ID: NoID}, "0"},
		{Packet{Type: Connect, Namespace: "/", ID: NoID, Payload: Payload{JSON: []byte(`{"sid":"x"}`)}}, `0{"sid":"x"}`},
		{Packet{Type: Disconnect, Namespace: "/a", ID: NoID}, "1/a,"},
		{Packet{Type: Event, Namespace: "/a", ID: 0, Payload: Payload{JSON: []byte(`["a"]`)}}, `2/a,0["a"]`},
		{Packet{Type: BinaryEvent, ID: -7, Payload: Payload{JSON: []byte(`["a"]`)}}, `2["a"]`},
		{Packet{Type: BinaryAck, ID: 7, Payload: Payload{JSON: []byte(`["a"]`)}}, `37["a"]`},
		{Packet{Type: Event, ID: 12, Payload: binary}, `51-12["a",{"_placeholder":true,"num":0}]`},
		{Packet{Type: Ack, Namespace: "/a", ID: 12, Payload: binary}, `61-/a,12["a",{"_placeholder":true,"num":0}]`},
		{Packet{Type: ConnectError, Namespace: "/a", ID: NoID, Payload: Payload{JSON: []byte(`{"message":"m"}`)}}, `4/a,{"message":"m"}`},
	}
	for _, tt := range tests {
		if got := tt.packet.AppendText([]byte("x")); string(got) != "x"+tt.want {
			t.Errorf("got %s, want x%s", got, tt.want)
		}
	}
}

func TestType(t *testing.T) {
	if got := Connect.String() + " " + BinaryAck.String() + " " + Type(9).String(); got != "CONNECT BINARY_ACK Type(9)" {
		t.Error(got)
	}
}

func TestReservedEvent(t *testing.T) {
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		escaped := `"`
		for _, c := range []byte(name) {
			escaped += `\u00` + string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15])
		}
		if !ReservedEvent(name) || !reservedText([]byte(escaped+`"`)) || !reservedText([]byte(`"`+name+`"`)) {
			t.Errorf("%s is not reserved", name)
		}
	}
	for _, name := range []string{"", "error", "connection", "Connect"} {
		if ReservedEvent(name) {
			t.Errorf("%s is reserved", name)
		}
	}
}

func TestDecodeAllocations(t *testing.T) {
	var d jsonDecoder
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Text(nil, chatText); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("decoding an event allocates %v times", n)
	}
	for text, want := range map[string]float64{`312[]`: 0, `312["ok"]`: 1, string(chatText): 1} {
		data := []byte(text)
		if n := testing.AllocsPerRun(100, func() {
			p, err := d.Text(nil, data)
			if err != nil {
				t.Fatal(err)
			}
			p.Recycle()
		}); n > want {
			t.Errorf("decoding %s into a packet that is used again allocates %v times, want %v", text, n, want)
		}
	}
	p := mustDecode(t, string(chatText))
	if n := testing.AllocsPerRun(100, func() {
		if _, args, err := p.Event(); err != nil || args.Len() != 1 {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("splitting an event allocates %v times", n)
	}
	if size := reflect.TypeFor[jsonDecoder]().Size(); size != reflect.TypeFor[*int]().Size() {
		t.Errorf("an idle decoder takes %d bytes", size)
	}
}

// A packet whose attachment count promises much must not cost memory before the attachments come.
func TestDecodeAllocatesWhatArrives(t *testing.T) {
	lim := &Limits{MaxAttachments: math.MaxInt32, MaxBytes: 100}
	var d jsonDecoder
	if _, err := d.Text(lim, []byte(`52e9-["a"]`)); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := d.Binary(lim, []byte("xx")); err != nil {
			t.Fatal(err)
		}
	}
	if n := cap(d.pending.packet.Attachments); n > 128 {
		t.Errorf("room for %d attachments", n)
	}
}

func TestAppendValidUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"plain é": "plain é", "\x80": "\ufffd", "\xe2\x82": "\ufffd", "\xe2\x82a": "\ufffda", "\xf0\x90\x80": "\ufffd",
		"\xed\xa0\x80": "\ufffd\ufffd\ufffd", "\xc0\xaf": "\ufffd\ufffd", "\xf4\x90": "\ufffd\ufffd", "\ufffd": "\ufffd", "\xf1\x80\xe2\x82\xac": "\ufffd€",
	} {
		if got := jsontext.AppendValidUTF8(nil, []byte(in)); !bytes.Equal(got, []byte(want)) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
