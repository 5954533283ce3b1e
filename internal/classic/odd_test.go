package classic

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestOddBroadcasts reads what other programs write in place of what Node's adapter does.
func TestOddBroadcasts(t *testing.T) {
	m := event(t, "/", "m")
	mx := event(t, "/", "m", "x")
	node := func(sel adapter.Selection, f adapter.Flags) adapter.Message {
		return adapter.Message{From: theirUID, Packet: m, Selection: sel, Flags: f}
	}
	for _, tt := range []struct {
		name, frame string
		want        adapter.Message
	}{
		// pip socket.io-emitter 0.1.5.1
		{"Python: Emit", "93a7656d697474657283a46461746192a16da178a47479706502a36e7370a12f82a5666c616773a0a5726f6f6d73a0", adapter.Message{Packet: mx}},
		{"Python: To", "93a7656d697474657283a46461746192a16da178a47479706502a36e7370a12f82a5666c616773a0a5726f6f6d7391a161",
			adapter.Message{Packet: mx, Selection: adapter.Selection{Rooms: []string{"a"}}}},
		// rase/socket.io-php-emitter
		{"PHP: flags are an empty array", "93a7656d697474657283a47479706502a46461746192a16da178a36e7370a12f82a5726f6f6d7391a172a5666c61677390",
			adapter.Message{Packet: mx, Selection: adapter.Selection{Rooms: []string{"r"}}}},
		// npm socket.io-emitter 3.2.0 with notepack.io 2.1.3
		{"old npm: emit(m, undefined)", "93a7656d697474657283a47479706502a46461746193a16dd4000081a161d40000a36e7370a12f82a5726f6f6d7390a5666c61677380",
			adapter.Message{Packet: event(t, "/", "m", nil, struct{}{})}},
		{"old npm: to(undefined).to(a).json", "93a7656d697474657283a47479706502a46461746192a16dd7000000000000000000a36e7370a12f82a5726f6f6d7392d40000a161a5666c61677381a46a736f6ec3",
			adapter.Message{Packet: event(t, "/", "m", "1970-01-01T00:00:00.000Z"), Selection: adapter.Selection{Rooms: []string{"a"}}}},
		// npm @socket.io/redis-adapter 8.3.0
		{"except(undefined)", "93a675767778797a83a47479706502a46461746191a16da36e7370a12f83a5726f6f6d7390a665786365707491c0a5666c61677380",
			node(adapter.Selection{Except: []string{lenient.Nobody}}, adapter.Flags{})},
		{"to([undefined, a])", "93a675767778797a83a47479706502a46461746191a16da36e7370a12f83a5726f6f6d7392c0a161a665786365707490a5666c61677380",
			node(adapter.Selection{Rooms: []string{"a"}}, adapter.Flags{})},
		{"to([{}, null])", "93a675767778797a83a47479706502a46461746191a16da36e7370a12f83a5726f6f6d739280c0a665786365707490a5666c61677380",
			node(adapter.Selection{Rooms: []string{lenient.Nobody}}, adapter.Flags{})},
		{"to([43, a, true])", "93a675767778797a83a47479706502a46461746191a16da36e7370a12f83a5726f6f6d73932ba161c3a665786365707490a5666c61677380",
			node(adapter.Selection{Rooms: []string{"43", "a"}}, adapter.Flags{})},
		{"compress(0)", "93a675767778797a83a47479706502a46461746191a16da36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677382a8766f6c6174696c65c3a8636f6d707265737300",
			node(adapter.Selection{}, adapter.Flags{Volatile: true})},
		// By hand: the same, in other ways.
		{"opts are a list", "93a675767778797a83a47479706502a46461746191a16da36e7370a12f90", node(adapter.Selection{}, adapter.Flags{})},
		{"opts are nil", "93a675767778797a83a47479706502a46461746191a16da36e7370a12fc0", node(adapter.Selection{}, adapter.Flags{})},
		{"a uid that is a number, an id that is none, rooms nil", "930784a47479706502a46461746191a16da36e7370a12fa26964a17882a5726f6f6d73c0a5666c61677381a8766f6c6174696c6501",
			adapter.Message{Packet: m, Flags: adapter.Flags{Volatile: true}}},
		{"volatile is an empty text, rooms are a text", "93a675767778797a83a47479706502a46461746191a16da36e7370a12f82a5726f6f6d73a26162a5666c61677381a8766f6c6174696c65a0",
			node(adapter.Selection{Rooms: []string{"a", "b"}}, adapter.Flags{})},
	} {
		got, err := New("socket.io", "/", ourUID, &MessagePack{}).DecodeBroadcast(unhex(t, tt.frame))
		tt.want.Kind = adapter.KindBroadcast
		if err != nil || got == nil || !sameMessage(got, &tt.want) {
			t.Errorf("%s: decoded as %+v, error %v", tt.name, got, err)
		}
	}
}

// TestOddRequests reads what Node's adapter writes of odd arguments, and what other programs may write.
func TestOddRequests(t *testing.T) {
	packet := &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["m"]`)}}
	rooms := func(rooms ...string) adapter.Selection { return adapter.Selection{Rooms: rooms} }
	for _, tt := range []struct {
		body string // in hex unless it is JSON
		want adapter.Message
	}{
		{`{"uid":"uvwxyz","type":4,"opts":{"rooms":["a"],"except":[]},"close":1}`, adapter.Message{Kind: adapter.KindDisconnect, From: theirUID, Selection: rooms("a"), Close: true}},
		{`{"uid":"uvwxyz","type":4,"opts":{"rooms":["a"],"except":""},"close":""}`, adapter.Message{Kind: adapter.KindDisconnect, From: theirUID, Selection: rooms("a")}},
		{`{"uid":"uvwxyz","requestId":"q","type":5,"opts":{"rooms":[null,"a"],"except":[]}}`, adapter.Message{Kind: adapter.KindFetch, From: theirUID, Request: "nq", Selection: rooms("a")}},
		{`{"uid":"uvwxyz","requestId":"q","type":5,"opts":{"rooms":[{}],"except":[],"flags":[]}}`, adapter.Message{Kind: adapter.KindFetch, From: theirUID, Request: "nq", Selection: rooms(lenient.Nobody)}},
		{`{"uid":"uvwxyz","requestId":"q","type":5,"opts":[]}`, adapter.Message{Kind: adapter.KindFetch, From: theirUID, Request: "nq"}},
		{`{"uid":7,"requestId":7,"type":5,"opts":null}`, adapter.Message{Kind: adapter.KindFetch, Request: "N7"}},
		{`{"requestId":{"a":[1]},"type":0,"rooms":"ab"}`, adapter.Message{Kind: adapter.KindFetch, Request: `I{"a":[1]}`, Selection: rooms("a", "b")}},
		{`{"requestId":null,"type":1,"data":{}}`, adapter.Message{Kind: adapter.KindListRooms, Request: "Nnull"}},
		{`{"type":1,"packet":5}`, adapter.Message{Kind: adapter.KindListRooms, Request: "N"}},
		{`{"uid":"uvwxyz","type":2,"opts":{"rooms":[null],"except":[]},"rooms":[null,43]}`, adapter.Message{Kind: adapter.KindJoin, From: theirUID, Selection: rooms(lenient.Nobody), Rooms: []string{"43"}}},
		{`{"uid":"uvwxyz","type":2,"opts":[],"rooms":"room","sid":7}`, adapter.Message{Kind: adapter.KindJoin, From: theirUID, Rooms: []string{"room"}}},
		// timeout("x"), except(undefined)
		{"85a3756964a675767778797aa9726571756573744964a171a47479706507a67061636b657483a47479706502a46461746191a16da36e7370a12fa46f70747383a5726f6f6d7390a665786365707491c0a5666c61677381a774696d656f7574a178",
			adapter.Message{Kind: adapter.KindBroadcast, From: theirUID, Request: "nq", Packet: packet, Selection: adapter.Selection{Except: []string{lenient.Nobody}}}},
		{`{"uid":"uvwxyz","requestId":1.5,"type":7,"packet":{"type":2,"data":["m"]},"opts":{"flags":{"timeout":"x","volatile":1,"compress":0}}}`,
			adapter.Message{Kind: adapter.KindBroadcast, From: theirUID, Request: "N1.5", Packet: packet, Flags: adapter.Flags{Volatile: true}}},
	} {
		if q := decodeRequest(t, tt.body); q != nil && !sameMessage(&q.Message, &tt.want) {
			t.Errorf("%s: decoded as %+v", tt.body, q.Message)
		}
	}
}

// TestOddIDs answers with the id that was asked with.
func TestOddIDs(t *testing.T) {
	c := codec(ourUID)
	for _, tt := range []struct{ question, count string }{
		{`7`, `{"type":8,"requestId":7,"clientCount":2,"uid":"abcdef"}`},
		{`null`, `{"type":8,"requestId":null,"clientCount":2,"uid":"abcdef"}`},
		{`{"a":[1]}`, `{"type":8,"requestId":{"a":[1]},"clientCount":2,"uid":"abcdef"}`},
		{`"q"`, `{"type":8,"requestId":"q","clientCount":2,"uid":"abcdef"}`},
		{`""`, `{"type":8,"requestId":"","clientCount":2,"uid":"abcdef"}`},
	} {
		q := decodeRequest(t, `{"uid":"uvwxyz","requestId":`+tt.question+`,"type":7,"packet":{"type":2,"data":["m"]},"opts":{}}`)
		if q == nil {
			continue
		}
		count, err := c.EncodeAnswer(&q.Message, &adapter.Message{Kind: adapter.KindCount, Count: 2})
		if err != nil || string(count) != tt.count {
			t.Errorf("id %s: %s, error %v", tt.question, count, err)
		}
		ack, err := c.EncodeAnswer(&q.Message, &adapter.Message{Kind: adapter.KindAck})
		want := strings.TrimSuffix(strings.Trim(tt.question, `"`), "null") // MessagePack has one nil for null and undefined
		if a, again := (&MessagePack{}).DecodeRequest(ack); err != nil || again != nil || a.RequestID != want {
			t.Errorf("id %s: acknowledged with %x as %q, errors %v, %v", tt.question, ack, a.RequestID, err, again)
		}
	}
}

// TestRefused tells of what is refused who has sent it and which field is wrong, and who waits is answered.
func TestRefused(t *testing.T) {
	c := codec(ourUID)
	for _, tt := range []struct{ body, field, answer string }{
		{`{"uid":"uvwxyz","requestId":"q","type":5,"opts":{"rooms":5}}`, "opts.rooms", `{"requestId":"q","sockets":[],"uid":"abcdef"}`},
		{`{"uid":"uvwxyz","requestId":7,"type":5,"opts":true}`, "opts", `{"requestId":7,"sockets":[],"uid":"abcdef"}`},
		{`{"uid":"uvwxyz","requestId":"q","type":0,"rooms":{}}`, "rooms", `{"requestId":"q","sockets":[],"uid":"abcdef"}`},
		{`{"uid":"uvwxyz","requestId":"q","type":7,"opts":{},"packet":{"type":2,"data":{}}}`, "packet.data", `{"type":8,"requestId":"q","clientCount":0,"uid":"abcdef"}`},
		{`{"uid":"uvwxyz","requestId":"q","type":7,"opts":{},"packet":null}`, "packet", `{"type":8,"requestId":"q","clientCount":0,"uid":"abcdef"}`},
		{`{"uid":"uvwxyz","type":4,"opts":{"except":true}}`, "opts.except", ""},
		{`{"uid":"uvwxyz","type":6,"requestId":"q","data":{}}`, "data", ""},
		{"85a3756964a675767778797aa9726571756573744964a171a47479706507a67061636b657483a47479706502a46461746191a16da36e7370a12fa46f70747381a5726f6f6d7380", "opts.rooms", `{"type":8,"requestId":"q","clientCount":0,"uid":"abcdef"}`},
	} {
		frame := []byte(tt.body)
		if tt.body[0] != '{' {
			frame = unhex(t, tt.body)
		}
		q, err := c.DecodeRequest(frame)
		if err == nil || !strings.Contains(err.Error(), `from "uvwxyz": field `+tt.field+`:`) || (q == nil) != (tt.answer == "") {
			t.Errorf("%s: %+v, error %v", tt.body, q, err)
		}
		if q != nil {
			if answer, err := c.EncodeAnswer(&q.Message, q.Empty()); err != nil || string(answer) != tt.answer {
				t.Errorf("%s: answered %s, error %v", tt.body, answer, err)
			}
		}
	}
	_, err := c.DecodeBroadcast(unhex(t, "93a675767778797a83a47479706502a46461746191a16da36e7370a52f6368617481a5726f6f6d7305"))
	if want := `classic adapter: malformed message from "uvwxyz": field opts.rooms: not a list of rooms`; err == nil || err.Error() != want {
		t.Errorf("broadcast: %v", err)
	}
}

// TestOddAnswers reads the sockets of a Node node that are in odd rooms.
func TestOddAnswers(t *testing.T) {
	m, err := codec(ourUID).DecodeAnswer([]byte(`{"requestId":"abcdef.1","sockets":[{"id":"s","handshake":{},"rooms":["s",null,{},5],"data":{}}]}`))
	if err != nil || m == nil || strings.Join(m.Sockets[0].Rooms, " ") != "s 5" {
		t.Errorf("decoded as %+v, error %v", m, err)
	}
	m, err = codec(ourUID).DecodeAnswer([]byte(`{"requestId":"abcdef.1","rooms":[null,"a",true]}`))
	if err != nil || m == nil || strings.Join(m.Rooms, " ") != "a" {
		t.Errorf("decoded as %+v, error %v", m, err)
	}
}

// TestBothForms writes rooms that are whole numbers for Node.js, where they may be numbers, and reads them as one.
func TestBothForms(t *testing.T) {
	sel := adapter.Selection{Rooms: []string{"43", "a"}, Except: []string{"7", "1.5"}}
	c := codec(theirUID).ForNode()
	for _, tt := range []struct {
		m             adapter.Message
		channel, body string // in hex unless it is JSON
	}{
		{adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "/chat", "m"), Selection: adapter.Selection{Rooms: []string{"43"}}}, "socket.io#/chat#43#",
			"93a675767778797a83a47479706502a46461746191a16da36e7370a52f6368617483a5726f6f6d7392a234332ba665786365707490a5666c61677380"},
		{adapter.Message{Kind: adapter.KindFetch, Request: "1", Selection: sel}, "socket.io-request#/chat#",
			`{"uid":"uvwxyz","requestId":"uvwxyz.1","type":5,"opts":{"rooms":["43",43,"a"],"except":["7",7,"1.5"]}}`},
		{adapter.Message{Kind: adapter.KindJoin, Selection: sel, Rooms: []string{"-1"}}, "socket.io-request#/chat#",
			`{"uid":"uvwxyz","type":2,"opts":{"rooms":["43",43,"a"],"except":["7",7,"1.5"]},"rooms":["-1",-1]}`},
		{adapter.Message{Kind: adapter.KindLeave, Rooms: []string{"8"}}, "socket.io-request#/chat#",
			`{"uid":"uvwxyz","type":3,"opts":{"rooms":[],"except":[]},"rooms":["8",8]}`},
		{adapter.Message{Kind: adapter.KindDisconnect, Selection: sel, Close: true}, "socket.io-request#/chat#",
			`{"uid":"uvwxyz","type":4,"opts":{"rooms":["43",43,"a"],"except":["7",7,"1.5"]},"close":true}`},
	} {
		channel, body, err := c.Encode(&tt.m)
		want := []byte(tt.body)
		if tt.body[0] != '{' {
			want = unhex(t, tt.body)
		}
		if err != nil || channel != tt.channel || string(body) != string(want) {
			t.Errorf("kind %d on %s: %q (%x), error %v", tt.m.Kind, channel, body, body, err)
		}
	}
	m, err := codec(ourUID).DecodeAnswer([]byte(`{"requestId":"abcdef.1","sockets":[{"id":"s","handshake":{},"rooms":["s",43,"43"],"data":{}}]}`))
	if err != nil || m == nil || strings.Join(m.Sockets[0].Rooms, " ") != "s 43" {
		t.Errorf("decoded as %+v, error %v", m, err)
	}
}
