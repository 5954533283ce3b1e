package kafkaadapter

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
)

// TestRights has nodes log in over TLS, and be allowed what they need or not.
func TestRights(t *testing.T) {
	b := kafkatest.Single(t, &kafkatest.Options{Users: map[string]string{"admin": "a", "node": "n"}, Authorize: true, TLS: true})
	t.Run("missing", func(t *testing.T) { testRightsMissing(t, b) })
	t.Run("as documented", func(t *testing.T) { testRightsDocumented(t, b) })
}

// guarded are the options of a node that logs in.
func guarded(t *testing.T, b *kafkatest.Broker) Options {
	opts := options(t, b.Addr)
	opts.SASL, opts.TLS = &SASL{ScramSHA256, "node", "n"}, b.TLSConfig()
	return opts
}

// testRightsDocumented: the rights that the documentation names are enough for users, an emitter and an ingest.
func testRightsDocumented(t *testing.T, b *kafkatest.Broker) {
	opts := guarded(t, b)
	admin := kadm.NewClient(b.Client())
	allow := func(what *kadm.ACLBuilder) {
		t.Helper()
		made, err := admin.CreateACLs(within(t), what.Allow("User:node").AllowHosts("*").ResourcePatternType(kadm.ACLPatternPrefixed))
		if err != nil || len(made) == 0 {
			t.Fatal(err)
		}
	}
	allow(kadm.NewACLs().Topics(opts.Prefix+".").Operations(kadm.OpRead, kadm.OpWrite, kadm.OpDescribe, kadm.OpCreate))
	allow(kadm.NewACLs().Groups(opts.Prefix + ".").Operations(kadm.OpRead))
	orders, dead := opts.Prefix+".orders", opts.Prefix+".dead"
	makeTopics(t, b, orders, dead)

	n := join(t, opts)[0]
	store, err := NewUserStore(&UserStoreOptions{Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	enrolIn(t, store, lifeA)
	if o := apply(t, store, adapter.UserHold, "u", lifeA); !o.First {
		t.Errorf("%+v", o)
	}
	ingesting(t, opts, IngestOptions{Topics: []string{orders}, DeadLetters: dead})
	record := &kgo.Record{Topic: orders, Value: []byte("1"), Headers: []kgo.RecordHeader{
		{Key: ingestEvent, Value: []byte("order")}, {Key: ingestNamespace, Value: []byte("/chat")},
	}}
	writer := b.Client(kgo.SASL(plain.Auth{User: "admin", Pass: "a"}.AsMechanism()))
	for _, r := range []*kgo.Record{{Topic: orders}, record} { // the first one is a dead letter
		if err := writer.ProduceSync(within(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	gets(t, n, `["order",1]`)
}
