package msgpack

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server/parser"
)

// envelope is a message of the cluster adapters as a test takes it apart.
type envelope struct {
	kind  int64
	uid   string
	nsp   string
	data  parser.Payload
	rooms []string
}

func readEnvelope(b []byte) (envelope, error) {
	var e envelope
	r, err := NewReader(b, nil)
	if err != nil {
		return e, err
	}
	n, err := r.Map()
	for ; n > 0 && err == nil; n-- {
		var key []byte
		if key, err = r.Key(); err != nil {
			return e, err
		}
		switch string(key) {
		case "type":
			e.kind, err = r.Int()
		case "uid":
			e.uid, err = r.Text()
		case "nsp":
			e.nsp, err = r.Text()
		case "data":
			e.data, err = r.Payload()
		case "rooms":
			e.rooms, err = r.Texts()
		default:
			err = r.Skip()
		}
	}
	if err != nil {
		return e, err
	}
	return e, r.End()
}

func TestReaderTakesKeysInAnyOrder(t *testing.T) {
	b := AppendInt(AppendMap(nil, 7), 5) // a key that is a number
	b = AppendNil(b)
	b = append(AppendString(b, "unknown"), unhex(t, strings.Repeat("81a161", 100000)+"92c40101d7ff1d5353006553f100")...)
	b = append(AppendString(b, "rooms"), unhex(t, "93 a172 07 cb3ff8000000000000")...)
	b = append(AppendString(b, "data"), unhex(t, "92 a161 c40101")...)
	b = AppendString(AppendString(b, "nsp"), "/n")
	b = AppendInt(AppendString(b, "type"), 3)
	b = AppendString(AppendString(b, "uid"), "x\xffy")
	e, err := readEnvelope(b)
	if err != nil {
		t.Fatal(err)
	}
	if e.kind != 3 || e.uid != "x\ufffdy" || e.nsp != "/n" || !slices.Equal(e.rooms, []string{"r", "7", "1.5"}) {
		t.Errorf("%+v", e)
	}
	if string(e.data.JSON) != `["a",{"_placeholder":true,"num":0}]` || !bytes.Equal(e.data.Attachments[0], []byte{1}) {
		t.Errorf("data: %s %x", e.data.JSON, e.data.Attachments)
	}
	if _, err := readEnvelope(append(b, 0)); !errors.Is(err, ErrTrailing) {
		t.Errorf("with a trailing byte: %v", err)
	}
	for i := range b[:len(b)-1] {
		if i > 100 && i < len(b)-100 {
			continue
		}
		if _, err := readEnvelope(b[:i]); err == nil {
			t.Errorf("cut to %d bytes: no error", i)
		}
	}
}

// TestReaderStays holds that a value of another kind stays the next one.
func TestReaderStays(t *testing.T) {
	methods := map[Kind]func(r *Reader) error{
		Bool:   func(r *Reader) error { _, err := r.Bool(); return err },
		Int:    func(r *Reader) error { _, err := r.Int(); return err },
		String: func(r *Reader) error { _, err := r.Text(); return err },
		Binary: func(r *Reader) error { _, err := r.Binary(); return err },
		Array:  func(r *Reader) error { _, err := r.Array(); return err },
		Map:    func(r *Reader) error { _, err := r.Map(); return err },
	}
	frames := map[Kind]string{
		Nil: "c0", Bool: "c3", Int: "05", Float: "cb3ff8000000000000", String: "a161", Binary: "c40101", Array: "9101",
		Map: "810102", Extension: "d4ff01",
	}
	for kind, frame := range frames {
		for wanted, method := range methods {
			r, err := NewReader(unhex(t, frame), nil)
			if err != nil {
				t.Fatal(err)
			}
			err = method(&r)
			switch {
			case kind == wanted && err != nil:
				t.Errorf("%s as %d: %v", frame, wanted, err)
			case kind != wanted && (!errors.Is(err, ErrKind) || r.Kind() != kind || r.End() == nil):
				t.Errorf("%s as %d: %v", frame, wanted, err)
			}
		}
		r, _ := NewReader(unhex(t, frame), nil)
		if isNil := r.Nil(); isNil != (kind == Nil) || isNil != (r.End() == nil) {
			t.Errorf("%s: nil %v", frame, isNil)
		}
	}
}

func TestReaderInt(t *testing.T) {
	tests := []struct {
		frame string
		want  int64
		err   error
	}{
		{"cf7fffffffffffffff", 1<<63 - 1, nil}, {"d38000000000000000", -1 << 63, nil}, {"e0", -32, nil},
		{"cbc1e0000000000000", -1 << 31, nil}, {"ca40400000", 3, nil},
		{"cf8000000000000000", 0, ErrKind}, {"cb43e0000000000000", 0, ErrKind}, {"cb7ff8000000000000", 0, ErrKind},
		{"cb3ff8000000000000", 0, ErrKind}, {"d1", 0, ErrMalformed},
	}
	for _, test := range tests {
		r, _ := NewReader(unhex(t, test.frame), nil)
		if n, err := r.Int(); n != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %d, %v", test.frame, n, err)
		}
	}
}

func TestReaderBroadcast(t *testing.T) {
	r, err := NewReader(unhex(t, "93a661626364656683a47479706502a46461746192a568656c6c6fa5776f726c64a36e7370a12f"+
		"83a5726f6f6d7391a27231a665786365707490a5666c61677380"), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.Array()
	uid, err2 := r.Text()
	packet, err3 := r.Payload()
	opts, err4 := r.Raw()
	if err := errors.Join(err, err2, err3, err4, r.End()); err != nil || n != 3 || uid != "abcdef" {
		t.Fatal(n, uid, err)
	}
	if string(packet.JSON) != `{"type":2,"data":["hello","world"],"nsp":"/"}` {
		t.Errorf("packet: %s", packet.JSON)
	}
	if p, err := Decode(opts, nil); err != nil || string(p.JSON) != `{"rooms":["r1"],"except":[],"flags":{}}` {
		t.Errorf("opts: %s, %v", p.JSON, err)
	}
}

func TestReaderUndefined(t *testing.T) {
	r, _ := NewReader(unhex(t, "d40000"), nil)
	if !r.Nil() || r.End() != nil {
		t.Error("the undefined of notepack 2 is not taken for nil")
	}
	if _, err := NewReader(make([]byte, 9), &Limits{MaxBytes: 8}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("nine bytes with a limit of eight: %v", err)
	}
	r, _ = NewReader(unhex(t, "92 a161 c0"), nil)
	if _, err := r.Texts(); !errors.Is(err, ErrKind) || r.Kind() != Array {
		t.Errorf("nil among texts: %v", err)
	}
	r, _ = NewReader(unhex(t, "dd00000003 dd00000003 dd00000003 00"), nil)
	if err := r.Skip(); !errors.Is(err, ErrMalformed) {
		t.Errorf("arrays that together declare more than there is: %v", err)
	}
}

// TestLoneNames reads and writes names with lone surrogates, as @msgpack/msgpack has them: none becomes another.
func TestLoneNames(t *testing.T) {
	names := []string{"u\xed\xa0\x80", "u\xed\xa0\x81", "u\ufffd", "\xed\xb0\x80x", "\xed\xa0\x80\xed\xb0\x80"}
	r, err := NewReader(AppendStrings(nil, names), &Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Texts(); err != nil || !slices.Equal(got, names) {
		t.Errorf("got %q, %v", got, err)
	}
	r, _ = NewReader(AppendStrings(nil, []string{"a\xffb\xed\xa0", "\xed\xa0\x80\xed"}), &Limits{})
	if got, err := r.Texts(); err != nil || !slices.Equal(got, []string{"a\ufffdb\ufffd\ufffd", "\xed\xa0\x80\ufffd"}) {
		t.Errorf("got %q, %v", got, err)
	}
}
