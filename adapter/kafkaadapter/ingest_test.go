package kafkaadapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// makeTopics makes topics with one partition.
func makeTopics(t *testing.T, b *kafkatest.Broker, names ...string) {
	t.Helper()
	answers, err := kadm.NewClient(b.Client()).CreateTopics(within(t), 1, 1, nil, names...)
	if err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
}

// ingesting runs an Ingest until stop, or until the test ends.
func ingesting(t *testing.T, opts Options, ingest IngestOptions) (i *Ingest, stop func()) {
	t.Helper()
	i, err := NewIngest(&opts, &ingest, emitterOf(t, opts).Emitter)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return i, stop
}

// TestIngest has a foreign client write what becomes events, what does not, and what does once.
func TestIngest(t *testing.T) {
	b := kafkatest.Shared(t)
	opts := options(t, b.Addr)
	var log bytes.Buffer
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	orders, dead := opts.Prefix+".orders", opts.Prefix+".dead"
	makeTopics(t, b, orders, dead)
	n := join(t, options(t, b.Addr))[0]
	n.local.Connect("s", "r")
	write := func(value string, headers ...string) {
		args := []string{"-P", "-t", orders, "-k", "key"}
		for _, h := range headers {
			args = append(args, "-H", h)
		}
		b.Kcat(value, args...)
	}
	chat := "namespace=/chat"
	write(`[1,{"a":"b"}]`, "event=order", chat)
	write(`[1]`, chat)                          // no event
	write(`{"a"`, "event=broken", chat)         // no JSON
	write(`[]`, "event=disconnect", chat)       // reserved
	write(`1`, "event=e", "namespace=chat")     // no namespace
	write(`"one"`, "event=one", chat, "user=r") // one argument, for a user
	write(`[2]`, "event=other", chat, "room=x") // nobody is there
	write(`[3]`, "event=again", chat, "id=k1")  // comes
	write(`[4]`, "event=again", chat, "id=k1")  // and not again
	write(`["last"]`, "event=last", chat, "id=k2", "room=r", "except=x")

	i, stop := ingesting(t, opts, IngestOptions{Topics: []string{orders}, DeadLetters: dead, PassID: true})
	gets(t, n, `["order",1,{"a":"b"},"`+orders+`/0/0"]`, `["one","one","`+orders+`/0/5"]`, `["again",3,"k1"]`, `["last","last","k2"]`)
	redistest.Eventually(t, "all are counted", func() bool {
		s := i.Stats()
		return s.Events == 5 && s.Dead == 4 && s.Repeated == 1 && s.LastReason != nil
	})
	stop()
	letters := b.Kcat("", "-C", "-q", "-e", "-t", dead, "-o", "beginning", "-f", "%k %s %h\n")
	if got := strings.Count(letters, "\n"); got != 4 || !strings.Contains(letters, `key {"a" event=broken,namespace=/chat,sockeye-error=no event: the value is no JSON,sockeye-source=`+orders+`/0/2`) {
		t.Errorf("%d dead letters: %s", got, letters)
	}

	write(`[5]`, "event=later", chat)
	ingesting(t, opts, IngestOptions{Topics: []string{orders}, DeadLetters: dead})
	gets(t, n, `["last","last","k2"]`, `["later",5]`) // what was done is not done again
	if got := strings.Count(log.String(), "\n"); got != 1 {
		t.Errorf("logged %s", &log)
	}
}

// TestIngestAway kills the broker while records become events: in the end all came, in order, some maybe twice.
func TestIngestAway(t *testing.T) {
	onlyLong(t)
	b := kafkatest.Victim(t)
	opts := options(t, b.Addr)
	orders := opts.Prefix + ".orders"
	makeTopics(t, b, orders)
	n := join(t, opts)[0]
	ingesting(t, opts, IngestOptions{Topics: []string{orders}})
	client := b.Client()
	const records = 200
	for i := range records {
		value, _ := json.Marshal([]int{i})
		r := &kgo.Record{Topic: orders, Value: value, Headers: []kgo.RecordHeader{{Key: ingestEvent, Value: []byte("n")}, {Key: ingestNamespace, Value: []byte("/chat")}}}
		if err := client.ProduceSync(within(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if i == records/2 {
			redistest.Eventually(t, "some came", func() bool { return len(n.got()) > 0 })
			b.Restart()
		}
	}
	redistest.Eventually(t, "all came", func() bool {
		got := n.got()
		return len(got) >= records && got[len(got)-1] == `["n",199]`
	})
	next := 0
	for _, packet := range n.got() {
		var args []any
		if err := json.Unmarshal([]byte(packet), &args); err != nil {
			t.Fatal(err)
		}
		switch i := int(args[1].(float64)); {
		case i == next:
			next++
		case i > next:
			t.Fatalf("%d comes after %d", i, next-1)
		}
	}
}

// TestIngestTooLong: records that are too long for the cluster, and for the dead letters, do not keep those after them from becoming
// events.
func TestIngestTooLong(t *testing.T) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	opts.MaxMessage = 20_000
	n := join(t, opts)[0]
	client := clientOf(t, opts, kgo.ConsumeTopics("dead"))
	if answers, err := kadm.NewClient(client).CreateTopics(within(t), 1, 1, nil, "orders", "dead"); err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
	headers := []kgo.RecordHeader{{Key: ingestEvent, Value: []byte("e")}, {Key: ingestNamespace, Value: []byte("/chat")}}
	long := bytes.Repeat([]byte("1"), 30_000)
	for _, r := range []*kgo.Record{
		{Value: []byte(`1`), Headers: headers},
		{Value: long, Headers: append(slices.Clone(headers), kgo.RecordHeader{Key: "more", Value: long})},
		{Value: long, Headers: headers},
		{Value: []byte(`2`), Headers: headers},
	} {
		r.Topic = "orders"
		if err := client.ProduceSync(within(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	i, _ := ingesting(t, opts, IngestOptions{Topics: []string{"orders"}, DeadLetters: "dead"})
	gets(t, n, `["e",1]`, `["e",2]`)
	redistest.Eventually(t, "all are counted", func() bool { s := i.Stats(); return s.Events == 2 && s.Dead == 2 })
	letters := client.PollFetches(within(t)).Records()
	if len(letters) != 1 || letters[0].Value != nil || !slices.ContainsFunc(letters[0].Headers, func(h kgo.RecordHeader) bool {
		return h.Key == deadSource && string(h.Value) == "orders/0/2"
	}) {
		t.Errorf("dead letters %+v", letters)
	}
}

// TestNamespaceTooLong: what the nodes would not read is not written.
func TestNamespaceTooLong(t *testing.T) {
	long := "/" + strings.Repeat("n", maxHeader)
	r := &kgo.Record{Headers: []kgo.RecordHeader{{Key: ingestEvent, Value: []byte("e")}, {Key: ingestNamespace, Value: []byte(long)}}}
	if _, err := parseIngest(r); !errors.Is(err, errIngest) {
		t.Errorf("a record: %v", err)
	}
	e := emitterOf(t, Options{Seeds: []string{"127.0.0.1:1"}})
	if err := e.Of(long).Emit(within(t), "e"); !errors.Is(err, adapter.ErrTooLarge) {
		t.Errorf("an emitter: %v", err)
	}
}

// TestIngestOptions: what cannot work is refused.
func TestIngestOptions(t *testing.T) {
	e := emitterOf(t, Options{Seeds: []string{"127.0.0.1:1"}})
	for _, ingest := range []IngestOptions{{}, {Topics: []string{"a"}, DeadLetters: "a"}, {Topics: []string{"sockeye.log"}}, {Topics: []string{"a"}, DeadLetters: "sockeye.users"}} {
		if _, err := NewIngest(&Options{Seeds: []string{"127.0.0.1:1"}}, &ingest, e.Emitter); err == nil {
			t.Errorf("%+v is taken", ingest)
		}
	}
}

// TestRecentIDs remembers the last ones only.
func TestRecentIDs(t *testing.T) {
	ids := newRecentIDs(2)
	for i, step := range []struct {
		id  string
		new bool
	}{{"a", true}, {"a", false}, {"b", true}, {"a", false}, {"c", true}, {"b", false}, {"a", true}, {"c", false}, {"b", true}} {
		if got := ids.add(step.id); got != step.new {
			t.Errorf("step %d, %s: %v", i, step.id, got)
		}
	}
}

func FuzzIngest(f *testing.F) {
	f.Add("event", "/n", []byte(`[1,{"a":[]},"]"]`))
	f.Add("e", "n", []byte(`"\\\"["`))
	f.Add("", "", []byte(`{`))
	f.Fuzz(func(t *testing.T, event, namespace string, value []byte) {
		e, err := parseIngest(&kgo.Record{Value: value, Headers: []kgo.RecordHeader{{Key: ingestEvent, Value: []byte(event)}, {Key: ingestNamespace, Value: []byte(namespace)}}})
		if err != nil {
			if !errors.Is(err, errIngest) {
				t.Fatal(err)
			}
			return
		}
		for _, arg := range e.args {
			if !json.Valid(arg.(json.RawMessage)) {
				t.Fatalf("%q", arg)
			}
		}
		if depth(bytes.TrimSpace(value)) > len(value) {
			t.Fatal("deeper than long")
		}
	})
}
