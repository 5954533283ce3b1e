package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestClusterOverKafka runs two nodes, which start before Kafka does and go on when it was killed, and sends to a client of one from
// the other and from the command line.
func TestClusterOverKafka(t *testing.T) {
	kafka := kafkatest.Single(t, &kafkatest.Options{Users: map[string]string{"admin": "the-secret"}})
	kafka.Kill()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("the-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	way := []string{"--kafka", kafka.Addr, "--kafka-user", "admin", "--kafka-password-file", secret, "--key", "chat"}
	// The clients answer no pings while a slow machine starts Kafka.
	flags := append([]string{"--kafka-replication", "1", "--ping-timeout", "3m"}, way...)
	one, two := startNode(t, "n1", flags), startNode(t, "n2", flags)
	one.waitFor("kafka adapter is down")
	kafka.Start()
	one.waitFor("kafka adapter is up")
	two.waitFor("kafka adapter is up")

	ann, bob := pollClient(t, one.addr), pollClient(t, two.addr)
	ann.send(`420["login","ann"]`)
	ann.await(`430[{"user":"ann"}]`)
	bob.send(`420["login","bob"]`)
	bob.await(`430[{"user":"bob"}]`)
	id := 0
	send := func(text string) {
		t.Helper()
		redistest.Eventually(t, text+" crosses", func() bool {
			id++
			bob.send(fmt.Sprintf(`42%d["send",{"to":"ann","message":%q}]`, id, text))
			return strings.HasSuffix(bob.await(fmt.Sprintf("43%d[", id)), `[{"online":true,"devices":1}]`)
		})
		ann.await(fmt.Sprintf(`42["receive",%q,{"from":"bob"}]`, text))
	}
	send("across")

	var stdout, stderr bytes.Buffer
	args := append([]string{"emit", "--to", "ann", "--to", "bob", "--except", "bob", "news", `{"a":1}`, `"text"`}, way...)
	if status := run(t.Context(), args, &stdout, &stderr); status != 0 {
		t.Fatalf("emit ended with status %d, %s", status, stderr.String())
	}
	ann.await(`42["news",{"a":1},"text"]`)

	ingest(t, kafka, ann, way)
	kafka.Kill()
	one.waitForTimes("kafka adapter is down", 2)
	kafka.Start()
	one.waitForTimes("kafka adapter is up", 2)
	two.waitForTimes("kafka adapter is up", 2)
	send("afterwards")
	if strings.Contains(one.log.String(), "the-secret") {
		t.Error("the log has the password")
	}
}

// ingest has records become events for Ann.
func ingest(t *testing.T, kafka *kafkatest.Broker, ann *polling, way []string) {
	t.Helper()
	if _, err := kadm.NewClient(kafka.Client()).CreateTopic(t.Context(), 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := &logText{changed: make(chan struct{})}
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"ingest", "--topic", "orders", "--pass-id"}, way...), io.Discard, log)
	}()
	record := &kgo.Record{Topic: "orders", Value: []byte(`[7]`), Headers: []kgo.RecordHeader{
		{Key: "event", Value: []byte("order")}, {Key: "user", Value: []byte("ann")}, {Key: "id", Value: []byte("o7")},
	}}
	if err := kafka.Client().ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ann.await(`42["order",7,"o7"]`)
	cancel()
	if code := <-status; code != 0 || !strings.Contains(log.String(), "msg=ingested events=1 repeated=0 dead=0") {
		t.Errorf("status %d, %s", code, log.String())
	}
}

// TestKafkaFlags: what cannot be meant is refused, and the configuration that is shown has no password.
func TestKafkaFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"--kafka takes addresses":               {"--kafka", "broker"},
		"--kafka-user needs --kafka":            {"--kafka-user", "u", "--kafka-password", "p"},
		"need each other":                       {"--kafka", "b:1", "--kafka-user", "u"},
		"--kafka-sasl needs --kafka-user":       {"--kafka", "b:1", "--kafka-sasl", "PLAIN"},
		"--kafka-tls-cert and --kafka-tls-key":  {"--kafka", "b:1", "--kafka-tls-cert", os.Args[0]},
		"exclude each other":                    {"--kafka", "b:1", "--redis", "redis://r"},
		"--adapter streams is not for Kafka":    {"--kafka", "b:1", "--adapter", "streams"},
		"--kafka-replication must be positive":  {"--kafka", "b:1", "--kafka-replication=-1"},
		"has no certificate":                    {"--kafka", "b:1", "--kafka-tls-ca", "kafka_test.go"},
		"prefix \"a b\"":                        {"--kafka", "b:1", "--key", "a b"},
		"--stream-name needs --redis":           {"--kafka", "b:1", "--stream-name", "s"},
		"--kafka-retention must be positive":    {"--kafka", "b:1", "--kafka-retention=-1s"},
		"--kafka-log-partitions must be positi": {"--kafka", "b:1", "--kafka-log-partitions=-1"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"check-config"}, args...), &stdout, &stderr); status == 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q: status %d, %s", args, status, stderr.String())
		}
	}
	var stdout, stderr bytes.Buffer
	args := []string{"config", "--kafka", "a:1,b:2", "--kafka-user", "u", "--kafka-password", "the-secret"}
	if status := run(t.Context(), args, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d, %s", status, stderr.String())
	}
	if text := stdout.String(); strings.Contains(text, "the-secret") || !strings.Contains(text, "kafka-user: u") {
		t.Errorf("shown: %s", text)
	}
}
