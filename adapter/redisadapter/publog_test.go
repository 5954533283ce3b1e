package redisadapter

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/internal/envelope"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// notedBodies are broadcasts in the three forms of messages, by what decodes them.
func notedBodies(t testing.TB) map[string]struct {
	body []byte
	open func(body string) (*adapter.Message, error)
} {
	t.Helper()
	sharded, err := envelope.New("0123456789abcdef", "/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	shardedAll, err := envelope.New("", "/chat", func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	plain := &adapter.Message{Kind: adapter.KindBroadcast, Seq: 7, Selection: adapter.Selection{Rooms: []string{"a@b"}},
		Packet: &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: parser.Payload{JSON: json.RawMessage(`["n","@1 2-2 3-3 4"]`)}}}
	binary := *plain
	binary.Packet = &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: parser.Payload{
		JSON: json.RawMessage(`["n",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1, 2}}}}
	all := map[string]struct {
		body []byte
		open func(body string) (*adapter.Message, error)
	}{}
	own, others := classic.New("k", "/chat", "0123456789abcdef", &classic.MessagePack{}), classic.New("k", "/chat", "", &classic.MessagePack{})
	for name, m := range map[string]*adapter.Message{"text": plain, "binary": &binary} {
		_, body, err := own.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		packed, err := sharded.Sharded(m)
		if err != nil {
			t.Fatal(err)
		}
		all["classic "+name] = struct {
			body []byte
			open func(body string) (*adapter.Message, error)
		}{body, func(body string) (*adapter.Message, error) { return others.DecodeBroadcast([]byte(body)) }}
		all["sharded "+name] = struct {
			body []byte
			open func(body string) (*adapter.Message, error)
		}{packed, shardedAll.Open}
	}
	return all
}

// TestNotes has Redis put notes to messages: they are found, the messages can be read with and without them, and the entries chain.
func TestNotes(t *testing.T) {
	server := redistest.Single(t)
	rdb := clientOf(t, server)
	ctx := t.Context()
	for name, b := range notedBodies(t) {
		t.Run(name, func(t *testing.T) {
			if _, ok := noteOf(string(b.body)); ok {
				t.Error("there is a note before it was put there")
			}
			names := pubLogNamesOf(strings.ReplaceAll(name, " ", "#"), plain)
			sub := rdb.Subscribe(ctx, "channel")
			defer sub.Close()
			if _, err := sub.Receive(ctx); err != nil {
				t.Fatal(err)
			}
			f, before := formOf(b.body), ""
			for i := range 3 {
				answer, err := rdb.Eval(ctx, appendScript.text, []string{names.stream, names.last}, "publish", "channel", 100, 60000,
					"0123456789abcdef", i+1, f.head, f.open, f.close).Text()
				if err != nil {
					t.Fatal(err)
				}
				m, err := sub.ReceiveMessage(ctx)
				if err != nil {
					t.Fatal(err)
				}
				n, ok := noteOf(m.Payload)
				if !ok || n.uid != "0123456789abcdef" || n.seq != uint64(i+1) || n.id+" 1" != answer || before != "" && n.before != before {
					t.Errorf("note %+v of %q, answer %s", n, m.Payload, answer)
				}
				before = n.id
				for _, text := range []string{m.Payload, f.head + ending(f.head)} {
					if got, err := b.open(text); err != nil || got == nil || got.Seq != 7 || got.Selection.Rooms[0] != "a@b" {
						t.Errorf("%q is %+v, %v", text, got, err)
					}
				}
			}
			entries, err := rdb.XRange(ctx, names.stream, "-", "+").Result()
			if err != nil || len(entries) != 3 {
				t.Fatal(entries, err)
			}
			for i, x := range entries {
				e := pubLogEntryOf(&x)
				if e.body != f.head || e.seq != uint64(i+1) || i > 0 && e.before != entries[i-1].ID {
					t.Errorf("entry %+v", e)
				}
			}
		})
	}
}

// TestPubLogNames: all of a log is in the slot of its channel, or is known not to be.
func TestPubLogNames(t *testing.T) {
	for channel, together := range map[string]bool{
		"socket.io#/chat#": true, "{app}#/chat#": true, "socket.io#/{a}#": true, "socket.io#/a{b#": false, "socket.io#/a}b#": false, "socket.io#/{}#": false,
	} {
		n := pubLogNamesOf(channel, shard)
		if n.together != together {
			t.Errorf("%s: %+v", channel, n)
		}
	}
}

// FuzzNote gives the reader of notes what nobody has put a note to: it finds none, or one whose parts are what they are to be.
func FuzzNote(f *testing.F) {
	for _, seed := range []string{"", "{", "\"}", "\x94@", "\x94\xd9\x04@", `{"log":"@0123456789abcdef 1-1 2-2 3"}`, `{"a":1,"log":"@0123456789abcdef 1-1 2-2 3"}`, "\x94\xd9\x1b@0123456789abcdef 1-1 2-2 3",
		"\x85\xa3log\xd9\x1b@0123456789abcdef 1-1 2-2 3", "@0123456789abcdef 1-1 2-2 3", "!0123456789abcdef 1-1 2"} {
		f.Add(seed)
	}
	for _, b := range notedBodies(f) {
		form := formOf(b.body)
		f.Add(form.head + form.open + "@0123456789abcdef 1-1 2-2 3" + form.close)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, read := range []func(string) (note, bool){noteOf, parseNote} {
			if n, ok := read(body); ok && (!isID(n.before) || !isID(n.id) || !strings.Contains(body, n.text) || strings.ContainsAny(n.uid, " ")) {
				t.Errorf("note %+v of %q", n, body)
			}
		}
		if m, ok := parseMark(body); ok && !isID(m.last) {
			t.Errorf("mark %+v of %q", m, body)
		}
		e := pubLogEntryOf(&redis.XMessage{ID: "1-1", Values: map[string]any{"m": body}})
		if e.body != body {
			t.Errorf("entry %+v of %q", e, body)
		}
	})
}
