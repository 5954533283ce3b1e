package msgpack

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/server/parser"
)

// FuzzDecode reads arbitrary frames. What can be read must be valid JSON whose placeholders all stand for something, and
// must survive being written and read again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"93a661626364656683a47479706502a46461746192a568656c6c6fa5776f726c64a36e7370a12f83a5726f6f6d7391a27231a665786365707490a5666c61677380",
		"d7ff1d5353006553f100", "c70cff3b8b87c0ffffffffffffffff", "91c0", "d40000", "83a161d40000a16201a163c40101",
		"d501ffff", "c8000200ffff", "870101c002c303cbbff800000000000004c4016b05a905", "cf0020000000000001", "ca3dcccccd",
		"a8eda0bdedb880e282", "82a95f5f70726f746f5f5f81a161c40100a16201", "92c40081ac5f706c616365686f6c646572c3",
		"dd00000001df00000001db0000000161dc0000", "9191919191919190", "ddffffffff00",
	} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := skip(b); err == nil && (n < 1 || n > len(b)) {
			t.Fatalf("skipped %d of %d bytes", n, len(b))
		}
		p, err := Decode(b, &Limits{MaxDepth: MaxWriteDepth})
		if err != nil {
			return
		}
		if n, err := skip(b); err != nil || n != len(b) {
			t.Fatalf("read but not skipped: %d, %v", n, err)
		}
		if len(p.JSON) == 0 {
			return
		}
		if !json.Valid(p.JSON) || !utf8.Valid(p.JSON) {
			t.Fatalf("not JSON: %q", p.JSON)
		}
		for _, d := range []Dialect{Notepack, MessagePack} {
			checkAgain(t, d, p)
		}
	})
}

// checkAgain writes and reads p twice: from the first time on nothing may change any more.
func checkAgain(t *testing.T, d Dialect, p parser.Payload) {
	once, err := AppendPayload(nil, d, p)
	if err != nil {
		t.Fatalf("dialect %d: %s: %v", d, p.JSON, err)
	}
	q, err := Decode(once, nil)
	if err != nil {
		t.Fatalf("dialect %d: %s: written as %x: %v", d, p.JSON, once, err)
	}
	twice, err := AppendPayload(nil, d, q)
	if err != nil || !bytes.Equal(once, twice) {
		t.Fatalf("dialect %d: %s: %x, then %x, %v", d, p.JSON, once, twice, err)
	}
}

// FuzzRoundTrip writes arbitrary JSON and reads it back: it must be the value that encoding/json sees.
func FuzzRoundTrip(f *testing.F) {
	for _, seed := range []string{
		`["hello",{"b":[1,-1,1.5,1e21,1e-7,-0],"a":null,"c":true}]`, `{"10":1,"9":2,"x":3,"x":4,"\u0078":5}`,
		`"\ud83d\ude00 \ud83d \u0000\/"`, `[9007199254740993,18446744073709551616,1e400]`, `{"__proto__":1,"":{}}`,
		`{"_placeholder":true,"num":0}`, `[{"_placeholder":true,"num":1,"x":[{}]},{"_placeholder":true,"num":0.5}]`,
		`{"a0":0,"a1":0,"a2":0,"a3":0,"a4":0,"a5":0,"a6":0,"a7":0,"a8":0,"a9":0,"aa":0,"ab":0,"ac":0,"ad":0,"ae":0,"af":0,"ag":0}`,
		strings.Repeat("[", 50) + strings.Repeat("]", 50), " [ 1 , 2 ] ", `{"a" : 1 , "b" : [ ] }`, "", "[1,", `{"a"`,
	} {
		f.Add([]byte(seed), []byte("attachment"))
	}
	f.Fuzz(func(t *testing.T, text, attachment []byte) {
		plain := parser.Payload{JSON: text}
		binary := parser.Payload{JSON: text, Attachments: [][]byte{attachment, nil}}
		for _, d := range []Dialect{Notepack, MessagePack} {
			b, err := AppendPayload(nil, d, plain)
			if (err == nil) != (len(text) == 0 || json.Valid(text)) && err != ErrTooDeep {
				t.Fatalf("dialect %d: %q: %v", d, text, err)
			}
			if err == nil && len(text) > 0 {
				checkSame(t, text, b)
			}
			if b, err := AppendPayload(nil, d, binary); err == nil {
				if _, err := Decode(b, nil); err != nil && err != ErrPlaceholder {
					t.Fatalf("dialect %d: %q: written as %x: %v", d, text, b, err)
				}
			}
		}
	})
}

// checkSame compares what encoding/json makes of text with what it makes of the frame b.
func checkSame(t *testing.T, text, b []byte) {
	p, err := Decode(b, nil)
	if err != nil {
		t.Fatalf("%q: written as %x: %v", text, b, err)
	}
	var want, got any
	if json.Unmarshal(text, &want) != nil {
		return // a number beyond the range of a double
	}
	if err := json.Unmarshal(p.JSON, &got); err != nil {
		t.Fatalf("%q: read back as %q: %v", text, p.JSON, err)
	}
	// encoding/json has one U+FFFD for each invalid byte, Node one for each maximal part.
	if !utf8.Valid(text) {
		return
	}
	if !reflect.DeepEqual(settled(want), settled(got)) {
		t.Fatalf("%q: read back as %q", text, p.JSON)
	}
}

// settled is v without the key that is left out and without minus zero.
func settled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, protoKey)
		for key, item := range v {
			v[key] = settled(item)
		}
	case []any:
		for i, item := range v {
			v[i] = settled(item)
		}
	case float64:
		return math.Abs(v) * sign(v)
	}
	return v
}

func sign(f float64) float64 {
	if f < 0 {
		return -1
	}
	return 1
}
