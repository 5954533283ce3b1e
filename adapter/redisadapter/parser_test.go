package redisadapter

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// backwards is a parser of which the adapter knows nothing: JSON from its end to its beginning, with attachments.
type backwards struct{}

func (backwards) Name() string { return "backwards" }

func (backwards) Encode(v parser.Payload) ([]byte, error) {
	body, err := json.Marshal([]any{string(v.JSON), v.Attachments})
	slices.Reverse(body)
	return body, err
}

func (backwards) Decode(body []byte) (v parser.Payload, err error) {
	body = slices.Clone(body)
	slices.Reverse(body)
	var text string
	err = json.Unmarshal(body, &[]any{&text, &v.Attachments})
	return parser.Payload{JSON: []byte(text), Attachments: v.Attachments}, err
}

// TestParser runs the suite with a parser of one's own.
func TestParser(t *testing.T) {
	server := redistest.Single(t)
	adaptertest.Run(t, 3, func(t *testing.T, n int) []adapter.Builder {
		builders := make([]adapter.Builder, n)
		for i := range builders {
			builders[i] = NewPubSub(clientOf(t, server), &PubSubOptions{Key: t.Name(), Parser: backwards{}})
		}
		return builders
	})
}

// TestParserJSON hears nodes and emitters with the same parser, tells whose parser is another one, and keeps nothing.
func TestParserJSON(t *testing.T) {
	server := redistest.Single(t)
	var log logtest.Log
	from, to := startPubSub(t, server, PubSubOptions{Parser: JSON}), startPubSub(t, server, PubSubOptions{Parser: JSON, Options: Options{Logger: log.Logger()}})
	to.Connect("s", "r")
	if err := from.Broadcast(chatEvent(t, "node", []byte{1}), adapter.Selection{Rooms: []string{"r"}}, adapter.Flags{}); err != nil {
		t.Fatal(err)
	}
	arrives(t, to, `2/chat,["node",{"type":"Buffer","data":[1]}]`)
	if err := NewPubSubEmitter(to.rdb, &PubSubEmitterOptions{Parser: JSON}).Of("chat").Emit(within(t), "emitter"); err != nil {
		t.Fatal(err)
	}
	arrives(t, to, `2/chat,["emitter"]`)
	if err := NewPubSubEmitter(to.rdb, nil).Of("chat").Emit(within(t), "other"); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "the other parser is told", func() bool {
		return strings.Contains(log.String(), "it looks like msgpack, but the parser of this node is json")
	})
	if _, _, err := to.Adapter.(adapter.Historian).Keep(adapter.HistoryOptions{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("broadcasts are kept: %v", err)
	}
}
