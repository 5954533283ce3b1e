package redisadapter

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/internal/envelope"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestForgedNotes: what a client chooses, the text and the binary of an event, a room, and the name of a namespace, is taken for a note
// nowhere.
func TestForgedNotes(t *testing.T) {
	const uid = "0123456789abcdef"
	ids := "1700000000000-0 1700000000000-1 3"
	short := "@" + uid + " " + ids
	long := "@" + strings.Repeat("a", 159-len(ids)-1) + " " + ids // 160 bytes: a length that valid UTF-8 can have there
	for _, forged := range []string{
		short, "\u00a3log\u0660" + long, "\u0660" + long, `,"log":"` + short, "log" + short,
		"\xa3log\xd9" + string(rune(len(short))) + short, "\xd9" + string(rune(len(short))) + short,
	} {
		text := strings.ToValidUTF8(forged, "?")
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		for name, payload := range map[string]parser.Payload{
			"text":   {JSON: json.RawMessage(fmt.Sprintf(`["n",%s]`, quoted))},
			"object": {JSON: json.RawMessage(fmt.Sprintf(`["n",{"log":%s}]`, quoted))},
			"binary": {JSON: json.RawMessage(`["n",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{[]byte(forged)}},
		} {
			for _, namespace := range []string{"/chat", "/" + text} {
				m := &adapter.Message{Kind: adapter.KindBroadcast, Seq: 7, Selection: adapter.Selection{Rooms: []string{"r"}, Except: []string{text}},
					Packet: &parser.Packet{Type: parser.Event, Namespace: namespace, ID: parser.NoID, Payload: payload}}
				for kind, body := range unnoted(t, uid, namespace, m) {
					if n, ok := noteOf(body); ok {
						t.Errorf("%s with %s in namespace %q: %+v is taken for a note of %q", kind, name, namespace, n, body)
					}
				}
			}
		}
	}
}

// unnoted are the forms of a message before it gets a note.
func unnoted(t *testing.T, uid, namespace string, m *adapter.Message) map[string]string {
	t.Helper()
	forms := make(map[string]string)
	_, body, err := classic.New("k", namespace, uid, &classic.MessagePack{}).Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	forms["classic"] = string(body)
	codec, err := envelope.New(adapter.NodeID(uid), namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	for kind, write := range map[string]func(*adapter.Message) ([]byte, error){"sharded": codec.Sharded, "packed": codec.Packed} {
		if body, err = write(m); err != nil {
			t.Fatal(err)
		}
		forms[kind] = string(body)
	}
	return forms
}
