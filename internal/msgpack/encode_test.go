package msgpack

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server/parser"
)

func payload(text string, attachments ...string) parser.Payload {
	p := parser.Payload{JSON: json.RawMessage(text)}
	for _, a := range attachments {
		p.Attachments = append(p.Attachments, []byte(a))
	}
	return p
}

// TestAppendPayload holds what the npm packages write; where the two differ, the second column is @msgpack/msgpack's.
func TestAppendPayload(t *testing.T) {
	long := strings.Repeat("x", 250)
	tests := []struct {
		payload               parser.Payload
		notepack, messagePack string
	}{
		{payload: payload(""), notepack: "c0"},
		{payload: payload(" null "), notepack: "c0"},
		{payload: payload("[true,false]"), notepack: "92c3c2"},
		{payload: payload("[0,-0,-0.0,127,128,255,256]"), notepack: "970000007fcc80ccffcd0100"},
		{payload: payload("[65535,65536,4294967295,4294967296]"), notepack: "94cdffffce00010000ceffffffffcf0000000100000000"},
		{payload: payload("[-1,-32,-33,-128,-129]"), notepack: "95ffe0d0dfd080d1ff7f"},
		{payload: payload("[-32768,-32769,-2147483648,-2147483649]"), notepack: "94d18000d2ffff7fffd280000000d3ffffffff7fffffff"},
		{payload: payload("1099511627776"), notepack: "cf0000010000000000"},
		{payload: payload("9007199254740991"), notepack: "cf001fffffffffffff"},
		{payload: payload("9007199254740993"), notepack: "cf0020000000000000", messagePack: "cb4340000000000000"},
		{payload: payload("-9007199254740993"), notepack: "d3ffe0000000000000", messagePack: "cbc340000000000000"},
		{payload: payload("18446744073709550000"), notepack: "cffffffffffffff800", messagePack: "cb43efffffffffffff"},
		{payload: payload("18446744073709551615"), notepack: "cb43f0000000000000"},
		{payload: payload("1e300"), notepack: "cb7e37e43c8800759c"},
		{payload: payload("-1e19"), notepack: "cbc3e158e460913d00"},
		{payload: payload("1e400"), notepack: "cb7ff0000000000000"},
		{payload: payload("[1.0,1e3,1.5]"), notepack: "9301cd03e8cb3ff8000000000000"},
		{payload: payload(`"a\u00e4\ud83d\ude00\n\/"`), notepack: "a961c3a4f09f98800a2f"},
		{payload: payload(`"\ud83d!"`), notepack: "a4efbfbd21", messagePack: "a4eda0bd21"},
		{payload: payload(`"\udc00` + long + `"`), notepack: "d9fdefbfbd" + hex.EncodeToString([]byte(long))},
		{payload: payload("\"a\xff\xe2\x82b\""), notepack: "a861efbfbdefbfbd62"},
		{payload: payload(`{"b":1,"a":2,"10":3,"9":4,"01":5}`), notepack: "85a13904a2313003a16201a16102a2303105"},
		{payload: payload(`{"a":1,"b":2,"\u0061":3}`), notepack: "82a16103a16202"},
		{payload: payload(`{"4294967295":1,"4294967294":2}`), notepack: "82aa3432393439363732393402aa3432393439363732393501"},
		{payload: payload(`{"__proto__":{"x":[1]},"y":[2]}`), notepack: "81a1799102"},
		{payload: payload(`{"_placeholder":true,"num":0}`, "\x01\x02\x03"), notepack: "c403010203"},
		{payload: payload(`{"_placeholder":true,"num":0.5}`, "\x01"), notepack: "c0"},
		{payload: payload(`{"_placeholder":true,"num":0}`), notepack: "82ac5f706c616365686f6c646572c3a36e756d00"},
		{payload: payload(`[{"a":{"_placeholder":true,"num":9},"a":{"\u005fplaceholder":true,"num":1,"x":{}}},7]`, "", "z"),
			notepack: "9281a161c4017a07"},
		{payload: payload(`["x",{"2":{"z":[[]],"1":{}},"1":[{}]},["y"]]`),
			notepack: "93a17882a1319180a13282a13180a17a919091a179"},
	}
	for _, test := range tests {
		for _, d := range []Dialect{Notepack, MessagePack} {
			want := test.notepack
			if d == MessagePack && test.messagePack != "" {
				want = test.messagePack
			}
			got, err := AppendPayload([]byte("before"), d, test.payload)
			if err != nil || hex.EncodeToString(got) != hex.EncodeToString([]byte("before"))+want {
				t.Errorf("%s, dialect %d: %x, %v, want %s", test.payload.JSON, d, got[6:], err, want)
			}
		}
	}
}

// TestHeads crosses the sizes at which the heads of maps, arrays, strings and binary grow.
func TestHeads(t *testing.T) {
	tests := []struct {
		n                      int
		items, pairs, str, bin string
	}{
		{n: 15, items: "9f", pairs: "8f", str: "af", bin: "c40f"},
		{n: 16, items: "dc0010", pairs: "de0010", str: "b0", bin: "c410"},
		{n: 31, items: "dc001f", pairs: "de001f", str: "bf", bin: "c41f"},
		{n: 32, items: "dc0020", pairs: "de0020", str: "d920", bin: "c420"},
		{n: 255, items: "dc00ff", pairs: "de00ff", str: "d9ff", bin: "c4ff"},
		{n: 256, items: "dc0100", pairs: "de0100", str: "da0100", bin: "c50100"},
		{n: 65535, items: "dcffff", pairs: "deffff", str: "daffff", bin: "c5ffff"},
		{n: 65536, items: "dd00010000", pairs: "df00010000", str: "db00010000", bin: "c600010000"},
	}
	for _, test := range tests {
		var object strings.Builder
		for i := range test.n {
			fmt.Fprintf(&object, `,"k%d":0`, i)
		}
		for want, p := range map[string]parser.Payload{
			test.items: payload("[" + strings.Repeat("0,", test.n-1) + "0]"),
			test.pairs: payload("{" + object.String()[1:] + "}"),
			test.str:   payload(`"` + strings.Repeat("s", test.n) + `"`),
			test.bin:   payload(`{"num":0,"_placeholder":true}`, strings.Repeat("b", test.n)),
		} {
			got, err := AppendPayload(nil, Notepack, p)
			if head := hex.EncodeToString(got[:min(len(got), len(want)/2)]); err != nil || head != want {
				t.Errorf("%d: %s, %v, want %s", test.n, head, err, want)
			}
			back, err := Decode(got, nil)
			if err != nil || len(back.Attachments) != len(p.Attachments) {
				t.Errorf("%d, %s: read back: %v", test.n, want, err)
			}
			if len(p.Attachments) == 0 && !bytes.Equal(back.JSON, p.JSON) {
				t.Errorf("%d, %s: read back as something else", test.n, want)
			}
		}
	}
}

func TestAppendPayloadRefuses(t *testing.T) {
	deep := strings.Repeat("[", MaxWriteDepth+1) + strings.Repeat("]", MaxWriteDepth+1)
	tests := map[string]error{
		" ": ErrPayload, "[": ErrPayload, "]": ErrPayload, "[1,]": ErrPayload, "{": ErrPayload, `{"a"`: ErrPayload,
		`{"a":`: ErrPayload, `{"a":1`: ErrPayload, `{"a":1,}`: ErrPayload, `{a:1}`: ErrPayload, "01": ErrPayload,
		"1.": ErrPayload, "1e": ErrPayload, "-": ErrPayload, "+1": ErrPayload, "tru": ErrPayload, "nul": ErrPayload,
		`"`: ErrPayload, `"\`: ErrPayload, `"\u12"`: ErrPayload, `"\x"`: ErrPayload, "\"\n\"": ErrPayload,
		"1 2": ErrPayload, "[1 2]": ErrPayload, `{"a" 1}`: ErrPayload, `{"a":1 "b":2}`: ErrPayload,
		`{"_placeholder":true}`: ErrAttachments, `{"_placeholder":true,"num":1}`: ErrAttachments,
		`{"_placeholder":true,"num":-1}`: ErrAttachments, `{"_placeholder":true,"num":"0"}`: ErrAttachments,
		deep: ErrTooDeep,
	}
	for text, want := range tests {
		got, err := AppendPayload([]byte("before"), Notepack, payload(text, "a"))
		if !errors.Is(err, want) || string(got) != "before" {
			t.Errorf("%.40s: %q, %v, want %v", text, got, err, want)
		}
	}
	if _, err := AppendPayload(nil, Notepack, payload(deep[1:len(deep)-1])); err != nil {
		t.Errorf("%d levels: %v", MaxWriteDepth, err)
	}
}

// TestBroadcastVector builds the classic adapter's broadcast that notepack.io 3.0.1 was seen to write.
func TestBroadcastVector(t *testing.T) {
	const want = "93a661626364656683a47479706502a46461746192a568656c6c6fa5776f726c64a36e7370a12f83a5726f6f6d7391a27231" +
		"a665786365707490a5666c61677380"
	b := AppendString(AppendArray(nil, 3), "abcdef")
	b = AppendInt(AppendString(AppendMap(b, 3), "type"), 2)
	b, err := AppendPayload(AppendString(b, "data"), Notepack, payload(`["hello","world"]`))
	if err != nil {
		t.Fatal(err)
	}
	b = AppendString(AppendString(b, "nsp"), "/")
	b = AppendStrings(AppendString(AppendMap(b, 3), "rooms"), []string{"r1"})
	b = AppendStrings(AppendString(b, "except"), nil)
	b = AppendMap(AppendString(b, "flags"), 0)
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAppendEnvelope(t *testing.T) {
	b := AppendNil(AppendBool(AppendBinary(AppendBinary(nil, nil), []byte{1}), true))
	b = AppendInt(AppendInt(AppendInt(b, -1<<63), 1<<63-1), -5)
	b = AppendString(AppendBool(b, false), "a\xffb")
	const want = "c400c40101c3c0d38000000000000000cf7ffffffffffffffffbc2a561efbfbd62"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestAppendPayloadAllocations holds that the allocations of writing do not grow with the payload.
func TestAppendPayloadAllocations(t *testing.T) {
	item := `{"text":"hello \u00e4 \"quoted\"","1":12345.5,"tags":["a","b"],"file":{"_placeholder":true,"num":0}}`
	p := payload("["+strings.Repeat(item+",", 50)+item+"]", "abc")
	dst := make([]byte, 0, 1<<16)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := AppendPayload(dst, Notepack, p); err != nil {
			t.Fatal(err)
		}
	})
	// The race detector makes the pool forget its scratch memory now and then.
	if allocs > 25 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestAppendKey(t *testing.T) {
	for _, key := range []string{"", "uid", "0123456789012345678901234567890"} {
		got, want := AppendKey([]byte{1}, key), AppendString([]byte{1}, key)
		if string(got) != string(want) {
			t.Errorf("%q: got %x, want %x", key, got, want)
		}
	}
}
