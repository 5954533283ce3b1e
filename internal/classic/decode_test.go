package classic

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/server/parser"
)

func TestDecodeBroadcast(t *testing.T) {
	for _, tt := range []struct {
		name, namespace, frame string
		want                   adapter.Message
	}{
		{
			name: "numeric room", namespace: "/chat",
			frame: "93a675767778797a83a47479706502a46461746191a16ea36e7370a52f6368617483a5726f6f6d739105a665786365707490a5666c61677380",
			want:  adapter.Message{From: theirUID, Packet: event(t, "/chat", "n"), Selection: adapter.Selection{Rooms: []string{"5"}}},
		},
		{
			name: "emitter, flags", namespace: "/chat",
			frame: "93a7656d697474657283a47479706502a46461746192a568656c6c6f01a36e7370a52f6368617483a5726f6f6d7391a27231a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2a665786365707490",
			want: adapter.Message{
				Packet: event(t, "/chat", "hello", 1), Selection: adapter.Selection{Rooms: []string{"r1"}},
				Flags: adapter.Flags{Volatile: true, NoCompress: true},
			},
		},
		{
			// ["uvwxyz",{type:5,data:["b",Buffer]},{}, "more"]
			name: "no namespace, nothing else, a fourth element", namespace: "/",
			frame: "94a675767778797a82a47479706505a46461746192a162c4010780a46d6f7265",
			want:  adapter.Message{From: theirUID, Packet: event(t, "/", "b", []byte{7})},
		},
		{
			// flags {volatile:false,compress:true,timeout:1000,broadcast:true}, rooms and except null, id 7
			name: "flags that are not set", namespace: "/",
			frame: "93a675767778797a84a47479706502a46461746191a162a36e7370a12fa26964" + "07" +
				"83a5726f6f6d73c0a6657863657074c0a5666c61677384a8766f6c6174696c65c2a8636f6d7072657373c3a774696d656f7574cd03e8a962726f616463617374c3",
			want: adapter.Message{
				From: theirUID, Flags: adapter.Flags{Timeout: time.Second},
				Packet: &parser.Packet{Type: parser.Event, Namespace: "/", ID: 7, Payload: parser.Payload{JSON: []byte(`["b"]`)}},
			},
		},
	} {
		m, err := New("socket.io", tt.namespace, ourUID, &MessagePack{}).DecodeBroadcast(unhex(t, tt.frame))
		if err != nil || m == nil {
			t.Errorf("%s: %+v, error %v", tt.name, m, err)
			continue
		}
		tt.want.Kind = adapter.KindBroadcast
		if !sameMessage(m, &tt.want) {
			t.Errorf("%s: decoded as %+v with packet %+v", tt.name, m, m.Packet)
		}
	}
}

func TestDecodeForeign(t *testing.T) {
	c := codec(ourUID)
	_, own, err := c.Encode(&adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "a")})
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := New("socket.io", "/other", theirUID, &MessagePack{}).Encode(&adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "/other", "a")})
	if err != nil {
		t.Fatal(err)
	}
	for name, frame := range map[string][]byte{"own": own, "other namespace": other} {
		if m, err := c.DecodeBroadcast(frame); m != nil || err != nil {
			t.Errorf("%s: decoded as %+v, error %v", name, m, err)
		}
	}
	for _, m := range []adapter.Message{
		{Kind: adapter.KindFetch, Request: "1"},
		{Kind: adapter.KindBroadcast, Request: "1", Packet: event(t, "/chat", "a")},
	} {
		_, own, err := c.Encode(&m)
		if err != nil {
			t.Fatal(err)
		}
		if !c.OwnRequest(string(own)) || codec(theirUID).OwnRequest(string(own)) {
			t.Errorf("own request of kind %d is not recognised unread", m.Kind)
		}
		if q, err := c.DecodeRequest(own); q != nil || err != nil {
			t.Errorf("own request: decoded as %+v, error %v", q, err)
		}
	}
}

func TestDecodeRequest(t *testing.T) {
	ack := &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["q"]`)}}
	for _, tt := range []struct {
		body string // in hex unless it is JSON
		want adapter.Message
	}{
		{`{"requestId":"q","type":0,"rooms":["a",5,1.5]}`, adapter.Message{Kind: adapter.KindFetch, Request: "iq", Selection: adapter.Selection{Rooms: []string{"a", "5", "1.5"}}}},
		{`{"uid":"uvwxyz","requestId":"q","type":1}`, adapter.Message{Kind: adapter.KindListRooms, From: theirUID, Request: "nq"}},
		{`{"uid":"uvwxyz","type":2,"opts":{"rooms":["r"],"except":["x"]},"rooms":["a"]}`, adapter.Message{Kind: adapter.KindJoin, From: theirUID, Selection: adapter.Selection{Rooms: []string{"r"}, Except: []string{"x"}}, Rooms: []string{"a"}}},
		{`{"type":3,"opts":{"rooms":[],"except":[]},"rooms":["a"]}`, adapter.Message{Kind: adapter.KindLeave, Rooms: []string{"a"}}},
		{`{"uid":"emitter","type":4,"opts":{"rooms":[],"except":[]},"close":true}`, adapter.Message{Kind: adapter.KindDisconnect, Close: true}},
		{`{"uid":"uvwxyz","requestId":"q","type":5,"opts":{"rooms":["r"],"except":null}}`, adapter.Message{Kind: adapter.KindFetch, From: theirUID, Request: "nq", Selection: adapter.Selection{Rooms: []string{"r"}}}},
		{`{"uid":"uvwxyz","type":6,"data":["e",{"type":"Buffer","data":[1]}]}`, adapter.Message{Kind: adapter.KindServerSide, From: theirUID, Payload: parser.Payload{JSON: []byte(`["e",{"type":"Buffer","data":[1]}]`)}}},
		{`{"uid":"uvwxyz","requestId":"q","type":6,"data":["e"]}`, adapter.Message{Kind: adapter.KindServerSide, From: theirUID, Request: "nq", Payload: parser.Payload{JSON: []byte(`["e"]`)}}},
		{`{"uid":"uvwxyz","requestId":"q","type":7,"packet":{"type":2,"data":["q"],"nsp":"/chat"},"opts":{"rooms":[],"except":[],"flags":{"timeout":1000.5,"volatile":true,"compress":false}}}`, adapter.Message{Kind: adapter.KindBroadcast, From: theirUID, Request: "nq", Packet: ack, Flags: adapter.Flags{Timeout: time.Second, Volatile: true, NoCompress: true}}},
		{"85a3756964a675767778797aa9726571756573744964a171a47479706507a67061636b657483a47479706502a46461746191a171a36e7370a52f63686174a46f70747383a5726f6f6d7391a27231a665786365707490a5666c61677381a774696d656f7574cd03e8", adapter.Message{Kind: adapter.KindBroadcast, From: theirUID, Request: "nq", Packet: ack, Selection: adapter.Selection{Rooms: []string{"r1"}}, Flags: adapter.Flags{Timeout: time.Second}}},
	} {
		q := decodeRequest(t, tt.body)
		if q != nil && !sameMessage(&q.Message, &tt.want) {
			t.Errorf("%s: decoded as %+v", tt.body, q.Message)
		}
	}
}

func decodeRequest(t *testing.T, body string) *Request {
	t.Helper()
	frame := []byte(body)
	if body[0] != '{' {
		frame = unhex(t, body)
	}
	q, err := codec(ourUID).DecodeRequest(frame)
	if err != nil || q == nil {
		t.Errorf("%s: decoded as %+v, error %v", body, q, err)
	}
	return q
}

// TestDecodeOldNode reads commands about one socket.
func TestDecodeOldNode(t *testing.T) {
	for _, tt := range []struct {
		body string
		want adapter.Message
	}{
		{`{"type":2,"sid":"s","room":"a","requestId":"q"}`, adapter.Message{Kind: adapter.KindJoin, Rooms: []string{"a"}}},
		{`{"type":3,"sid":"s","room":7,"requestId":"q"}`, adapter.Message{Kind: adapter.KindLeave, Rooms: []string{"7"}}},
		{`{"type":4,"sid":"s","close":true,"requestId":"q"}`, adapter.Message{Kind: adapter.KindDisconnect, Close: true}},
	} {
		tt.want.Selection.Rooms = []string{"s"}
		q := decodeRequest(t, tt.body)
		if q != nil && (!sameMessage(&q.Message, &tt.want) || q.Socket != "s") {
			t.Errorf("%s: decoded as %+v", tt.body, q)
		}
	}
}

// TestDecodeNodeAnswer reads answers as Node 8.3 writes them.
func TestDecodeNodeAnswer(t *testing.T) {
	c := codec(ourUID)
	for _, tt := range []struct {
		body string
		want adapter.Message
	}{
		{`{"requestId":"abcdef.1","sockets":[{"id":"s","handshake":{"h":1},"rooms":["s",5],"data":{}}]}`, adapter.Message{Kind: adapter.KindSockets, Sockets: []adapter.SocketDetails{{ID: "s", Handshake: []byte(`{"h":1}`), Rooms: []string{"s", "5"}, Data: []byte(`{}`)}}}},
		{`{"requestId":"abcdef.1","rooms":["a"]}`, adapter.Message{Kind: adapter.KindRooms, Rooms: []string{"a"}}},
		{`{"type":6,"requestId":"abcdef.1","data":null}`, adapter.Message{Kind: adapter.KindServerReply, Payload: parser.Payload{JSON: []byte(`null`)}}},
		{`{"type":8,"requestId":"abcdef.1","clientCount":3}`, adapter.Message{Kind: adapter.KindCount, Count: 3}},
		{"83a47479706509a9726571756573744964a86162636465662e31a67061636b6574c40107", adapter.Message{Kind: adapter.KindAck, Payload: parser.Payload{JSON: []byte(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{{7}}}}},
		{"82a9726571756573744964a86162636465662e31a7736f636b6574739183a26964a173a9" + "68616e647368616b65" + "80a464617461c40107", adapter.Message{Kind: adapter.KindSockets, Sockets: []adapter.SocketDetails{{ID: "s", Handshake: []byte(`{}`), Data: []byte(`{"type":"Buffer","data":[7]}`)}}}},
	} {
		frame := []byte(tt.body)
		if tt.body[0] != '{' {
			frame = unhex(t, tt.body)
		}
		tt.want.Request = "1"
		if m, err := c.DecodeAnswer(frame); err != nil || m == nil || !sameMessage(m, &tt.want) {
			t.Errorf("%s: decoded as %+v, error %v", tt.body, m, err)
		}
	}
}

func TestLongJSON(t *testing.T) {
	c := New("socket.io", "/", ourUID, &MessagePack{})
	padding := strings.Repeat(" ", maxJSON)
	if q, err := c.DecodeRequest([]byte(`{"type":1,"requestId":"q"` + padding + `}`)); !errors.Is(err, ErrMalformed) {
		t.Errorf("decoded as %+v, error %v", q, err)
	}
	if m, err := c.DecodeAnswer([]byte(`{"rooms":[],"requestId":"` + ourUID + `.q"` + padding + `}`)); !errors.Is(err, ErrMalformed) {
		t.Errorf("decoded as %+v, error %v", m, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	c := New("socket.io", "/", ourUID, &MessagePack{})
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	for _, body := range []string{
		"", "c0", "90", "92a175a175", "93a17583a47479706502", "93a175c080",
		"93a17582a47479706501a46461746191a16180",                           // DISCONNECT
		"93a17582a47479706502a464617461a16180",                             // data is no array
		"93a17582a47479706502a4646174619080",                               // no event name
		"93a17582a47479706502a46461746191c380",                             // the name is true
		"93a17582a47479706502a46461746191a7636f6e6e65637480",               // connect
		"93a17582a47479706502a46461746191a1618000",                         // trailing byte
		"93a17582a47479706502a46461746191a16181a5726f6f6d7305",             // rooms 5
		"93a17582a47479706502a46461746191a16105",                           // opts 5
		"93a17582a47479706502a46461746191a16181a3736571ff",                 // seq -1
		"93a17582a47479706502a46461746191a16181a3736571a131",               // "1"
		"93a17582a47479706502a46461746191a16181a3736571cf0020000000000000", // 2^53
	} {
		if m, err := c.DecodeBroadcast(unhex(t, body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("broadcast %s: decoded as %+v, error %v", body, m, err)
		}
	}
	for _, body := range []string{
		"", "{", "[]", "\xc0", `{}x`,
		`{"type":2}`, `{"type":6}`, `{"type":6,"data":1}`, `{"type":6,"data":` + deep + `}`, `{"type":7,"requestId":"q"}`,
		`{"type":1,"requestId":"q","opts":{"seq":-1}}`, `{"type":1,"requestId":"q","opts":{"seq":"1"}}`, `{"type":1,"requestId":"q","opts":{"seq":9007199254740992}}`,
		"\x83\xa4type\x01\xa9requestId\xa1q\xa4opts\x81\xa5after\xff",
		`{"type":7,"requestId":"q","opts":{},"packet":{"type":1}}`, `{"type":2,"opts":{"rooms":{}},"rooms":[]}`, `{"type":2,"opts":true}`,
	} {
		if q, err := c.DecodeRequest([]byte(body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("request %q: decoded as %+v, error %v", body, q, err)
		}
	}
	for _, body := range []string{`{}`, `{"requestId":"q","type":10}`, `{"requestId":"q","type":8}`, `{"type":"5"}`, "\x81\xa4type\x0b"} {
		if q, err := c.DecodeRequest([]byte(body)); !errors.Is(err, ErrUnknownRequest) {
			t.Errorf("unknown request %q: decoded as %+v, error %v", body, q, err)
		}
	}
	for _, body := range []string{
		"", "{", "\xc0", `{"requestId":"abcdef.1"}`, `{"requestId":"abcdef.1","rooms":[],"directed":9007199254740992}`, `{"requestId":"abcdef.1","type":8}`, `{"requestId":"abcdef.1","type":8,"clientCount":-1}`,
		`{"requestId":"abcdef.1","sockets":["s"]}`, `{"requestId":"abcdef.1","type":6,"data":` + deep + `}`,
	} {
		if m, err := c.DecodeAnswer([]byte(body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("answer %q: decoded as %+v, error %v", body, m, err)
		}
	}
}

// TestLoneNames reads room names with lone surrogates as JSON.stringify writes them: none becomes another.
func TestLoneNames(t *testing.T) {
	f, err := decodeJSONRequest([]byte(`{"uid":"x","type":2,"opts":{"rooms":["u\ud800"],"except":["u\ud801"]},"rooms":["u\udc00","\ud83d\ude00",7]}`), nil)
	rooms, _ := lenient.Names(string(f.Rooms.JSON))
	got := slices.Concat(f.Options.Rooms, f.Options.Except, rooms)
	if want := []string{"u\xed\xa0\x80", "u\xed\xa0\x81", "u\xed\xb0\x80", "😀", "7"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}
