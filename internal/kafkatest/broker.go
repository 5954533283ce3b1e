// Package kafkatest starts real Kafka brokers for tests and makes trouble for them.
//
// The brokers are Apache Kafka in KRaft mode. Every one listens on free ports of the loopback interface, keeps its data in a
// temporary folder and ends with the test, or with the process if the test is killed. Its jars are fetched from Maven Central once
// for all packages; where Java or Maven is missing and the process may install packages, they are installed. A broker takes three
// seconds of two processors to start and 310 MB, which the tests of a package can share, see Shared.
package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sockeye-io/sockeye/internal/freeze"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

const (
	// readyWithin is how long a broker or a cluster may take, on a machine that has much else to do.
	readyWithin = 3 * time.Minute
	// askWithin is how long it may owe an answer while it starts.
	askWithin = 5 * time.Second
)

// Options configure brokers. The zero value works.
type Options struct {
	// Properties are further ones of each broker, as "name=value". They come last, so that they replace those of this package:
	// topics are not made by who asks for them, and nothing waits longer than it must.
	Properties []string
	// Users have clients say who they are, with SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. Names and their passwords, without
	// quotes. Those whose name begins with "admin" may do everything where Authorize restricts the others.
	Users map[string]string
	// Authorize has brokers allow nothing that no ACL allows.
	Authorize bool
	// TLS has clients connect with TLS; TLSConfig of the broker is what they need.
	TLS bool
}

// Broker is a broker as a test has it. Its methods fail the test when they cannot do what they say.
type Broker struct {
	t testing.TB
	*process
}

// process is a process of Kafka.
type process struct {
	// Static after construction.
	Addr   string // host:port for clients
	id     int
	dir    string
	remove func() // the folder
	access access

	frozen atomic.Bool

	// Guarded by mu.
	mu  sync.Mutex
	cmd *exec.Cmd
	log string // path
}

// Single starts one broker. opts may be nil.
func Single(t testing.TB, opts *Options) *Broker {
	t.Helper()
	b := single(t, opts)
	t.Cleanup(b.discard)
	return b
}

// single starts a broker that ends when it is discarded.
func single(t testing.TB, opts *Options) *Broker {
	t.Helper()
	b := newBroker(t, 1, accessOf(t, opts))
	controller := redistest.FreeAddr(t)
	b.format([]string{"--standalone"}, slices.Concat(copies(1), b.listeners(controller), []string{
		"process.roles=broker,controller",
		"controller.quorum.bootstrap.servers=" + controller,
	}))
	b.Start()
	return b
}

// newBroker takes a port and a folder, which are free again when the broker is discarded.
func newBroker(t testing.TB, id int, a access) *Broker {
	t.Helper()
	dir, remove := folder(t)
	return &Broker{t, &process{Addr: redistest.FreeAddr(t), id: id, dir: dir, remove: remove, access: a}}
}

// discard ends the process and removes what it has left.
func (p *process) discard() {
	p.Kill()
	p.remove()
}

// format writes the configuration and makes the empty storage of a process.
func (b *Broker) format(how, properties []string) {
	b.t.Helper()
	all := append([]string{fmt.Sprintf("node.id=%d", b.id), "log.dirs=" + filepath.Join(b.dir, "data")}, properties...)
	all = append(all, defaults...)
	all = append(all, b.access.options.Properties...)
	if err := os.WriteFile(b.config(), []byte(strings.Join(all, "\n")+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	args := append([]string{"-cp", classPath(b.t), "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", b.config()}, how...)
	for user, password := range b.access.options.Users {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, password))
		}
	}
	if out, err := exec.Command("java", args...).CombinedOutput(); err != nil {
		b.t.Fatalf("format the storage of kafka: %v\n%s", err, out)
	}
}

func (p *process) config() string { return filepath.Join(p.dir, "server.properties") }

// Start starts the process again on its ports with its old data, and waits until it answers.
func (b *Broker) Start() {
	b.t.Helper()
	b.launch()
	b.AwaitReady()
}

// launch starts the process and does not wait.
func (b *Broker) launch() {
	b.t.Helper()
	log, err := os.CreateTemp(b.dir, "log")
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classPath(b.t), "kafka.Kafka", b.config())
	cmd.Stdout, cmd.Stderr = log, log
	if err := redistest.Start(cmd); err != nil {
		b.t.Fatalf("start kafka: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cmd, b.log = cmd, log.Name()
}

// AwaitReady waits until the broker answers, knows one that leads, and serves the partitions that it has alone.
func (b *Broker) AwaitReady() {
	b.t.Helper()
	b.await(func() error { return b.asked(b.serves) })
}

// Client returns a new client for the broker that may do everything. It is closed with the test.
func (b *Broker) Client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	return b.access.client(b.t, []string{b.Addr}, opts)
}

// Kill ends the process as a crash would. It does nothing to a broker that is not running.
func (p *process) Kill() { p.end(os.Kill) }

// Stop ends the process in an orderly way: what it leads is handed to other brokers before.
func (p *process) Stop() { p.end(terminate) }

func (p *process) end(sig os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Running reports whether the process has been started and not been ended.
func (p *process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// Restart kills the process and starts it on the same ports.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Kill()
	b.Start()
}

// Freeze stops the process without closing anything: the kernel still accepts connections for it. It returns when nothing of it runs.
func (b *Broker) Freeze() { b.running(freeze.Stop) }

// Thaw undoes Freeze.
func (b *Broker) Thaw() { b.running(freeze.Continue) }

// running does something with the process.
func (b *Broker) running(do func(*os.Process) error) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		b.t.Fatalf("kafka at %s is not running", b.Addr)
	}
	if err := do(b.cmd.Process); err != nil {
		b.t.Fatalf("kafka: %v", err)
	}
}

// awaitBrokers waits until this broker knows so many, itself included, that answer.
func (b *Broker) awaitBrokers(n int) {
	b.t.Helper()
	b.await(func() error {
		return b.asked(func(ctx context.Context, client *kgo.Client) error {
			_, err := knownBrokers(ctx, client, n)
			return err
		})
	})
}

// await waits until something is done without an error.
func (b *Broker) await(do func() error) {
	b.t.Helper()
	deadline := time.Now().Add(readyWithin)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Kill() // its output is complete then
			b.t.Fatalf("kafka at %s: %v\n%s", b.Addr, err, b.output())
		}
		<-tick.C
	}
}

// asked asks the broker something, if it can be reached.
func (b *Broker) asked(what func(ctx context.Context, client *kgo.Client) error) error {
	conn, err := net.Dial("tcp", b.Addr) // first, because a client backs off
	if err != nil {
		return err
	}
	conn.Close()
	client, err := b.access.newClient([]string{b.Addr}, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	return what(ctx, client)
}

// serves returns nil if the broker leads the partitions that no other one has, and tells where those end that it leads.
func (b *Broker) serves(ctx context.Context, client *kgo.Client) error {
	answer, err := knownBrokers(ctx, client, 1)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for _, t := range answer.Topics {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = *t.Topic
		for _, p := range t.Partitions {
			if alone := slices.Equal(p.Replicas, []int32{int32(b.id)}); alone && p.Leader < 0 {
				return fmt.Errorf("%w: partition %d of %s", errNoLeader, p.Partition, *t.Topic)
			}
			if p.Leader == int32(b.id) {
				partition := kmsg.NewListOffsetsRequestTopicPartition()
				partition.Partition, partition.CurrentLeaderEpoch, partition.Timestamp = p.Partition, -1, -1
				topic.Partitions = append(topic.Partitions, partition)
			}
		}
		if len(topic.Partitions) > 0 {
			req.Topics = append(req.Topics, topic)
		}
	}
	if len(req.Topics) == 0 {
		return nil
	}
	raw, err := client.Broker(b.id).Request(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range raw.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d of %s: %w", p.Partition, t.Topic, err)
			}
		}
	}
	return nil
}

// output returns the end of what the process has written.
func (p *process) output() []byte {
	p.mu.Lock()
	path := p.log
	p.mu.Unlock()
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(len(lines)-40, 0):], nil)
}

var (
	errTooFew   = errors.New("too few brokers are known")
	errNoLeader = errors.New("a partition has no leader")
)
