package classic

import (
	"encoding/hex"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
)

// fuzzSeeds are frames as the npm packages write them, and as our nodes do.
var fuzzSeeds = []string{
	"93a675767778797a83a47479706502a46461746194a568656c6c6fa5776f726c640181a161c0a36e7370a52f6368617483a5726f6f6d7390a665786365707490a5666c61677380",
	"93a675767778797a83a47479706502a46461746192a568656c6c6fc403010203a36e7370a52f6368617483a5726f6f6d739105a665786365707490a5666c61677381a774696d656f7574cd03e8",
	"85a3756964a675767778797aa9726571756573744964a171a47479706507a67061636b657483a47479706502a46461746191a171a36e7370a52f63686174a46f70747383a5726f6f6d7391a27231a665786365707490a5666c61677381a774696d656f7574cd03e8",
	"83a47479706509a9726571756573744964a86162636465662e31a67061636b6574c40107",
	// Of emitters in Python and PHP.
	"93a7656d697474657283a46461746192a16da178a47479706502a36e7370a12f82a5666c616773a0a5726f6f6d73a0",
	"93a7656d697474657283a47479706502a46461746192a16da178a36e7370a12f82a5726f6f6d7391a172a5666c61677390",
	// Of nodes of ours, with numbers.
	"93a675767778797a83a47479706502a46461746191a26869a36e7370a52f6368617486a5726f6f6d7391a27231a665786365707490a5666c61677380a373657107a56166746572cd012ca86469726563746564cf001fffffffffffff",
	"86a3756964a675767778797aa9726571756573744964a875767778797a2e21a47479706507a67061636b657483a47479706502a46461746191a171a36e7370a52f63686174a46f70747385a5726f6f6d7390a665786365707490a5666c61677380a5616674657201a8646972656374656402a473696473c3",
	"86a47479706509a9726571756573744964a86162636465662e71a3736964a27331a5616674657201a8646972656374656402a3756964a675767778797a",
}

func addSeeds(f *testing.F, more ...string) {
	for _, s := range fuzzSeeds {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range more {
		f.Add([]byte(s))
	}
}

// FuzzBroadcast decodes, and what is decoded must come out the same after another node has sent it on.
func FuzzBroadcast(f *testing.F) {
	addSeeds(f)
	ours, theirs := codec(ourUID), codec(theirUID)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ours.DecodeBroadcast(body)
		if m == nil || err != nil {
			return
		}
		if m.Packet.Type != 2 || m.Packet.Namespace != "/chat" {
			t.Fatalf("packet %+v", m.Packet)
		}
		again := *m
		again.From, again.Packet.ID = theirUID, -1
		again.Selection = adapter.Selection{Rooms: lenient.Distinct(m.Selection.Rooms), Except: lenient.Distinct(m.Selection.Except)}
		_, frame, err := theirs.Encode(&again)
		if err != nil {
			return // nested too deeply to be sent
		}
		back, err := ours.DecodeBroadcast(frame)
		if err != nil {
			t.Fatalf("%x: not decoded again: %v", frame, err)
		}
		_, twice, err := theirs.Encode(back)
		if err != nil || string(twice) != string(frame) {
			t.Fatalf("%x became %x, error %v", frame, twice, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	addSeeds(f,
		`{"uid":"uvwxyz","type":2,"opts":{"rooms":["r1"],"except":["x",5]},"rooms":["a","b"]}`,
		`{"uid":"uvwxyz","type":4,"opts":{"rooms":[],"except":[]},"close":false}`,
		`{"uid":"uvwxyz","requestId":"oa6kFM","type":5,"opts":{"rooms":["r1"],"except":[],"flags":{"timeout":1.5}}}`,
		`{"uid":"uvwxyz","requestId":"q","type":6,"data":["ev",1,{"type":"Buffer","data":[1]}]}`,
		`{"requestId":"q","type":0,"rooms":["a"]}`, `{"type":2,"sid":"s","room":5,"requestId":"q"}`, `{"type":3,"sid":"s","room":"a","requestId":"q"}`,
		`{"requestId":7,"type":5,"opts":{"rooms":[null,"a",{}],"except":"","flags":[]}}`, `{"requestId":{"a":[1]},"type":0,"rooms":"ab"}`,
		`{"type":2,"opts":[],"rooms":"a"}`, `{"requestId":null,"type":7,"opts":{"rooms":5}}`,
		`{"requestId":"q","type":1}`, `{"requestId":"q","type":7,"packet":{"type":2,"data":["e"]},"opts":{}}`,
	)
	ours, theirs := codec(ourUID), codec(theirUID)
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := ours.DecodeRequest(body)
		if q != nil && q.Message.Request != "" {
			if _, err := theirs.EncodeAnswer(&q.Message, &adapter.Message{Kind: adapter.KindCount}); err != nil {
				t.Fatalf("question %q cannot be answered: %v", q.Message.Request, err)
			}
		}
		if q == nil || err != nil {
			return
		}
		m := q.Message
		if m.Request != "" {
			if a, id, odd := askerOf(m.Request); odd != q.oddID || id != q.requestID || a != anyNode && a != sockeye && a != wantsIDs {
				t.Fatalf("question %q with the id %q", m.Request, q.requestID)
			}
		}
		if _, frame, err := theirs.Encode(&m); err == nil {
			if _, err := ours.DecodeRequest(frame); err != nil && m.Kind != adapter.KindBroadcast {
				t.Fatalf("%q: not decoded again: %v", frame, err)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	addSeeds(f,
		`{"requestId":"abcdef.1","sockets":[{"id":"s","handshake":{"h":1},"rooms":["s",5],"data":{}}],"uid":"uvwxyz"}`,
		`{"requestId":"abcdef.1","rooms":["a"]}`, `{"type":6,"requestId":"abcdef.1","data":null}`,
		`{"type":8,"requestId":"abcdef.1","clientCount":3,"sids":["a"]}`, `{"type":100,"requestId":"abcdef.1","sids":["a"],"uid":"uvwxyz"}`,
	)
	ours, theirs := codec(ourUID), codec(theirUID)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ours.DecodeAnswer(body)
		if m == nil || err != nil {
			return
		}
		if !ours.MayAnswer(string(body)) && len(body) > 0 && body[0] != '{' {
			t.Fatal("an answer to this node was not recognised unread")
		}
		frame, err := theirs.EncodeAnswer(&adapter.Message{Request: sockeye.request(ours.requestID(m.Request))}, m)
		if err != nil {
			return // nested too deeply to be sent, or not JSON after invalid text was replaced
		}
		back, err := ours.DecodeAnswer(frame)
		if err != nil || back == nil || back.Kind != m.Kind || back.Request != m.Request || back.Count != m.Count {
			t.Fatalf("%q: decoded again as %+v, error %v", frame, back, err)
		}
	})
}

// FuzzJSON does with JSON what the others do with MessagePack.
func FuzzJSON(f *testing.F) {
	addSeeds(f,
		`["uvwxyz",{"type":2,"data":["e",{"type":"Buffer","data":[1]}],"nsp":"/chat"},{"rooms":["r",43],"except":[],"flags":{"volatile":true}}]`,
		`["emitter",{"type":2,"data":["e"],"nsp":"/chat"},{"rooms":[],"flags":{},"except":null,"seq":1}]`, `["u",{"type":2,"data":["e"]},[]]`,
	)
	ours, theirs := New("socket.io", "/chat", ourUID, NewJSON()), New("socket.io", "/chat", theirUID, NewJSON())
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ours.DecodeBroadcast(body)
		if m == nil || err != nil {
			return
		}
		again := *m
		again.From, again.Packet.ID = theirUID, -1
		again.Selection = adapter.Selection{Rooms: lenient.Distinct(m.Selection.Rooms), Except: lenient.Distinct(m.Selection.Except)}
		_, frame, err := theirs.Encode(&again)
		if err != nil {
			return // nested too deeply to be sent
		}
		back, err := ours.DecodeBroadcast(frame)
		if err != nil {
			t.Fatalf("%q: not decoded again: %v", frame, err)
		}
		if _, twice, err := theirs.Encode(back); err != nil || string(twice) != string(frame) {
			t.Fatalf("%q became %q, error %v", frame, twice, err)
		}
	})
}

// FuzzDirected opens what comes on a private channel: exactly one of the decoders of the other channels gets it, by its shape.
func FuzzDirected(f *testing.F) {
	addSeeds(f,
		`{"uid":"uvwxyz","type":2,"opts":{"rooms":["r1"],"except":["x",5],"after":3,"directed":4},"rooms":["a","b"]}`,
		`{"uid":"uvwxyz","requestId":"q","type":6,"data":["ev",1],"opts":{"directed":1}}`,
		`{"type":6,"requestId":"abcdef.1","data":null,"directed":9007199254740991,"uid":"uvwxyz"}`,
		`{"type":6,"requestId":"abcdef.1","data":null,"after":9007199254740992}`, `{"uid":"u","type":2,"sid":"s","room":"r"}`,
	)
	ours, theirs := codec(ourUID), codec(theirUID)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ours.DecodeDirected(body)
		if m == nil || err != nil {
			if m != nil {
				t.Fatalf("%+v with error %v", m, err)
			}
			return
		}
		if m.Kind == 0 || m.From == ourUID || max(m.Seq, m.After, m.Directed) > maxNumber {
			t.Fatalf("decoded %+v", m)
		}
		var frame []byte
		shape := ours.Shape(string(body))
		switch {
		case (shape == ShapeAnswer) != (m.Kind >= adapter.KindSockets) || shape == ShapeBroadcast && m.Kind != adapter.KindBroadcast:
			t.Fatalf("shape %d decoded as kind %d", shape, m.Kind)
		case shape == ShapeAnswer:
			frame, err = theirs.EncodeAnswer(&adapter.Message{Request: sockeye.request(ours.requestID(m.Request))}, m)
		default:
			_, frame, err = theirs.Encode(m)
		}
		if err != nil {
			return // nested too deeply to be sent
		}
		again, err := ours.DecodeDirected(frame)
		if err != nil || again == nil || again.Kind != m.Kind || again.From != theirUID || again.Seq != m.Seq || again.After != m.After || again.Directed != m.Directed {
			t.Fatalf("%q became %q: decoded as %+v, error %v", body, frame, again, err)
		}
	})
}
