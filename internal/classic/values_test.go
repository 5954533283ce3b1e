package classic

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestJSON compares with what npm's adapter and emitter write with {encode: JSON.stringify, decode: JSON.parse} for parser.
func TestJSON(t *testing.T) {
	binary, err := parser.MarshalEvent("m", []byte{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		uid  string
		m    adapter.Message
		body string
	}{
		{theirUID, adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "m"), Selection: adapter.Selection{Rooms: []string{"r"}}, Flags: adapter.Flags{Volatile: true}},
			`["uvwxyz",{"type":2,"data":["m"],"nsp":"/chat"},{"rooms":["r"],"except":[],"flags":{"volatile":true}}]`},
		{Emitter, adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "m"), Flags: adapter.Flags{NoCompress: true}},
			`["emitter",{"type":2,"data":["m"],"nsp":"/chat"},{"rooms":[],"flags":{"compress":false},"except":[]}]`},
		{theirUID, adapter.Message{Kind: adapter.KindBroadcast, Packet: &parser.Packet{Payload: binary}},
			`["uvwxyz",{"type":2,"data":["m",{"type":"Buffer","data":[1,2]}],"nsp":"/chat"},{"rooms":[],"except":[],"flags":{}}]`},
	} {
		_, body, err := New("socket.io", "/chat", tt.uid, NewJSON()).Encode(&tt.m)
		if err != nil || string(body) != tt.body {
			t.Errorf("%s, error %v", body, err)
		}
	}
}

// TestOtherParser names the encoding of what cannot be read.
func TestOtherParser(t *testing.T) {
	packed, text := New("socket.io", "/", theirUID, &MessagePack{}), New("socket.io", "/", theirUID, NewJSON())
	m := &adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "/", "m")}
	ask := &adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "/", "m"), Request: "1"}
	for _, tt := range []struct {
		from, to *Codec
		m        *adapter.Message
		want     string // "" if it can be read
	}{
		{packed, text, m, "it looks like msgpack, but the parser of this node is json"}, {packed, text, ask, "it looks like msgpack"},
		{text, packed, m, "it looks like json, but the parser of this node is msgpack"}, {text, packed, ask, ""},
	} {
		to := New("socket.io", "/", ourUID, tt.to.encoding)
		_, body, err := tt.from.Encode(tt.m)
		if err != nil {
			t.Fatal(err)
		}
		if tt.m.Request == "" {
			_, err = to.DecodeBroadcast(body)
		} else {
			_, err = to.DecodeRequest(body)
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s to %s: %v", tt.from.encoding.Name(), tt.to.encoding.Name(), err)
		}
	}
}
