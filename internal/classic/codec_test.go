package classic

import (
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	ourUID   = "abcdef"
	theirUID = "uvwxyz"
)

// codec is a node's in /chat, in the default encoding.
func codec(uid string) *Codec { return New("socket.io", "/chat", uid, &MessagePack{}) }

func event(t testing.TB, namespace, name string, args ...any) *parser.Packet {
	t.Helper()
	p, err := parser.MarshalEvent(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return &parser.Packet{Type: parser.Event, Namespace: namespace, ID: parser.NoID, Payload: p}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEncode compares with what the npm packages write for the same calls: the adapter
// 8.3.0 with the uid abcdef, the emitter 5.1.0.
func TestEncode(t *testing.T) {
	payload := event(t, "/chat", "ev", 1, []byte{1}).Payload
	for _, tt := range []struct {
		name    string
		uid     string
		message adapter.Message
		channel string
		body    string // in hex unless it is JSON
	}{
		{
			name:    "broadcast to all",
			message: adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "hello", "world", 1, parser.Payload{JSON: []byte(`{"a":null}`)})},
			channel: "socket.io#/chat#",
			body:    "93a661626364656683a47479706502a46461746194a568656c6c6fa5776f726c640181a161c0a36e7370a52f6368617483a5726f6f6d7390a665786365707490a5666c61677380",
		},
		{
			name: "broadcast to a room named twice, with binary data",
			message: adapter.Message{
				Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "hello", []byte{1, 2, 3}),
				Selection: adapter.Selection{Rooms: []string{"r1", "r1"}},
			},
			channel: "socket.io#/chat#r1#",
			body:    "93a661626364656683a47479706502a46461746192a568656c6c6fc403010203a36e7370a52f6368617483a5726f6f6d7391a27231a665786365707490a5666c61677380",
		},
		{
			name: "broadcast with everything",
			message: adapter.Message{
				Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "hi"),
				Selection: adapter.Selection{Rooms: []string{"r1", "r2"}, Except: []string{"x", "x"}},
				Flags:     adapter.Flags{Volatile: true, NoCompress: true},
			},
			channel: "socket.io#/chat#",
			body:    "93a661626364656683a47479706502a46461746191a26869a36e7370a52f6368617483a5726f6f6d7392a27231a27232a665786365707491a178a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2",
		},
		{
			// The last entry, sids, is ours.
			name: "broadcast with acknowledgement",
			message: adapter.Message{
				Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "q"), Request: "!",
				Selection: adapter.Selection{Rooms: []string{"r1"}}, Flags: adapter.Flags{Timeout: time.Second},
			},
			channel: "socket.io-request#/chat#",
			body:    "86a3756964a6616263646566a9726571756573744964a86162636465662e21a47479706507a67061636b657483a47479706502a46461746191a171a36e7370a52f63686174a46f70747383a5726f6f6d7391a27231a665786365707490a5666c61677381a774696d656f7574cd03e8a473696473c3",
		},
		{
			name:    "server-side event",
			message: adapter.Message{Kind: adapter.KindServerSide, Payload: payload},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","type":6,"data":["ev",1,{"type":"Buffer","data":[1]}]}`,
		},
		{
			name:    "server-side event with acknowledgement",
			message: adapter.Message{Kind: adapter.KindServerSide, Payload: event(t, "/chat", "<&>\u2028").Payload, Request: "7"},
			channel: "socket.io-request#/chat#",
			body:    "{\"uid\":\"abcdef\",\"requestId\":\"abcdef.7\",\"type\":6,\"data\":[\"<&>\u2028\"]}",
		},
		{
			name:    "join",
			message: adapter.Message{Kind: adapter.KindJoin, Selection: adapter.Selection{Rooms: []string{"r1"}}, Rooms: []string{"a", "b"}},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","type":2,"opts":{"rooms":["r1"],"except":[]},"rooms":["a","b"]}`,
		},
		{
			name:    "leave",
			message: adapter.Message{Kind: adapter.KindLeave, Selection: adapter.Selection{Except: []string{"x"}}, Rooms: []string{"a"}},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","type":3,"opts":{"rooms":[],"except":["x"]},"rooms":["a"]}`,
		},
		{
			name:    "leave no room",
			message: adapter.Message{Kind: adapter.KindLeave},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","type":3,"opts":{"rooms":[],"except":[]},"rooms":[]}`,
		},
		{
			name:    "disconnect",
			message: adapter.Message{Kind: adapter.KindDisconnect},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","type":4,"opts":{"rooms":[],"except":[]},"close":false}`,
		},
		{
			name:    "list of rooms",
			message: adapter.Message{Kind: adapter.KindListRooms, Request: "x"},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","requestId":"abcdef.x","type":1}`,
		},
		{
			name:    "fetch",
			message: adapter.Message{Kind: adapter.KindFetch, Request: "x", Selection: adapter.Selection{Rooms: []string{"r1"}}},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","requestId":"abcdef.x","type":5,"opts":{"rooms":["r1"],"except":[]}}`,
		},
		{
			name:    "fetch of ids",
			message: adapter.Message{Kind: adapter.KindFetch, Want: adapter.WantIDs, Request: "x"},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","requestId":"abcdef.x","type":5,"opts":{"rooms":[],"except":[]},"only":"ids"}`,
		},
		{
			name:    "fetch of a number, numbered",
			message: adapter.Message{Kind: adapter.KindFetch, Want: adapter.WantCount, Request: "x", Seq: 7},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","requestId":"abcdef.x","type":5,"opts":{"rooms":[],"except":[],"seq":7},"only":"count"}`,
		},
		{
			// The last three entries of opts are ours, here as in all that has numbers.
			name: "broadcast with numbers",
			message: adapter.Message{
				Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "hi"), Selection: adapter.Selection{Rooms: []string{"r1"}},
				Seq: 7, After: 300, Directed: 1<<53 - 1,
			},
			channel: "socket.io#/chat#r1#",
			body:    "93a661626364656683a47479706502a46461746191a26869a36e7370a52f6368617486a5726f6f6d7391a27231a665786365707490a5666c61677380a373657107a56166746572cd012ca86469726563746564cf001fffffffffffff",
		},
		{
			name: "broadcast with acknowledgement to one node",
			message: adapter.Message{
				Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "q"), Request: "!", After: 1, Directed: 2,
			},
			channel: "socket.io-request#/chat#",
			body:    "86a3756964a6616263646566a9726571756573744964a86162636465662e21a47479706507a67061636b657483a47479706502a46461746191a171a36e7370a52f63686174a46f70747385a5726f6f6d7390a665786365707490a5666c61677380a5616674657201a8646972656374656402a473696473c3",
		},
		{
			name:    "fetch with numbers",
			message: adapter.Message{Kind: adapter.KindFetch, Request: "x", Seq: 7},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","requestId":"abcdef.x","type":5,"opts":{"rooms":[],"except":[],"seq":7}}`,
		},
		{
			name:    "list of rooms with numbers, in opts that Node does not look at",
			message: adapter.Message{Kind: adapter.KindListRooms, Request: "x", After: 1, Directed: 2},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","requestId":"abcdef.x","type":1,"opts":{"after":1,"directed":2}}`,
		},
		{
			name:    "server-side event with numbers",
			message: adapter.Message{Kind: adapter.KindServerSide, Payload: event(t, "/chat", "x").Payload, Seq: 1<<53 - 1},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"abcdef","type":6,"opts":{"seq":9007199254740991},"data":["x"]}`,
		},
		{
			name: "broadcast of an emitter", uid: Emitter,
			message: adapter.Message{
				Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "hello", 1),
				Selection: adapter.Selection{Rooms: []string{"r1"}}, Flags: adapter.Flags{Volatile: true, NoCompress: true},
			},
			channel: "socket.io#/chat#r1#",
			body:    "93a7656d697474657283a47479706502a46461746192a568656c6c6f01a36e7370a52f6368617483a5726f6f6d7391a27231a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2a665786365707490",
		},
		{
			name: "join of an emitter", uid: Emitter,
			message: adapter.Message{Kind: adapter.KindJoin, Selection: adapter.Selection{Rooms: []string{"r"}}, Rooms: []string{"a"}},
			channel: "socket.io-request#/chat#",
			body:    `{"type":2,"opts":{"rooms":["r"],"except":[]},"rooms":["a"]}`,
		},
		{
			name: "server-side event of an emitter", uid: Emitter,
			message: adapter.Message{Kind: adapter.KindServerSide, Payload: event(t, "/chat", "x", 1).Payload},
			channel: "socket.io-request#/chat#",
			body:    `{"uid":"emitter","type":6,"data":["x",1]}`,
		},
	} {
		uid := tt.uid
		if uid == "" {
			uid = ourUID
		}
		channel, body, err := codec(uid).Encode(&tt.message)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := string(body)
		if tt.body[0] != '{' {
			got = hex.EncodeToString(body)
		}
		if channel != tt.channel || got != tt.body {
			t.Errorf("%s:\n got %s %s\nwant %s %s", tt.name, channel, got, tt.channel, tt.body)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	c := New("socket.io", "/", ourUID, &MessagePack{})
	deep := &parser.Packet{Payload: parser.Payload{JSON: []byte(strings.Repeat("[", 2000) + strings.Repeat("]", 2000))}}
	for _, m := range []adapter.Message{
		{Kind: adapter.KindBroadcast, Packet: deep},
		{Kind: adapter.KindBroadcast, Packet: deep, Request: "1"},
		{Kind: adapter.KindServerSide, Payload: parser.Payload{JSON: []byte("[")}},
		{Kind: adapter.KindSockets},
	} {
		if _, body, err := c.Encode(&m); err == nil {
			t.Errorf("kind %d: encoded as %s", m.Kind, body)
		}
	}
	for _, m := range []adapter.Message{
		{Kind: adapter.KindAck, Payload: deep.Payload},
		{Kind: adapter.KindServerReply, Payload: parser.Payload{JSON: []byte("[")}},
		{Kind: adapter.KindFetch},
	} {
		if body, err := c.EncodeAnswer(&adapter.Message{Request: "n1"}, &m); err == nil {
			t.Errorf("answer of kind %d: encoded as %s", m.Kind, body)
		}
	}
}

// TestAnswers checks what answers look like, and that the node that asked reads the same.
func TestAnswers(t *testing.T) {
	theirs, ours := codec(theirUID), codec(ourUID)
	details := adapter.SocketDetails{ID: "s1", Handshake: []byte(`{"a":"<"}`), Rooms: []string{"s1", "r"}, Data: []byte(`{"n":1}`)}
	for _, tt := range []struct {
		name   string
		to     asker
		answer adapter.Message
		body   string // with the id q; in hex unless it is JSON; "" is no answer
	}{
		{
			name: "sockets", to: anyNode, answer: adapter.Message{Kind: adapter.KindSockets, Sockets: []adapter.SocketDetails{details}},
			body: `{"requestId":"abcdef.q","sockets":[{"id":"s1","handshake":{"a":"<"},"rooms":["s1","r"],"data":{"n":1}}],"uid":"uvwxyz"}`,
		},
		{
			name: "no sockets", to: anyNode, answer: adapter.Message{Kind: adapter.KindSockets},
			body: `{"requestId":"abcdef.q","sockets":[],"uid":"uvwxyz"}`,
		},
		{
			name: "ids", to: anyNode, answer: adapter.Message{Kind: adapter.KindSockets, SocketIDs: []string{"s1", "s2"}},
			body: `{"requestId":"abcdef.q","sockets":[],"sids":["s1","s2"],"uid":"uvwxyz"}`,
		},
		{
			name: "number of sockets", to: anyNode, answer: adapter.Message{Kind: adapter.KindSockets, Count: 3},
			body: `{"requestId":"abcdef.q","sockets":[],"clientCount":3,"uid":"uvwxyz"}`,
		},
		{
			name: "rooms", to: anyNode, answer: adapter.Message{Kind: adapter.KindRooms, Rooms: []string{"a", "b"}},
			body: `{"requestId":"abcdef.q","rooms":["a","b"],"uid":"uvwxyz"}`,
		},
		{
			name: "no rooms", to: anyNode, answer: adapter.Message{Kind: adapter.KindRooms},
			body: `{"requestId":"abcdef.q","rooms":[],"uid":"uvwxyz"}`,
		},
		{
			name: "reply", to: anyNode,
			answer: adapter.Message{Kind: adapter.KindServerReply, Payload: parser.Payload{JSON: []byte(`{"a":[null]}`)}},
			body:   `{"type":6,"requestId":"abcdef.q","data":{"a":[null]},"uid":"uvwxyz"}`,
		},
		{
			name: "undefined reply", to: anyNode, answer: adapter.Message{Kind: adapter.KindServerReply},
			body: `{"type":6,"requestId":"abcdef.q","uid":"uvwxyz"}`,
		},
		{
			name: "count of nobody", to: anyNode, answer: adapter.Message{Kind: adapter.KindCount},
			body: `{"type":8,"requestId":"abcdef.q","clientCount":0,"uid":"uvwxyz"}`,
		},
		{
			name: "count", to: sockeye, answer: adapter.Message{Kind: adapter.KindCount, Count: 2},
			body: `{"type":8,"requestId":"abcdef.q","clientCount":2,"uid":"uvwxyz"}`,
		},
		{
			name: "acknowledgement", to: anyNode,
			answer: adapter.Message{Kind: adapter.KindAck, Payload: parser.Payload{JSON: []byte(`null`)}},
			body:   "84a47479706509a9726571756573744964a86162636465662e71a67061636b6574c0a3756964a675767778797a",
		},
		{
			name: "undefined acknowledgement for one of ours", to: sockeye, answer: adapter.Message{Kind: adapter.KindAck, SocketID: "s1"},
			body: "84a47479706509a9726571756573744964a86162636465662e71a3736964a27331a3756964a675767778797a",
		},
		{
			name: "sockets gone", to: sockeye, answer: adapter.Message{Kind: adapter.KindGone, SocketIDs: []string{"s1"}},
			body: `{"type":100,"requestId":"abcdef.q","sids":["s1"],"uid":"uvwxyz"}`,
		},
		{
			name: "acknowledgement with numbers", to: sockeye, answer: adapter.Message{Kind: adapter.KindAck, SocketID: "s1", After: 1, Directed: 2},
			body: "86a47479706509a9726571756573744964a86162636465662e71a3736964a27331a5616674657201a8646972656374656402a3756964a675767778797a",
		},
		{
			name: "count with numbers", to: anyNode, answer: adapter.Message{Kind: adapter.KindCount, Directed: 3},
			body: `{"type":8,"requestId":"abcdef.q","clientCount":0,"directed":3,"uid":"uvwxyz"}`,
		},
		{name: "sockets gone, for Node", to: anyNode, answer: adapter.Message{Kind: adapter.KindGone, SocketIDs: []string{"s1"}}},
	} {
		body, err := theirs.EncodeAnswer(&adapter.Message{Request: tt.to.request(ours.requestID("q"))}, &tt.answer)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := string(body)
		if !strings.HasPrefix(tt.body, "{") {
			got = hex.EncodeToString(body)
		}
		if got != tt.body {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.body)
		}
		if body == nil {
			continue
		}
		if !ours.MayAnswer(got) && !ours.MayAnswer(string(body)) || ours.OwnAnswer(string(body)) || !theirs.OwnAnswer(string(body)) {
			t.Errorf("%s: not recognised unread", tt.name)
		}
		want := tt.answer
		want.From, want.Request, want.Sockets = theirUID, "q", slices.Clone(want.Sockets)
		for i := range want.Sockets {
			want.Sockets[i].Node = theirUID
		}
		m, err := ours.DecodeAnswer(body)
		if err != nil {
			t.Errorf("%s: decode: %v", tt.name, err)
		} else if !sameMessage(m, &want) {
			t.Errorf("%s: decoded as %+v", tt.name, m)
		}
		if m, err := theirs.DecodeAnswer(body); m != nil || err != nil {
			t.Errorf("%s: the answer to another node is read as %+v, error %v", tt.name, m, err)
		}
	}
}

// sameMessage compares messages; nil and empty slices are equal.
func sameMessage(a, b *adapter.Message) bool {
	normal := func(m adapter.Message) adapter.Message {
		for _, list := range []*[]string{&m.Selection.Rooms, &m.Selection.Except, &m.Rooms, &m.SocketIDs} {
			*list = append([]string{}, *list...)
		}
		m.Sockets = append([]adapter.SocketDetails{}, m.Sockets...)
		return m
	}
	return reflect.DeepEqual(normal(*a), normal(*b))
}

func TestAnswerToOldNode(t *testing.T) {
	c := New("socket.io", "/", ourUID, &MessagePack{})
	sockets := []adapter.SocketDetails{{ID: "a"}, {ID: "b"}}
	body, err := c.EncodeAnswer(&adapter.Message{Request: "iq"}, &adapter.Message{Kind: adapter.KindSockets, Sockets: sockets})
	if want := `{"requestId":"q","sockets":["a","b"],"uid":"abcdef"}`; err != nil || string(body) != want {
		t.Errorf("ids: %s, error %v", body, err)
	}
	body, err = c.EncodeAnswer(&adapter.Message{Request: "nq"}, &adapter.Message{Kind: adapter.KindSockets, Sockets: sockets[:1]})
	if want := `{"requestId":"q","sockets":[{"id":"a","handshake":{},"rooms":[],"data":{}}],"uid":"abcdef"}`; err != nil || string(body) != want {
		t.Errorf("nothing is null: %s, error %v", body, err)
	}
	if body, err = Confirm(&Request{requestID: "q"}); err != nil || string(body) != `{"requestId":"q"}` {
		t.Errorf("done: %s, error %v", body, err)
	}
}

// TestOurs: questions of our nodes are told from those of Node by their ids.
func TestOurs(t *testing.T) {
	asking := New("socket.io", "/", "0123456789abcdef", &MessagePack{})
	answering := New("socket.io", "/", "fedcba9876543210", &MessagePack{})
	_, body, err := asking.Encode(&adapter.Message{Kind: adapter.KindFetch, Request: "a1"})
	if err != nil {
		t.Fatal(err)
	}
	node := `"requestId":"tWXRFv","type":5,"opts":{"rooms":[],"except":[]}}`
	for text, want := range map[string]bool{
		string(body): true, `{"uid":"2Xlkn-",` + node: false, "{" + node: false, `{"uid":"tWXRF",` + node: false,
	} {
		q, err := answering.DecodeRequest([]byte(text))
		if err != nil {
			t.Fatal(text, err)
		}
		if got := Ours(&q.Message); got != want {
			t.Errorf("%s: ours %v, want %v", text, got, want)
		}
	}
}

func TestChannels(t *testing.T) {
	c := New("K", "/a", ourUID, &MessagePack{})
	for channel, want := range map[string]string{
		"K#/a#": "", "K#/a#r#": "r", "K#/a#r#s#": "r#s", "K#/a##": "", "K#/a#x": "", "K#/a#5#": "5",
	} {
		if room, ok := c.Room(channel); room != want || !ok {
			t.Errorf("%s: room %q, %v", channel, room, ok)
		}
	}
	if room, ok := c.Room("K#/b#r#"); ok {
		t.Errorf("another namespace's channel: room %q", room)
	}
	for channel, want := range map[string]string{
		"K-response#/a#uvwxyz#": "uvwxyz", "K-response#/a#": "", "K-response#/a#b#uvwxyz#": "", "K-response#/a#u": "", "x": "",
	} {
		if uid, ok := c.Node(channel); uid != want && ok || ok != (want != "") {
			t.Errorf("%s: node %q, %v", channel, uid, ok)
		}
	}
}
