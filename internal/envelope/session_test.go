package envelope

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// record is what Node stores for {sid: "S", pid: "P", rooms: ["S", "a"], data: {n: 1, b: <01>}}.
const record = "hKNzaWShU6NwaWShUKVyb29tc5KhU6FhpGRhdGGCoW4BoWLEAQE="

func TestSession(t *testing.T) {
	data, err := parser.Marshal(struct {
		N int    `json:"n"`
		B []byte `json:"b"`
	}{1, []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	s := &adapter.Session{SocketID: "S", PID: "P", Rooms: []string{"S", "a"}, Data: data}
	if got, err := EncodeSession(s); err != nil || got != record {
		t.Errorf("error %v, encoded %s, want %s", err, got, record)
	}
	if got, err := DecodeSession(record); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("error %v, decoded %+v, want %+v", err, got, s)
	}
	s.Data = parser.Payload{}
	empty, err := EncodeSession(s)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeSession(empty); err != nil || string(got.Data.JSON) != "{}" {
		t.Errorf("error %v, decoded %+v", err, got)
	}
	s.Data = text("{")
	if got, err := EncodeSession(s); err == nil {
		t.Errorf("encoded %s", got)
	}
}

func TestSessionMalformed(t *testing.T) {
	packed := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, s := range map[string]string{
		"empty":        "",
		"base64":       "!",
		"no map":       packed("\x90"),
		"cut short":    record[:20],
		"trailing":     packed("\x80\x80"),
		"no sid":       packed("\x82\xa3pid\xa1P\xa5rooms\x90"),
		"no pid":       packed("\x82\xa3sid\xa1S\xa5rooms\x90"),
		"no rooms":     packed("\x82\xa3sid\xa1S\xa3pid\xa1P"),
		"sid is a map": packed("\x81\xa3sid\x80"),
		"too long":     strings.Repeat("A", maxSession+4),
	} {
		if got, err := DecodeSession(s); !errors.Is(err, ErrMalformed) || got != nil {
			t.Errorf("%s: decoded %+v, error %v", name, got, err)
		}
	}
}

func FuzzDecodeSession(f *testing.F) {
	f.Add(record)
	f.Fuzz(func(t *testing.T, record string) {
		s, err := DecodeSession(record)
		if err != nil {
			return
		}
		again, err := EncodeSession(s)
		if err != nil {
			return // nested too deeply
		}
		got, err := DecodeSession(again)
		if err != nil || got.SocketID != s.SocketID || got.PID != s.PID || !reflect.DeepEqual(got.Rooms, s.Rooms) {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
	})
}
