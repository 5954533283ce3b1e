package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func emitterOf(t *testing.T, opts Options) *Emitter {
	t.Helper()
	e, err := NewEmitter(&opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// TestEmitter has an emitter do all that it can, and a foreign client read and write what nodes and emitters do.
func TestEmitter(t *testing.T) {
	b := kafkatest.Shared(t)
	opts := options(t, b.Addr)
	n := join(t, opts)[0]
	n.local.Connect("s", "r")
	e := emitterOf(t, opts)
	chat := e.Of("chat")
	ctx := within(t)
	for _, err := range []error{
		chat.SocketsJoin(ctx, "one", "two"),
		chat.To("r").SocketsLeave(ctx, "two"),
		chat.To("one").Emit(ctx, "to", 1),
		chat.To("two").Emit(ctx, "nobody"),
		chat.Except("r").Emit(ctx, "except"),
		chat.Volatile().Emit(ctx, "volatile"),
		chat.Emit(ctx, "binary", []byte{1}),
		chat.Emit(ctx, "last"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	gets(t, n, `["to",1]`, `["except"]`, `["volatile"]`, `["binary",{"_placeholder":true,"num":0}]`, `["last"]`)

	topic, partition := opts.Prefix+".log", fmt.Sprint(partitionOf("/chat", defaultLogPartitions))
	read := b.Kcat("", "-C", "-q", "-e", "-t", topic, "-p", partition, "-o", "beginning", "-f", "%k %h %S\n")
	if !strings.Contains(read, "one v=1,from=emitter,kind=broadcast,nsp=/chat") {
		t.Errorf("kcat reads %s", read)
	}
	b.Kcat(`{"uid":"emitter","nsp":"/chat","type":3,"data":{"opts":{"rooms":["r"],"except":[],"flags":{}},"packet":{"type":2,"data":["foreign",{"a":1}],"nsp":"/chat"}}}`,
		"-P", "-t", topic, "-p", partition, "-H", "v=1", "-H", "from=emitter", "-H", "kind=broadcast", "-H", "nsp=/chat")
	gets(t, n, `["foreign",{"a":1}]`)
}

// gets waits until a node has delivered what is expected, in this order, after what it had.
func gets(t *testing.T, n *node, want ...string) {
	t.Helper()
	var got []string
	defer func() { t.Logf("delivered %q", got) }()
	redistest.Eventually(t, fmt.Sprintf("%q is delivered", want), func() bool {
		got = n.got()
		return len(got) >= len(want) && slices.Equal(got[len(got)-len(want):], want)
	})
}

// TestEmitterErrors: what cannot be sent is said.
func TestEmitterErrors(t *testing.T) {
	b := kafkatest.Victim(t)
	opts := options(t, b.Addr)
	e := emitterOf(t, opts)
	if err := e.Emit(within(t), "event"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("without a topic: %v", err)
	}
	join(t, opts)
	if err := e.Emit(within(t), "connect"); !errors.Is(err, adapter.ErrReservedEvent) {
		t.Errorf("reserved: %v", err)
	}
	redistest.Eventually(t, "the topic is known", func() bool { return e.Emit(within(t), "event") == nil })
	b.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := e.Emit(ctx, "event"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an answer: %v", err)
	}
	b.Thaw()
	if _, err := NewEmitter(&Options{Seeds: []string{b.Addr}, Prefix: "a b"}); err == nil {
		t.Error("an emitter with a prefix that is none")
	}
}
