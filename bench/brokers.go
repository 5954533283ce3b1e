package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What stands between the nodes, by the names that scenarios have.
const (
	redisPubSub  = "pubsub"
	redisSharded = "sharded"
	redisStreams = "streams"
	natsServer   = "nats"
	natsEmbedded = "embedded" // inside each node
	kafkaServer  = "kafka"
)

var (
	allBrokers  = []string{redisPubSub, redisSharded, redisStreams, natsServer, natsEmbedded, kafkaServer}
	nodeBrokers = []string{redisPubSub, redisSharded} // for which the Node program has the adapter
)

// broker is one of its own for one measurement; the zero value stands for none.
type broker struct {
	kind    string
	redis   string   // URL
	flags   []string // of `sockeye serve`, for every node
	routes  []string // embedded: where each node takes those of the others
	process *process
}

// startBroker starts what so many nodes need between them; "" is nothing.
func startBroker(ctx context.Context, kind string, nodes int, t *tools) (*broker, error) {
	b := &broker{kind: kind}
	var err error
	switch kind {
	case "":
	case redisPubSub, redisSharded, redisStreams:
		err = b.startRedis(ctx, t.folder)
	case natsServer:
		err = b.startNATS(ctx, t)
	case natsEmbedded:
		for range nodes {
			port, e := freePort()
			err = errors.Join(err, e)
			b.routes = append(b.routes, "127.0.0.1:"+strconv.Itoa(port))
		}
	case kafkaServer:
		err = b.startKafka(ctx, t.folder)
	default:
		err = fmt.Errorf("there is no broker %q", kind)
	}
	return b, err
}

func (b *broker) startRedis(ctx context.Context, folder string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	args := []string{"redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder}
	if b.process, err = launch(ctx, args, nil, port, folder); err != nil {
		return fmt.Errorf("start Redis (apt-get install redis-server): %w", err)
	}
	b.redis = "redis://" + b.process.address()
	b.flags = []string{"--redis=" + b.redis, "--adapter=" + b.kind}
	return nil
}

// startNATS builds the server that the binary has inside, in the same version, and starts it.
func (b *broker) startNATS(ctx context.Context, t *tools) error {
	program := filepath.Join(t.folder, "nats-server")
	if _, err := os.Stat(program); err != nil {
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/nats-io/nats-server/v2")
		build.Dir = ".." // whose go.mod has the version
		if said, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build nats-server: %w: %s", err, said)
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	store := filepath.Join(t.folder, "jetstream-"+strconv.Itoa(port))
	args := []string{program, "--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--jetstream", "--store_dir", store}
	if b.process, err = launch(ctx, args, nil, port, t.folder); err != nil {
		return err
	}
	b.flags = []string{"--adapter=nats", "--nats=nats://" + b.process.address()}
	return nil
}

// startKafka starts one broker of Kafka, which is its own controller, from the jars that Maven has fetched.
func (b *broker) startKafka(ctx context.Context, folder string) error {
	jars, err := kafkaJars(ctx)
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	controller, err := freePort()
	if err != nil {
		return err
	}
	config := filepath.Join(folder, fmt.Sprintf("kafka-%d.properties", port))
	if err := os.WriteFile(config, []byte(kafkaProperties(folder, port, controller)), 0o600); err != nil {
		return err
	}
	format := exec.CommandContext(ctx, "java", "-cp", jars, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "--standalone",
		"-t", "c29ja2V5ZS1iZW5jaC0wMA", "-c", config)
	if said, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format the storage of Kafka: %w: %s", err, said)
	}
	args := []string{"java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars, "kafka.Kafka", config}
	if b.process, err = launch(ctx, args, nil, port, folder); err != nil {
		return err
	}
	b.flags = []string{"--adapter=kafka", "--kafka=" + b.process.address()}
	return nil
}

func kafkaProperties(folder string, port, controller int) string {
	return strings.Join([]string{
		"process.roles=broker,controller", "node.id=1", "log.dirs=" + filepath.Join(folder, fmt.Sprintf("kafka-%d", port)),
		fmt.Sprintf("listeners=CLIENTS://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", port, controller),
		fmt.Sprintf("advertised.listeners=CLIENTS://127.0.0.1:%d", port),
		"listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT", "inter.broker.listener.name=CLIENTS", "controller.listener.names=CONTROLLER",
		fmt.Sprintf("controller.quorum.bootstrap.servers=127.0.0.1:%d", controller),
		"default.replication.factor=1", "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1", "auto.create.topics.enable=false",
		"log.cleaner.dedupe.buffer.size=8388608", "",
	}, "\n")
}

// kafkaJars returns the class path of Kafka. The project's pom has the version; what is fetched stays in the user's cache, where the tests
// look for it, too.
func kafkaJars(ctx context.Context) (string, error) {
	pom := filepath.Join("..", "internal", "kafkatest", "testdata", "pom.xml")
	text, err := os.ReadFile(pom)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(text)
	home := filepath.Join(cache, "sockeye-kafkatest")
	lib := filepath.Join(home, hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(lib); err == nil {
		return filepath.Join(lib, "*"), nil
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	fetched, err := os.MkdirTemp(home, "new")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fetched)
	work, err := os.MkdirTemp(home, "pom")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), text, 0o600); err != nil {
		return "", err
	}
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-f", filepath.Join(work, "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory="+fetched)
	if said, err := mvn.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch Kafka (apt-get install maven default-jre-headless): %w: %s", err, said)
	}
	if err := os.Rename(fetched, lib); err != nil {
		if _, there := os.Stat(lib); there != nil { // nobody else has been faster
			return "", err
		}
	}
	return filepath.Join(lib, "*"), nil
}

// place is where the node with this number, from 0, is to run.
func (b *broker) place(node int, p place) place {
	p.redis, p.adapter, p.broker = b.redis, b.kind, b.flags
	if b.kind == natsEmbedded {
		urls := make([]string, len(b.routes))
		for i, route := range b.routes {
			urls[i] = "nats://" + route
		}
		p.broker = []string{"--adapter=nats", "--nats-embed=" + b.routes[node], "--nats-routes=" + strings.Join(urls, ",")}
	}
	return p
}

func (b *broker) end() {
	if b.process != nil {
		b.process.stop()
	}
}

// has reports whether a server has what talks to the broker of a scenario.
func (s *server) has(kind string) bool { return kind == "" || slices.Contains(s.brokers, kind) }
