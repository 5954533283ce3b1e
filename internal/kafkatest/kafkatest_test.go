package kafkatest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Goroutine), goleak.Cleanup(kafkatest.Exit))
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// makeTopic makes a topic with the broker's default number of copies.
func makeTopic(t *testing.T, client *kgo.Client, name string) error {
	t.Helper()
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, -1
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(within(t), client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.Topics[0].ErrorCode)
}

func produce(t *testing.T, client *kgo.Client, topic, value string) error {
	t.Helper()
	return client.ProduceSync(within(t), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr()
}

// read returns the values of a topic, as soon as there are n.
func read(t *testing.T, client *kgo.Client, n int) (values []string) {
	t.Helper()
	for len(values) < n {
		fetches := client.PollFetches(within(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func TestSingle(t *testing.T) {
	b := kafkatest.Single(t, nil)
	client := b.Client(kgo.ConsumeTopics("t"))
	if err := produce(t, client, "t", "early"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("without a topic: %v", err)
	}
	if err := makeTopic(t, client, "t"); err != nil {
		t.Fatal(err)
	}
	if err := produce(t, client, "t", "one"); err != nil {
		t.Fatal(err)
	}
	b.Restart()
	b.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := client.Ping(ctx); err == nil {
		t.Error("a frozen broker answers")
	}
	b.Thaw()
	b.Stop()
	if b.Running() {
		t.Error("runs")
	}
	b.Start()
	if err := produce(t, client, "t", "two"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, client, 2); got[0] != "one" || got[1] != "two" {
		t.Errorf("read %q", got)
	}
}

// TestShared: the tests of a package get the same broker, with what it has, also if one of them has ended it.
func TestShared(t *testing.T) {
	for name, of := range map[string]func(testing.TB) *kafkatest.Broker{"shared": kafkatest.Shared, "victim": kafkatest.Victim} {
		t.Run(name, func(t *testing.T) {
			b := of(t)
			if err := makeTopic(t, b.Client(), "shared"); err != nil {
				t.Fatal(err)
			}
			b.Kill()
			if again := of(t); again.Addr != b.Addr || !errors.Is(makeTopic(t, again.Client(), "shared"), kerr.TopicAlreadyExists) {
				t.Error("not the same broker")
			}
		})
	}
}

// clientOf returns a client of a user, who need not be let in.
func clientOf(t *testing.T, b *kafkatest.Broker, user sasl.Mechanism) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.DialTLSConfig(b.TLSConfig()), kgo.SASL(user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// TestAccess: with TLS and SASL nobody gets in without, and who gets in may do what he was allowed.
func TestAccess(t *testing.T) {
	b := kafkatest.Single(t, &kafkatest.Options{
		Users: map[string]string{"admin": "a-secret", "app": "secret"}, Authorize: true, TLS: true, Properties: []string{"message.max.bytes=2000"},
	})
	if err := makeTopic(t, b.Client(), "t"); err != nil {
		t.Fatal(err)
	}
	app := clientOf(t, b, scram.Auth{User: "app", Pass: "secret"}.AsSha512Mechanism())
	if err := produce(t, app, "t", "v"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("without a right: %v", err)
	}
	if err := produce(t, b.Client(), "t", "v"); err != nil {
		t.Errorf("with all rights: %v", err)
	}
	wrong := clientOf(t, b, scram.Auth{User: "app", Pass: "wrong"}.AsSha256Mechanism())
	if err := wrong.Ping(within(t)); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("with a wrong password: %v", err)
	}
	big := string(make([]byte, 3000))
	if err := produce(t, b.Client(kgo.ProducerBatchCompression(kgo.NoCompression())), "t", big); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("too big: %v", err)
	}
}

// TestCluster: what was written before the leader was killed can be read afterwards.
func TestCluster(t *testing.T) {
	c := kafkatest.Cluster(t, 3, nil)
	client := c.Client(kgo.ConsumeTopics("t"))
	if err := makeTopic(t, client, "t"); err != nil {
		t.Fatal(err)
	}
	if err := produce(t, client, "t", "one"); err != nil {
		t.Fatal(err)
	}
	c.InSync("t")
	leader := c.Leader("t", 0)
	leader.Kill()
	if err := produce(t, client, "t", "two"); err != nil {
		t.Fatal(err)
	}
	if now := c.Leader("t", 0); now == leader {
		t.Error("a killed broker leads")
	}
	leader.Start()
	c.AwaitReady()
	c.InSync("t")
	if got := read(t, client, 2); got[0] != "one" || got[1] != "two" {
		t.Errorf("read %q", got)
	}
}
