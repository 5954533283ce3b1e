package envelope

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	sender  = "fedcba9876543210"
	request = "0123456789abcdef"
)

// here receives what there sends. It knows the rooms a and b.
var (
	here = codec("aaaaaaaaaaaaaaaa", "/chat")
	away = codec(sender, "/chat")
)

func codec(uid adapter.NodeID, namespace string) *Codec {
	c, err := New(uid, namespace, func(room string) bool { return room == "a" || room == "b" })
	if err != nil {
		panic(err)
	}
	return c
}

func text(s string) parser.Payload { return parser.Payload{JSON: json.RawMessage(s)} }

func event(p parser.Payload) *parser.Packet {
	return &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: p}
}

var (
	everyone = adapter.Selection{Rooms: []string{}, Except: []string{}}
	some     = adapter.Selection{Rooms: []string{"a", "x"}, Except: []string{"c"}}
	one      = adapter.SocketDetails{
		ID: "AAAAAAAAAAAAAAAAAAAA", Handshake: json.RawMessage(`{"url":"/"}`), Rooms: []string{"AAAAAAAAAAAAAAAAAAAA", "a"}, Data: json.RawMessage(`{"n":1}`),
	}
)

const (
	all    = `"opts":{"rooms":[],"except":[],"flags":{}}`
	chosen = `"opts":{"rooms":["a","x"],"except":["c"],"flags":{}}`
)

// messages has each kind of message as the data of its envelope, in the order in which Node writes the members.
var messages = []struct {
	kind string
	data string
	m    adapter.Message
}{
	{"3", `{"packet":{"type":2,"data":["hello",1]},` + all + `}`,
		adapter.Message{Kind: adapter.KindBroadcast, Selection: everyone, Packet: event(text(`["hello",1]`))}},
	{"3", `{"packet":{"type":2,"data":["hello"]},"requestId":"` + request + `",` + chosen + `}`,
		adapter.Message{Kind: adapter.KindBroadcast, Request: request, Selection: some, Packet: event(text(`["hello"]`))}},
	{"3", `{"packet":{"type":2,"data":["v"]},"opts":{"rooms":["b"],"except":[],"flags":{"volatile":true,"compress":false,"timeout":1500}}}`,
		adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: []string{"b"}, Except: []string{}},
			Flags: adapter.Flags{Volatile: true, NoCompress: true, Timeout: 1500 * time.Millisecond}, Packet: event(text(`["v"]`))}},
	{"3", `{"packet":{"type":2,"data":["v"]},"opts":{"rooms":["b"],"except":[],"flags":{"foreign":true}}}`,
		adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: []string{"b"}, Except: []string{}},
			Flags: adapter.Flags{Foreign: true}, Packet: event(text(`["v"]`))}},
	{"3", `{"packet":{"type":2,"data":["v"]},"opts":{"rooms":["b"],"except":[],"flags":{"holders":["x","y"]}}}`,
		adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: []string{"b"}, Except: []string{}},
			Flags: adapter.Flags{Direction: &adapter.Direction{Holders: []adapter.NodeID{"x", "y"}}}, Packet: event(text(`["v"]`))}},
	{"4", `{` + chosen + `,"rooms":["r","☃\"\n"]}`, adapter.Message{Kind: adapter.KindJoin, Selection: some, Rooms: []string{"r", "☃\"\n"}}},
	{"5", `{` + all + `,"rooms":[]}`, adapter.Message{Kind: adapter.KindLeave, Selection: everyone, Rooms: []string{}}},
	{"6", `{` + all + `,"close":true}`, adapter.Message{Kind: adapter.KindDisconnect, Selection: everyone, Close: true}},
	{"6", `{` + chosen + `,"close":false}`, adapter.Message{Kind: adapter.KindDisconnect, Selection: some}},
	{"7", `{` + chosen + `,"requestId":"` + request + `"}`, adapter.Message{Kind: adapter.KindFetch, Request: request, Selection: some}},
	{"8", `{"requestId":"` + request + `","sockets":[]}`, adapter.Message{Kind: adapter.KindSockets, Request: request}},
	{"8", `{"requestId":"` + request + `","sockets":[{"id":"AAAAAAAAAAAAAAAAAAAA","handshake":{"url":"/"},"rooms":["AAAAAAAAAAAAAAAAAAAA","a"],"data":{"n":1}}]}`,
		adapter.Message{Kind: adapter.KindSockets, Request: request, Sockets: []adapter.SocketDetails{one}}},
	{"7", `{` + chosen + `,"requestId":"` + request + `","only":"ids"}`,
		adapter.Message{Kind: adapter.KindFetch, Want: adapter.WantIDs, Request: request, Selection: some}},
	{"7", `{` + all + `,"requestId":"` + request + `","only":"count"}`,
		adapter.Message{Kind: adapter.KindFetch, Want: adapter.WantCount, Request: request, Selection: everyone}},
	{"8", `{"requestId":"` + request + `","sockets":[],"sids":["S","T"]}`,
		adapter.Message{Kind: adapter.KindSockets, Request: request, SocketIDs: []string{"S", "T"}}},
	{"8", `{"requestId":"` + request + `","sockets":[],"clientCount":12}`,
		adapter.Message{Kind: adapter.KindSockets, Request: request, Count: 12}},
	{"9", `{"packet":["side",1]}`, adapter.Message{Kind: adapter.KindServerSide, Payload: text(`["side",1]`)}},
	{"9", `{"requestId":"` + request + `","packet":["disconnect"]}`, adapter.Message{Kind: adapter.KindServerSide, Request: request, Payload: text(`["disconnect"]`)}},
	{"10", `{"requestId":"` + request + `","packet":[1]}`, adapter.Message{Kind: adapter.KindServerReply, Request: request, Payload: text(`[1]`)}},
	{"10", `{"requestId":"` + request + `"}`, adapter.Message{Kind: adapter.KindServerReply, Request: request}},
	{"11", `{"requestId":"` + request + `","clientCount":0}`, adapter.Message{Kind: adapter.KindCount, Request: request}},
	{"11", `{"requestId":"` + request + `","clientCount":12}`, adapter.Message{Kind: adapter.KindCount, Request: request, Count: 12}},
	{"12", `{"requestId":"` + request + `","packet":"yes"}`, adapter.Message{Kind: adapter.KindAck, Request: request, Payload: text(`"yes"`)}},
	{"12", `{"requestId":"` + request + `","packet":null,"sid":"S"}`, adapter.Message{Kind: adapter.KindAck, Request: request, Payload: text(`null`), SocketID: "S"}},
	{"113", `{"requestId":"` + request + `","sids":["S","T"]}`, adapter.Message{Kind: adapter.KindGone, Request: request, SocketIDs: []string{"S", "T"}}},
}

// fromSender is a message as it is opened.
func fromSender(m adapter.Message) adapter.Message {
	m.From, m.Sockets = sender, slices.Clone(m.Sockets)
	for i := range m.Sockets {
		m.Sockets[i].Node = sender
	}
	return m
}

func TestMessages(t *testing.T) {
	for _, tt := range messages {
		want := fromSender(tt.m)
		wire := `{"type":` + tt.kind + `,"data":` + tt.data + `,"uid":"` + sender + `","nsp":"/chat"}`

		body, err := away.Sharded(&tt.m)
		if err != nil || string(body) != wire {
			t.Errorf("sharded: error %v\ngot  %s\nwant %s", err, body, wire)
		}
		got, err := here.Open(wire)
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("%s: error %v, opened\n%+v, want\n%+v", wire, err, got, &want)
		}

		entry, err := away.Entry(&tt.m, false)
		if want := (Entry{sender, "/chat", tt.kind, tt.data}); err != nil || entry != want {
			t.Errorf("entry: error %v, got\n%+v, want\n%+v", err, entry, want)
		}
		if got, err = here.OpenEntry(entry); err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("%+v: error %v, opened\n%+v, want\n%+v", entry, err, got, &want)
		}

		packed, err := away.Packed(&tt.m)
		if err != nil {
			t.Fatal(err)
		}
		if want.Kind == adapter.KindServerReply && want.Payload.JSON == nil {
			want.Payload = text("null") // there is no undefined in MessagePack
		}
		if got, err = here.Open(string(packed)); err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("%x: error %v, opened\n%+v, want\n%+v", packed, err, got, &want)
		}
	}
}

// TestRooms: a question for the rooms is one for the sockets to Node, whose answer has them too.
func TestRooms(t *testing.T) {
	m := adapter.Message{Kind: adapter.KindListRooms, Request: request}
	body, err := away.Sharded(&m)
	if want := `{"type":7,"data":{` + all + `,"requestId":"` + request + `r","only":"rooms"},"uid":"` + sender + `","nsp":"/chat"}`; err != nil || string(body) != want {
		t.Fatalf("error %v, got %s, want %s", err, body, want)
	}
	question, err := here.Open(string(body))
	if err != nil || question.Kind != adapter.KindListRooms {
		t.Fatalf("error %v, opened %+v", err, question)
	}
	answer, err := away.Sharded(&adapter.Message{Kind: adapter.KindRooms, Request: question.Request, Rooms: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	ofNode, err := away.Sharded(&adapter.Message{Kind: adapter.KindSockets, Request: question.Request, Sockets: []adapter.SocketDetails{one, one}})
	if err != nil {
		t.Fatal(err)
	}
	for frame, rooms := range map[string][]string{
		string(answer): {"a", "b"},
		string(ofNode): {one.ID, one.ID, "a", one.ID, one.ID, "a"},
	} {
		m, err := here.Open(frame)
		if want := (&adapter.Message{Kind: adapter.KindRooms, From: sender, Request: request, Rooms: rooms}); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%s: error %v, opened %+v, want %+v", frame, err, m, want)
		}
	}
}

// Frames with binary, as the npm packages write them: io.to("a").emit("event", Buffer.from([1, 2, 3])).
const (
	notepackFrame = "84a474797065" + "03" + "a464617461" + "82a67061636b6574" + "82a474797065" + "02" + "a464617461" + "92a56576656e74c403010203" +
		"a46f707473" + "83a5726f6f6d73" + "91a161" + "a6657863657074" + "90" + "a5666c616773" + "80" +
		"a3756964" + "b066656463626139383736353433323130" + "a36e7370" + "a52f63686174"
	binaryEntry = "gqZwYWNrZXSCpHR5cGUCpGRhdGGSpWV2ZW50xAMBAgOkb3B0c4Olcm9vbXORoWGmZXhjZXB0kKVmbGFnc4A="
)

func TestBinary(t *testing.T) {
	p, err := parser.MarshalEvent("event", []byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	m := &adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: []string{"a"}}, Packet: event(p)}
	want := &adapter.Message{Kind: adapter.KindBroadcast, From: sender, Packet: event(p),
		Selection: adapter.Selection{Rooms: []string{"a"}, Except: []string{}}}

	body, err := away.Sharded(m)
	if err != nil || hex.EncodeToString(body) != notepackFrame {
		t.Errorf("sharded: error %v\ngot  %x\nwant %s", err, body, notepackFrame)
	}
	if got, err := here.Open(string(body)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("error %v, opened %+v, want %+v", err, got, want)
	}
	entry, err := away.Entry(m, false)
	if err != nil || entry.Data != binaryEntry {
		t.Errorf("entry: error %v\ngot  %s\nwant %s", err, entry.Data, binaryEntry)
	}
	if got, err := here.OpenEntry(entry); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("error %v, opened %+v, want %+v", err, got, want)
	}
	entry, err = away.Entry(m, true)
	if want := `{"packet":{"type":2,"data":["event",{"type":"Buffer","data":[1,2,3]}]},"opts":{"rooms":["a"],"except":[],"flags":{}}}`; err != nil || entry.Data != want {
		t.Errorf("plain text: error %v\ngot  %s\nwant %s", err, entry.Data, want)
	}
}

// TestAttachmentsOfOthers: a payload may come with attachments that it does not name; they must not turn a text into binary.
func TestAttachmentsOfOthers(t *testing.T) {
	p := parser.Payload{JSON: json.RawMessage(`"yes"`), Attachments: [][]byte{{1}, {2}}}
	body, err := away.Sharded(&adapter.Message{Kind: adapter.KindAck, Request: request, Payload: p})
	if want := `{"type":12,"data":{"requestId":"` + request + `","packet":"yes"},"uid":"` + sender + `","nsp":"/chat"}`; err != nil || string(body) != want {
		t.Errorf("error %v, got %s, want %s", err, body, want)
	}
	p.JSON = nil
	body, err = away.Sharded(&adapter.Message{Kind: adapter.KindAck, Request: request, Payload: p})
	if want := `{"type":12,"data":{"requestId":"` + request + `"},"uid":"` + sender + `","nsp":"/chat"}`; err != nil || string(body) != want {
		t.Errorf("error %v, got %s, want %s", err, body, want)
	}
}

// TestBinarySocketData: a socket's data is JSON here; binary in that of Node takes the form that it has in the JSON of Node.
func TestBinarySocketData(t *testing.T) {
	// {type: 8, data: {requestId: "q", sockets: [{id: "s", handshake: {}, rooms: [1, "a"], data: {b: <01 02>, e: <>}}]}, uid: "u", nsp: "/chat"}
	frame := "\x84\xa4type\x08\xa4data\x82\xa9requestId\xa1q\xa7sockets\x91\x84\xa2id\xa1s\xa9handshake\x80\xa5rooms\x92\x01\xa1a" +
		"\xa4data\x82\xa1b\xc4\x02\x01\x02\xa1e\xc4\x00\xa3uid\xa1u\xa3nsp\xa5/chat"
	m, err := here.Open(frame)
	if err != nil || len(m.Sockets) != 1 {
		t.Fatalf("error %v, opened %+v", err, m)
	}
	want := adapter.SocketDetails{ID: "s", Handshake: json.RawMessage("{}"), Rooms: []string{"1", "a"},
		Data: json.RawMessage(`{"b":{"type":"Buffer","data":[1,2]},"e":{"type":"Buffer","data":[]}}`), Node: "u"}
	if !reflect.DeepEqual(m.Sockets[0], want) {
		t.Errorf("opened %s, want %s", m.Sockets[0], want)
	}
}

func TestIgnored(t *testing.T) {
	wire := func(kind, data, uid, nsp string) string {
		return `{"type":` + kind + `,"data":` + data + `,"uid":"` + uid + `","nsp":"` + nsp + `"}`
	}
	hello := `{"packet":{"type":2,"data":["hello"]},` + all + `}`
	foreign := `{"packet":{"type":2,"data":["hello"]},"opts":{"rooms":["x","y"],"except":[],"flags":{}}}`
	for name, body := range map[string]string{
		"own":               wire("3", hello, string(here.uid), "/chat"),
		"other namespace":   wire("3", hello, sender, "/"),
		"initial heartbeat": `{"type":1,"uid":"` + sender + `","nsp":"/chat"}`,
		"heartbeat":         `{"type":2,"uid":"` + sender + `","nsp":"/chat"}`,
		"close":             `{"type":13,"uid":"` + sender + `","nsp":"/chat"}`,
		"unknown type":      wire("14", "{}", sender, "/chat"),
		"foreign rooms":     wire("3", foreign, sender, "/chat"),
		"foreign join":      wire("4", `{"opts":{"rooms":["x"],"except":[],"flags":{}},"rooms":["a"]}`, sender, "/chat"),
		"binary for foreign rooms, whose packet is not even looked at": "\x84\xa4type\x03\xa4data\x82\xa6packet\xc4\x00" +
			"\xa4opts\x81\xa5rooms\x91\xa1x\xa3uid\xa1u\xa3nsp\xa5/chat",
	} {
		if m, err := here.Open(body); m != nil || err != nil {
			t.Errorf("%s: opened %+v, error %v", name, m, err)
		}
	}
	if m, err := here.OpenEntry(Entry{sender, "/chat", "2", ""}); m != nil || err != nil {
		t.Errorf("heartbeat entry: opened %+v, error %v", m, err)
	}
	// A question is answered also when nobody is in its rooms.
	asks := `{"packet":{"type":2,"data":["hello"]},"requestId":"q","opts":{"rooms":["x"],"except":[],"flags":{}}}`
	if m, err := here.Open(wire("3", asks, sender, "/chat")); err != nil || m == nil || m.Request != "q" {
		t.Errorf("question: opened %+v, error %v", m, err)
	}
	// What names its holders is sent on, if nobody is in its rooms here.
	for what, body := range map[string]string{
		"text": wire("3", `{"packet":{"type":2,"data":["hello"]},"opts":{"rooms":["x"],"except":[],"flags":{"holders":["h"]}}}`, sender, "/chat"),
		"binary": "\x84\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x91\xa1e" +
			"\xa4opts\x82\xa5rooms\x91\xa1x\xa5flags\x81\xa7holders\x91\xa1h\xa3uid\xa1u\xa3nsp\xa5/chat",
	} {
		if m, err := here.Open(body); err != nil || m == nil || m.Flags.Direction == nil || m.Flags.Direction.Holders[0] != "h" {
			t.Errorf("%s with holders: opened %+v, error %v", what, m, err)
		}
	}
}

// TestLenient: what others than Node write.
func TestLenient(t *testing.T) {
	for name, tt := range map[string]struct {
		data string
		want adapter.Message
	}{
		"emitter's packet": {`{"packet":{"type":5,"data":["e"],"nsp":"/chat","id":7},"opts":{"rooms":[],"except":[]}}`,
			adapter.Message{Selection: everyone, Packet: event(text(`["e"]`))}},
		"empty lists left out": {`{"opts":{"flags":null},"packet":{"data":["e"],"type":2}}`,
			adapter.Message{Packet: event(text(`["e"]`))}},
		"rooms that are no strings": {`{"packet":{"type":2,"data":["e"]},"opts":{"rooms":[42,null,"a"],"except":[true],"flags":{}}}`,
			adapter.Message{Selection: adapter.Selection{Rooms: []string{"42", "a"}, Except: []string{lenient.Nobody}}, Packet: event(text(`["e"]`))}},
		"flags and lists of odd kinds": {`{"packet":{"type":2,"data":["e"]},"opts":{"rooms":"","except":null,"flags":[]}}`,
			adapter.Message{Selection: adapter.Selection{Rooms: []string{}}, Packet: event(text(`["e"]`))}},
		"flags of odd kinds": {`{"packet":{"type":2,"data":["e"]},"opts":{"flags":{"volatile":1,"compress":0,"timeout":"x"}}}`,
			adapter.Message{Flags: adapter.Flags{Volatile: true}, Packet: event(text(`["e"]`))}},
		"no options":       {`{"packet":{"type":2,"data":["e"]}}`, adapter.Message{Packet: event(text(`["e"]`))}},
		"options are null": {`{"packet":{"type":2,"data":["e"]},"opts":null}`, adapter.Message{Packet: event(text(`["e"]`))}},
		"a timeout that is a float": {`{"packet":{"type":2,"data":["e"]},"opts":{"flags":{"timeout":5e2}}}`,
			adapter.Message{Flags: adapter.Flags{Timeout: 500 * time.Millisecond}, Packet: event(text(`["e"]`))}},
		"options are a list": {`{"packet":{"type":2,"data":["e"]},"opts":[]}`, adapter.Message{Packet: event(text(`["e"]`))}},
		"invalid UTF-8": {`{"packet":{"type":2,"data":["e` + "\xff" + `"]},` + all + `}`,
			adapter.Message{Selection: everyone, Packet: event(text(`["e` + "\ufffd" + `"]`))}},
		"white space": {" {\n\"packet\" : { \"type\" : 2 , \"data\" : [ \"e\" ] } ,\t\"opts\" : { \"rooms\" : [ \"a\" , \"b\" ] , \"except\" : [ ] } } ",
			adapter.Message{Selection: adapter.Selection{Rooms: []string{"a", "b"}, Except: []string{}}, Packet: event(text(`[ "e" ]`))}},
	} {
		tt.want.Kind = adapter.KindBroadcast
		got, err := here.Open(`{"nsp":"/chat","uid":"emitter","data":` + tt.data + `,"type":3}`)
		if err != nil || !reflect.DeepEqual(got, &tt.want) {
			t.Errorf("%s: error %v, opened\n%+v, want\n%+v", name, err, got, &tt.want)
		}
	}
}

// TestOddCommands: what Node writes of odd arguments.
func TestOddCommands(t *testing.T) {
	for data, want := range map[string]adapter.Message{
		`6,{"opts":{"rooms":["a"],"except":[]},"close":1}`:              {Kind: adapter.KindDisconnect, Selection: adapter.Selection{Rooms: []string{"a"}, Except: []string{}}, Close: true},
		`4,{"opts":{"rooms":[null,"a"],"except":[]},"rooms":[null,43]}`: {Kind: adapter.KindJoin, Selection: adapter.Selection{Rooms: []string{"a"}, Except: []string{}}, Rooms: []string{"43"}},
		`4,{"opts":{"rooms":["a"],"except":[]},"rooms":"b"}`:            {Kind: adapter.KindJoin, Selection: adapter.Selection{Rooms: []string{"a"}, Except: []string{}}, Rooms: []string{"b"}},
	} {
		kind, data, _ := strings.Cut(data, ",")
		got, err := here.Open(`{"nsp":"/chat","uid":"emitter","data":` + data + `,"type":` + kind + `}`)
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("%s: error %v, opened %+v", data, err, got)
		}
	}
	_, err := here.Open(`{"nsp":"/chat","uid":"stranger","data":{"packet":{"type":2,"data":["e"]},"opts":{"rooms":5}},"type":3}`)
	if want := `malformed frame from "stranger": field data.opts.rooms`; err == nil || err.Error() != want {
		t.Errorf("refused with %v", err)
	}
	for field, body := range map[string]string{
		"packet of type 3": `{"packet":null,"opts":{}},"type":3`, "rooms of type 4": `{"opts":[]},"type":4`, "packet of type 9": `{"packet":{}},"type":9`,
		"clientCount of type 11": `{"requestId":"q","clientCount":"x"},"type":11`, "sockets of type 8": `{"requestId":"q","sockets":{}},"type":8`,
	} {
		_, err := here.Open(`{"nsp":"/chat","uid":"stranger","data":` + body + `}`)
		if want := `malformed frame from "stranger": field data.` + field; err == nil || err.Error() != want {
			t.Errorf("refused with %v, want %s", err, want)
		}
	}
}

// TestOddIDs: who asks with an id that is no text is answered with it, as by Node.
func TestOddIDs(t *testing.T) {
	for _, id := range []string{`"q"`, `""`, `7`, `1.5`, `null`, `true`, `{"a":[1]}`, `["q"]`} {
		for kind, answer := range map[string]adapter.Message{"3": {Kind: adapter.KindCount, Count: 2}, "7": {Kind: adapter.KindSockets}, "9": {Kind: adapter.KindServerReply}} {
			q, err := here.Open(`{"nsp":"/chat","uid":"u","data":{"requestId":` + id + `,"packet":{"type":2,"data":["e"]},` + all + `},"type":` + kind + `}`)
			if kind == "9" {
				q, err = here.Open(`{"nsp":"/chat","uid":"u","data":{"requestId":` + id + `,"packet":["e"]},"type":9}`)
			}
			if err != nil || q.Request == "" {
				t.Fatalf("id %s in type %s: error %v, opened %+v", id, kind, err, q)
			}
			answer.Request = q.Request
			body, err := here.Sharded(&answer)
			if err != nil || !strings.Contains(string(body), `{"requestId":`+id) {
				t.Errorf("id %s in type %s: answered %s, error %v", id, kind, body, err)
			}
			packed, err := here.Packed(&answer)
			if again, err2 := away.Open(string(packed)); err != nil || err2 != nil || again.Request != q.Request {
				t.Errorf("id %s in type %s: answered %x, errors %v, %v", id, kind, packed, err, err2)
			}
		}
	}
	q, err := here.Open(`{"nsp":"/chat","uid":7,"data":{` + all + `},"type":7}`)
	if err != nil || q.From != "7" {
		t.Fatalf("no id: error %v, opened %+v", err, q)
	}
	if body, err := here.Sharded(&adapter.Message{Kind: adapter.KindSockets, Request: q.Request}); err != nil || !strings.Contains(string(body), `{"sockets":[]}`) {
		t.Errorf("no id: answered %s, error %v", body, err)
	}
}

// TestUnanswered: of what is refused the questions are known that somebody waits for.
func TestUnanswered(t *testing.T) {
	for _, tt := range []struct{ kind, data, answer string }{
		{"3", `{"requestId":"q","packet":{"type":2,"data":{}},"opts":{}}`, `"data":{"requestId":"q","clientCount":0}`},
		{"3", `{"requestId":7,"packet":null,"opts":{}}`, `"data":{"requestId":7,"clientCount":0}`},
		{"3", `{"requestId":"q","packet":{"type":2,"data":["e"]},"opts":{"rooms":5}}`, `"data":{"requestId":"q","clientCount":0}`},
		{"3", `{"requestId":"q","packet":{"type":2,"data":["e"]},"opts":true}`, `"data":{"requestId":"q","clientCount":0}`},
		{"3", `{"packet":null,"opts":{}}`, ""},
		{"6", `{"requestId":"q","opts":true}`, ""},
		{"7", `{"requestId":"q","opts":{"except":true}}`, `"data":{"requestId":"q","sockets":[]}`},
		{"7", `{"opts":5}`, `"data":{"sockets":[]}`},
		{"9", `{"requestId":"q","packet":{}}`, ""},
	} {
		_, err := here.Open(`{"nsp":"/chat","uid":"u","data":` + tt.data + `,"type":` + tt.kind + `}`)
		q, answer := Unanswered(err)
		if err == nil || (q == nil) != (tt.answer == "") {
			t.Errorf("type %s %s: %+v, error %v", tt.kind, tt.data, q, err)
		}
		if q == nil {
			continue
		}
		answer.Request = q.Request
		if body, err := here.Sharded(answer); err != nil || q.From != "u" || !strings.Contains(string(body), tt.answer) {
			t.Errorf("type %s %s: answered %s, error %v", tt.kind, tt.data, body, err)
		}
	}
	if q, _ := Unanswered(errors.New("other")); q != nil {
		t.Errorf("%+v", q)
	}
}

func TestMalformed(t *testing.T) {
	deep := strings.Repeat("[", maxDepth)
	for name, tt := range map[string]struct{ kind, data string }{
		"no data":              {"3", `null`},
		"no packet":            {"3", `{` + all + `}`},
		"no options":           {"6", `{"close":true}`},
		"options are null":     {"6", `{"opts":null,"close":true}`},
		"options are true":     {"3", `{"packet":{"type":2,"data":["e"]},"opts":true}`},
		"packet type":          {"3", `{"packet":{"type":0,"data":["e"]},` + all + `}`},
		"event without data":   {"3", `{"packet":{"type":2},` + all + `}`},
		"event without name":   {"3", `{"packet":{"type":2,"data":[]},` + all + `}`},
		"event is an object":   {"3", `{"packet":{"type":2,"data":{}},` + all + `}`},
		"reserved event":       {"3", `{"packet":{"type":2,"data":["disconnect"]},` + all + `}`},
		"event in broken JSON": {"3", `{"packet":{"type":2,"data":["e",tru]},` + all + `}`},
		"mismatched brackets":  {"3", `{"packet":{"type":2,"data":["e",[}]]},` + all + `}`},
		"deep":                 {"3", `{"packet":{"type":2,"data":["e",` + deep + strings.Repeat("]", maxDepth) + `]},` + all + `}`},
		"rooms are no list":    {"3", `{"packet":{"type":2,"data":["e"]},"opts":{"rooms":5,"except":[],"flags":{}}}`},
		"except is no list":    {"3", `{"packet":{"type":2,"data":["e"]},"opts":{"except":{},"flags":{}}}`},
		"rooms missing":        {"4", `{` + all + `}`},
		"sockets missing":      {"8", `{"requestId":"q"}`},
		"socket without id":    {"8", `{"requestId":"q","sockets":[{}]}`},
		"side event":           {"9", `{"packet":"e"}`},
		"reply without id":     {"10", `{"packet":1}`},
		"count":                {"11", `{"requestId":"q","clientCount":-1}`},
		"count too high":       {"11", `{"requestId":"q","clientCount":9007199254740991}`},
		"no count":             {"11", `{"requestId":"q"}`},
		"broken answer":        {"12", `{"requestId":"q","packet":[}`},
		"gone without ids":     {"113", `{"requestId":"q"}`},
		"negative number":      {"3", `{"packet":{"type":2,"data":["e"]},` + all + `,"seq":-1}`},
		"number is a text":     {"3", `{"packet":{"type":2,"data":["e"]},` + all + `,"after":"1"}`},
		"number too high":      {"3", `{"packet":{"type":2,"data":["e"]},` + all + `,"directed":9007199254740992}`},
	} {
		body := `{"type":` + tt.kind + `,"data":` + tt.data + `,"uid":"u","nsp":"/chat"}`
		if m, err := here.Open(body); !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%s: opened %+v, error %v", name, m, err)
		}
		if m, err := here.OpenEntry(Entry{"u", "/chat", tt.kind, tt.data}); !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%s, entry: opened %+v, error %v", name, m, err)
		}
	}
	for name, body := range map[string]string{
		"empty":                 "",
		"array":                 "[]",
		"cut short":             `{"type":3`,
		"no colon":              `{"type",3}`,
		"trailing":              `{"type":3}x`,
		"type is a text":        `{"type":"3","uid":"u","nsp":"/chat"}`,
		"no data":               `{"type":3,"uid":1,"nsp":"/chat"}`,
		"string without end":    `{"type":3,"uid":"u`,
		"MessagePack trailing":  "\x80\xc0",
		"MessagePack cut short": "\x84\xa4type",
		"MessagePack data":      "\x84\xa4type\x03\xa4data\xc4\x00\xa3uid\xa1u\xa3nsp\xa5/chat",
		"too long":              strings.Repeat(" ", maxFrame+1),
	} {
		if m, err := here.Open(body); !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%s: opened %+v, error %v", name, m, err)
		}
	}
	for name, e := range map[string]Entry{
		"type":     {"u", "/chat", "three", "{}"},
		"base64":   {"u", "/chat", "3", "!"},
		"no data":  {"u", "/chat", "3", ""},
		"too long": {"u", "/chat", "3", strings.Repeat("A", maxFrame+1)},
		"no map":   {"u", "/chat", "3", base64.StdEncoding.EncodeToString([]byte{0x90})},
	} {
		if m, err := here.OpenEntry(e); !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%s: opened %+v, error %v", name, m, err)
		}
	}
}

func TestOwn(t *testing.T) {
	odd := codec("0000000000000000", `/a"b☃`)
	for _, c := range []*Codec{here, away, odd} {
		for _, tt := range messages {
			text, err := c.Sharded(&tt.m)
			if err != nil {
				t.Fatal(err)
			}
			packed, err := c.Packed(&tt.m)
			if err != nil {
				t.Fatal(err)
			}
			for _, by := range []*Codec{here, away, odd} {
				if by.Own(string(text)) != (by == c) || by.Own(string(packed)) != (by == c) {
					t.Errorf("%s takes %q of %s for its own or not: %v, %v", by.uid, text, c.uid, by.Own(string(text)), by.Own(string(packed)))
				}
			}
		}
	}
}

// TestUnwritable: what no peer could read is an error of the sender.
func TestUnwritable(t *testing.T) {
	broken := parser.Payload{JSON: json.RawMessage(`["e",{"_placeholder":true,"num":1}]`), Attachments: [][]byte{{1}}}
	for _, m := range []*adapter.Message{{}, {Kind: adapter.KindBroadcast, Packet: event(broken)}, {Kind: adapter.KindServerSide, Payload: text("[")}} {
		if body, err := away.Sharded(m); err == nil {
			t.Errorf("sharded: %s", body)
		}
		if body, err := away.Packed(m); err == nil {
			t.Errorf("packed: %x", body)
		}
		if entry, err := away.Entry(m, false); err == nil {
			t.Errorf("entry: %+v", entry)
		}
	}
}

// TestBothForms writes rooms that are whole numbers for Node.js, where they may be numbers, and reads them as one.
func TestBothForms(t *testing.T) {
	sel := adapter.Selection{Rooms: []string{"43", "a"}, Except: []string{"7", "1.5"}}
	const opts = `"opts":{"rooms":["43",43,"a"],"except":["7",7,"1.5"],"flags":{}}`
	c := away.ForNode()
	for want, m := range map[string]adapter.Message{
		`{"packet":{"type":2,"data":["e"]},` + opts + `}`: {Kind: adapter.KindBroadcast, Packet: event(text(`["e"]`)), Selection: sel},
		`{` + opts + `,"requestId":"q"}`:                  {Kind: adapter.KindFetch, Request: "q", Selection: sel},
		`{` + opts + `,"rooms":["-1",-1]}`:                {Kind: adapter.KindJoin, Selection: sel, Rooms: []string{"-1"}},
		`{` + opts + `,"close":true}`:                     {Kind: adapter.KindDisconnect, Selection: sel, Close: true},
	} {
		body, err := c.Sharded(&m)
		if err != nil || !strings.Contains(string(body), `"data":`+want+`,"uid"`) {
			t.Errorf("kind %d: %s, error %v", m.Kind, body, err)
		}
		if packed, err := c.Packed(&m); err != nil || m.Kind == adapter.KindJoin && !strings.HasSuffix(string(packed), "\xa5rooms\x92\xa2-1\xff\xa3uid\xb0"+string(c.uid)+"\xa3nsp\xa5/chat") {
			t.Errorf("kind %d: %x, error %v", m.Kind, packed, err)
		}
	}
	m, err := here.Open(`{"type":8,"data":{"requestId":"q","sockets":[{"id":"s","rooms":["s",43,"43"]}]},"uid":"u","nsp":"/chat"}`)
	if err != nil || strings.Join(m.Sockets[0].Rooms, " ") != "s 43" {
		t.Errorf("opened %+v, error %v", m, err)
	}
}
