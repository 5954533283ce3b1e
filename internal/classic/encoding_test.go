package classic_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/server/parser"
)

// lines is an encoding of two lines: what the frame is, with the uid, and the rest as encoding/json writes it. In an
// acknowledgement they are the other way round.
type lines struct{}

func (lines) begin(what, uid string, f any) ([]byte, error) {
	text, err := json.Marshal(f)
	return []byte(what + uid + "\n" + string(text)), err
}

func (l lines) EncodeBroadcast(f classic.BroadcastFrame) ([]byte, error) {
	return l.begin("broadcast ", f.UID, f)
}

func (l lines) EncodeQuestion(f classic.RequestFrame) ([]byte, error) {
	return l.begin("question ", f.UID, f)
}

func (lines) EncodeAck(f classic.AnswerFrame) ([]byte, error) {
	text, err := json.Marshal(f)
	return []byte("ack " + string(text) + "\n" + f.UID), err
}

func (lines) DecodeBroadcast(body []byte) (f classic.BroadcastFrame, err error) {
	_, text, _ := strings.Cut(string(body), "\n")
	return f, json.Unmarshal([]byte(text), &f)
}

func (lines) DecodeRequest(body []byte) (f classic.RequestFrame, err error) {
	_, text, _ := strings.Cut(string(body), "\n")
	return f, json.Unmarshal([]byte(text), &f)
}

func (lines) DecodeAnswer(body []byte) (f classic.AnswerFrame, err error) {
	text, _, _ := strings.Cut(strings.TrimPrefix(string(body), "ack "), "\n")
	err = json.Unmarshal([]byte(text), &f)
	if string(f.Value.JSON) == "null" { // encoding/json has no undefined
		f.Value = parser.Payload{}
	}
	return f, err
}

// upside is a parser of which nothing is known: JSON from its end to its beginning, with attachments.
type upside struct{}

func (upside) Name() string { return "upside" }

func (upside) Encode(v parser.Payload) ([]byte, error) {
	body, err := json.Marshal(struct {
		JSON        string
		Attachments [][]byte
	}{string(v.JSON), v.Attachments})
	slices.Reverse(body)
	return body, err
}

func (upside) Decode(body []byte) (parser.Payload, error) {
	body = slices.Clone(body)
	slices.Reverse(body)
	var v struct {
		JSON        string
		Attachments [][]byte
	}
	err := json.Unmarshal(body, &v)
	return parser.Payload{JSON: []byte(v.JSON), Attachments: v.Attachments}, err
}

func (lines) Name() string { return "lines" }

func (lines) Marks(uid string) classic.Marks {
	return classic.Marks{Broadcast: "broadcast " + uid + "\n", Question: "question " + uid + "\n", Ack: "\n" + uid}
}

func (lines) Shape(body string) classic.Shape {
	switch {
	case strings.HasPrefix(body, "broadcast "):
		return classic.ShapeBroadcast
	case strings.HasPrefix(body, "question "):
		return classic.ShapeRequest
	}
	return classic.ShapeAnswer
}

// everyMessage has each kind of message that is no answer, as it is read by another node but for its sender, and each answer.
func everyMessage(t *testing.T) (messages, answers []adapter.Message) {
	t.Helper()
	p, err := parser.MarshalEvent("event", "text", 1)
	if err != nil {
		t.Fatal(err)
	}
	packet := &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: p}
	some := adapter.Selection{Rooms: []string{"a", "b"}, Except: []string{"c"}}
	messages = []adapter.Message{
		{Kind: adapter.KindBroadcast, Packet: packet, Selection: some, Flags: adapter.Flags{Volatile: true, NoCompress: true}},
		{Kind: adapter.KindBroadcast, Packet: packet, Selection: some, Request: "1"},
		{Kind: adapter.KindBroadcast, Packet: packet, Selection: some, Flags: adapter.Flags{Foreign: true}},
		{Kind: adapter.KindBroadcast, Packet: packet, Selection: some, Flags: adapter.Flags{Direction: &adapter.Direction{Holders: []adapter.NodeID{"x", "y"}}}},
		{Kind: adapter.KindJoin, Selection: some, Rooms: []string{"d"}},
		{Kind: adapter.KindLeave, Selection: some, Rooms: []string{"d"}},
		{Kind: adapter.KindDisconnect, Selection: some, Close: true},
		{Kind: adapter.KindFetch, Selection: some, Request: "2"},
		{Kind: adapter.KindListRooms, Request: "3"},
		{Kind: adapter.KindServerSide, Payload: p},
		{Kind: adapter.KindServerSide, Payload: p, Request: "4"},
	}
	details := adapter.SocketDetails{ID: "s", Handshake: []byte("{}"), Rooms: []string{"s"}, Data: []byte("{}")}
	answers = []adapter.Message{
		{Kind: adapter.KindSockets, Sockets: []adapter.SocketDetails{details}},
		{Kind: adapter.KindRooms, Rooms: []string{"a"}},
		{Kind: adapter.KindServerReply, Payload: parser.Payload{JSON: []byte(`{"uid":"x"}`)}},
		{Kind: adapter.KindCount, Count: 3},
		{Kind: adapter.KindAck, Payload: parser.Payload{JSON: []byte(`{"uid":"x"}`)}, SocketID: "s"},
		{Kind: adapter.KindAck, SocketID: "s"},
		{Kind: adapter.KindGone, SocketIDs: []string{"s"}},
	}
	return messages, answers
}

// numberings are the numbers that messages may have together.
var numberings = []adapter.Message{{}, {Seq: 7}, {After: 1}, {Directed: 200}, {After: 1 << 32, Directed: 3}, {Seq: 1<<53 - 1, After: 1 << 16, Directed: 1}}

// asked is a question of ours as theirs has read it.
func asked(t *testing.T, ours, theirs *classic.Codec) *adapter.Message {
	t.Helper()
	messages, _ := everyMessage(t)
	_, body, err := ours.Encode(&messages[1])
	if err != nil {
		t.Fatal(err)
	}
	q, err := theirs.DecodeRequest(body)
	if err != nil || q == nil {
		t.Fatalf("%s: decoded as %+v, error %v", body, q, err)
	}
	return &q.Message
}

// TestEncodings sends every message from one node to another, in every encoding and with uids of every length: on the channels
// of all nodes and on the private one. The numbers arrive, and both nodes recognise unread what is whose.
func TestEncodings(t *testing.T) {
	for _, e := range []classic.Encoding{&classic.MessagePack{}, lines{}, classic.NewJSON(), classic.Values{Parser: upside{}}} {
		for _, uids := range [][2]string{
			{"abcdef", "uvwxyz"}, {"0123456789abcdef", "fedcba9876543210"}, {"abcdef", "abcdef0123456789"}, {"abcdef0123456789", "abcdef"},
			{"a", "abc-def_0123456789012345678901234567890123456789"},
		} {
			t.Run(fmt.Sprintf("%T %s %s", e, uids[0], uids[1]), func(t *testing.T) {
				ours, theirs := classic.New("K", "/chat", uids[0], e), classic.New("K", "/chat", uids[1], e)
				messages, answers := everyMessage(t)
				question := asked(t, ours, theirs)
				for _, n := range numberings {
					for _, m := range messages {
						m.Seq, m.After, m.Directed = n.Seq, n.After, n.Directed
						checkMessage(t, e, ours, theirs, &m)
					}
					for _, m := range answers {
						m.Seq, m.After, m.Directed = n.Seq, n.After, n.Directed
						checkAnswer(t, e, ours, theirs, question, &m)
					}
				}
			})
		}
	}
}

// checkMessage sends a message from theirs to ours.
func checkMessage(t *testing.T, e classic.Encoding, ours, theirs *classic.Codec, m *adapter.Message) {
	t.Helper()
	_, frame, err := theirs.Encode(m)
	if err != nil {
		t.Errorf("kind %d: %v", m.Kind, err)
		return
	}
	body := string(frame)
	own := (*classic.Codec).OwnRequest
	shape := classic.ShapeRequest
	var got *adapter.Message
	if m.Kind == adapter.KindBroadcast && m.Request == "" {
		own, shape = (*classic.Codec).OwnBroadcast, classic.ShapeBroadcast
		got, err = ours.DecodeBroadcast(frame)
	} else if q, failed := ours.DecodeRequest(frame); q != nil {
		got = &q.Message
	} else {
		err = failed
	}
	if (body[0] == '{') != (m.Kind != adapter.KindBroadcast) && (e.Name() != "json" || m.Request == "") {
		t.Errorf("kind %d: not in JSON, or no business of JSON: %q", m.Kind, body)
	}
	want := *m
	want.From = adapter.NodeID(theirs.UID())
	if m.Request != "" { // its first byte says what the node that asks understands
		want.Request = "n" + theirs.UID() + "." + m.Request
		if m.Kind == adapter.KindBroadcast {
			want.Request = "s" + want.Request[1:]
		}
	}
	if err != nil || !reflect.DeepEqual(got, &want) {
		t.Errorf("%q: decoded as\n%+v, want\n%+v, error %v", body, got, &want, err)
	}
	if got, err = ours.DecodeDirected(frame); err != nil || !reflect.DeepEqual(got, &want) {
		t.Errorf("%q: on the private channel decoded as\n%+v, want\n%+v, error %v", body, got, &want, err)
	}
	if got, err = theirs.DecodeDirected(frame); err != nil || got != nil {
		t.Errorf("%q: its sender reads %+v, error %v", body, got, err)
	}
	marked := body[0] == '{' || e.Marks("u") != classic.Marks{}
	if own(ours, body) || own(theirs, body) != marked || ours.Shape(body) != shape || ours.OwnAnswer(body) || theirs.OwnAnswer(body) {
		t.Errorf("%q is not recognised unread: its own %v, ours %v, shape %d", body, own(theirs, body), own(ours, body), ours.Shape(body))
	}
}

// checkAnswer sends an answer to a question of ours from theirs.
func checkAnswer(t *testing.T, e classic.Encoding, ours, theirs *classic.Codec, question, m *adapter.Message) {
	t.Helper()
	frame, err := theirs.EncodeAnswer(question, m)
	if err != nil {
		t.Errorf("kind %d: %v", m.Kind, err)
		return
	}
	body := string(frame)
	want := *m
	want.From, want.Request = adapter.NodeID(theirs.UID()), "1"
	if m.Kind == adapter.KindSockets {
		s := m.Sockets[0]
		s.Node = want.From
		want.Sockets = []adapter.SocketDetails{s}
	}
	for name, decode := range map[string]func(*classic.Codec, []byte) (*adapter.Message, error){
		"answer": (*classic.Codec).DecodeAnswer, "directed": (*classic.Codec).DecodeDirected,
	} {
		if got, err := decode(ours, frame); err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("%q: as %s decoded as\n%+v, want\n%+v, error %v", body, name, got, &want, err)
		}
		if got, err := decode(theirs, frame); err != nil || got != nil {
			t.Errorf("%q: as %s its sender reads %+v, error %v", body, name, got, err)
		}
	}
	marked := body[0] == '{' || e.Marks("u") != classic.Marks{}
	if ours.Shape(body) != classic.ShapeAnswer || ours.OwnAnswer(body) || theirs.OwnAnswer(body) != marked || !ours.MayAnswer(body) {
		t.Errorf("%q is not recognised unread", body)
	}
	if theirs.OwnRequest(body) || theirs.OwnBroadcast(body) {
		t.Errorf("%q is taken for a message", body)
	}
}
