package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/admin"
	"github.com/sockeye-io/sockeye/server/forward"
)

// readyTimeout is how long --broker-required waits for the broker.
const readyTimeout = 5 * time.Second

// brokerKind is what stands between the nodes; "" for a node that is alone.
type brokerKind string

// Kinds of brokers. Each has a file of its own, with its flags.
const (
	redisKind brokerKind = "Redis"
	natsKind  brokerKind = "NATS"
	kafkaKind brokerKind = "Kafka"
)

// brokerKinds lists all, with the flags that choose each and the values of --adapter that go with it, of which the first is the default.
var brokerKinds = []struct {
	kind     brokerKind
	chosenBy string
	adapters []string
}{
	{redisKind, "--redis", []string{pubSubAdapter, shardedAdapter, streamsAdapter}},
	{natsKind, "--nats or --nats-embed", []string{natsAdapter}},
	{kafkaKind, "--kafka", []string{kafkaAdapter}},
}

// chosenBy names the flags that choose a kind, or any for "".
func (k brokerKind) chosenBy() string {
	text := ""
	for _, b := range brokerKinds {
		if k == "" || k == b.kind {
			if text != "" {
				text += ", "
			}
			text += b.chosenBy
		}
	}
	return text
}

// adapters lists the values of --adapter that go with a kind.
func (k brokerKind) adapters() []string {
	for _, b := range brokerKinds {
		if b.kind == k {
			return b.adapters
		}
	}
	return nil
}

// clusterFlags say how the nodes of a cluster talk. Their defaults are those of the adapters; the flags have none of their own, so
// that one that has no effect can be told from one that was not given.
type clusterFlags struct {
	Adapter string `enum:",pubsub,sharded,streams,nats,kafka" default:"" placeholder:"NAME" help:"How the nodes talk through the broker, the same on all of them. Redis: pubsub (default; any Redis), sharded (Redis 7 pub/sub) or streams. NATS: nats. Kafka: kafka."`
	Key     string `placeholder:"PREFIX" help:"What the names of channels, subjects and topics begin with, the same on all nodes. Redis: socket.io by default, Node's key or channelPrefix. NATS and Kafka: sockeye by default."`

	redisFlags
	natsFlags
	kafkaFlags
}

// kind is the broker that was chosen, the first if there are several.
func (f *clusterFlags) kind() brokerKind {
	switch {
	case len(f.Redis) > 0:
		return redisKind
	case len(f.NATS) > 0:
		return natsKind
	case len(f.Kafka) > 0:
		return kafkaKind
	}
	return ""
}

// flavour is the adapter of a kind of broker.
func (f *clusterFlags) flavour(kind brokerKind) string {
	if kind == "" || f.Adapter != "" {
		return f.Adapter
	}
	return kind.adapters()[0]
}

// flag is one that needs another one.
type flag struct {
	name  string
	given bool
}

// brokerFlag is a flag that has an effect with a broker alone: of one kind unless kind is "", and with one adapter,
// or with those between which there is " or ", unless adapter is "".
type brokerFlag struct {
	flag
	kind    brokerKind
	adapter string
}

// chooses reports whether the flag is one of those that choose its broker.
func (f brokerFlag) chooses() bool {
	return f.kind != "" && slices.Contains(strings.Split(f.kind.chosenBy(), " or "), f.name)
}

// only are flags that work with one kind of broker.
func only(kind brokerKind, flags ...flag) (list []brokerFlag) {
	for _, f := range flags {
		list = append(list, brokerFlag{f, kind, ""})
	}
	return list
}

// anyBroker are flags that work with every broker.
func anyBroker(flags ...flag) []brokerFlag { return only("", flags...) }

func (f *clusterFlags) flags() []brokerFlag {
	list := append(f.redisFlags.flags(), only(natsKind, flag{"--nats", len(f.NATS) > 0})...)
	list = append(list, only(kafkaKind, f.kafkaFlags.flags()...)...)
	return append(list, anyBroker(flag{"--adapter", f.Adapter != ""}, flag{"--key", f.Key != ""})...)
}

// check refuses flags without an effect, and values that the adapters would take for none.
func (f *clusterFlags) check(kind brokerKind, flags []brokerFlag) error {
	for _, flag := range flags {
		switch {
		case !flag.given:
		case kind != "" && kind != flag.kind && flag.chooses():
			return fmt.Errorf("%s and %s exclude each other: there is one broker", kind.chosenBy(), flag.name)
		case kind == "" || flag.kind != "" && flag.kind != kind:
			return fmt.Errorf("%s needs %s", flag.name, flag.kind.chosenBy())
		case flag.adapter != "" && !slices.Contains(strings.Split(flag.adapter, " or "), f.flavour(kind)):
			return fmt.Errorf("%s needs --adapter %s", flag.name, flag.adapter)
		}
	}
	if f.Adapter != "" && !slices.Contains(kind.adapters(), f.Adapter) {
		return fmt.Errorf("--adapter %s is not for %s", f.Adapter, kind)
	}
	if err := f.checkRedis(); err != nil {
		return err
	}
	if err := f.checkNATS(); err != nil {
		return err
	}
	return f.checkKafka()
}

// access is the way of a command that is no node to a cluster.
type access struct {
	*adapter.Emitter
	// revoke keeps a revocation for a time at least, where the nodes read it.
	revoke func(ctx context.Context, r adapter.Revocation, keep time.Duration) error
	close  func() error
}

// access opens the way to the cluster.
func (f *clusterFlags) access(ctx context.Context, log *slog.Logger) (*access, error) {
	switch f.kind() {
	case natsKind:
		return f.accessNATS(ctx, log)
	case kafkaKind:
		return f.accessKafka(log)
	default:
		return f.accessRedis(log)
	}
}

// nodeFlags say how this node takes part.
type nodeFlags struct {
	clusterFlags
	peerFlags
	redisNodeFlags
	natsNodeFlags
	kafkaNodeFlags

	Required      bool          `name:"broker-required" help:"Do not start without the broker. By default a node starts alone, and joins the others when the broker answers."`
	NodeOverAfter time.Duration `help:"How long another node must be silent until its life counts as over; 5m by default."`
	QueueLimit    int           `name:"broker-queue-limit" placeholder:"BYTES" help:"How much may wait for the broker, in bytes, while it is away or slow: what exceeds it is refused, and its sender told; 67108864 (64 MiB) by default."`
	QueueAge      time.Duration `name:"broker-queue-age" help:"How long a message waits for the broker at most; 30s by default."`
}

// kind is the broker that was chosen, the first if there are several.
func (f *nodeFlags) kind() brokerKind {
	if kind := f.clusterFlags.kind(); kind != "" || f.NATSEmbed == "" {
		return kind
	}
	return natsKind
}

func (f *nodeFlags) flags() []brokerFlag {
	list := append(f.clusterFlags.flags(), f.redisNodeFlags.flags()...)
	list = append(list, only(natsKind, f.natsNodeFlags.flags()...)...)
	list = append(list, only(kafkaKind, f.kafkaNodeFlags.flags()...)...)
	list = append(list, anyBroker(f.peerFlags.flags()...)...)
	return append(list, anyBroker(
		flag{"--broker-required", f.Required},
		flag{"--node-over-after", f.NodeOverAfter != 0},
		flag{"--broker-queue-limit", f.QueueLimit != 0},
		flag{"--broker-queue-age", f.QueueAge != 0},
	)...)
}

func (f *nodeFlags) validate() error {
	switch {
	case f.NodeOverAfter < 0:
		return fmt.Errorf("--node-over-after must be positive, got %v", f.NodeOverAfter)
	case f.QueueLimit < 0:
		return fmt.Errorf("--broker-queue-limit must be positive, got %d", f.QueueLimit)
	case f.QueueAge < 0:
		return fmt.Errorf("--broker-queue-age must be positive, got %v", f.QueueAge)
	}
	if err := f.checkRedisNode(); err != nil {
		return err
	}
	if err := f.checkNATSNode(len(f.NATS) > 0); err != nil {
		return err
	}
	if err := f.checkKafkaNode(); err != nil {
		return err
	}
	if err := f.check(f.kind(), f.flags()); err != nil {
		return err
	}
	return f.validatePeer()
}

// broker is what a node needs of what stands between the nodes. All methods may be called concurrently.
type broker interface {
	// builder makes the adapters of the node. Nothing connects before the first namespace exists.
	builder() server.AdapterBuilder
	// ready waits until messages come from the other nodes and go to them.
	ready(context.Context) error
	health() brokerHealth
	// users is where the directory is kept.
	users() adapter.UserStore
	// revocations is where revoked tokens are kept, adminStore where the sessions of pages that have logged in are.
	revocations() adapter.RevocationStore
	adminStore() admin.Store
	// close comes last, after the adapters were closed.
	close() error
}

// brokerHealth is how the broker is.
type brokerHealth struct {
	state  adapter.BrokerState
	since  time.Time // when the state began
	reason error     // why it is down, else nil
}

// brokerUser is what the way to the broker has to know of the node.
type brokerUser struct {
	name     string
	recovery bool      // its clients may go on where their connection was lost
	files    *tlsFiles // of connections between nodes; nil without TLS
}

// openBroker makes the way to the broker. The adapter logs when the other nodes can be reached and when not.
func (f *nodeFlags) openBroker(node brokerUser, log *slog.Logger) (broker, error) {
	switch f.kind() {
	case natsKind:
		return f.openNATS(node, log)
	case kafkaKind:
		return f.openKafka(log)
	default:
		return f.openRedis(log)
	}
}

// checkBroker says what openBroker would refuse, and neither listens nor connects.
func (f *nodeFlags) checkBroker(node brokerUser, log *slog.Logger) error {
	if f.kind() == natsKind {
		files, err := f.peerFiles()
		if err != nil {
			return err
		}
		node.files = files
		return f.checkNATSBroker(node, log)
	}
	open := f.openRedis
	if f.kind() == kafkaKind {
		open = f.openKafka
	}
	way, err := open(log)
	if err != nil {
		return err
	}
	return way.close()
}

// brokerAddress is a host:port from which the address follows on which other nodes reach this one; "" if there is none.
func (f *nodeFlags) brokerAddress() string {
	switch f.kind() {
	case natsKind:
		return f.natsAddress()
	case kafkaKind:
		return f.kafkaAddress()
	default:
		return f.redisAddress()
	}
}

// cluster is what connects this node with the others.
type cluster struct {
	broker
	peerTLS   *tlsFiles          // for connections between nodes, nil without TLS
	forwarder *forward.Forwarder // nil without a private listener; the server shuts it down, if there is one
}

// ready waits until the other nodes can be reached.
func (c *cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := c.broker.ready(ctx); err != nil {
		return fmt.Errorf("%w; without --broker-required the node starts alone", err)
	}
	return nil
}

// certificate returns the files for connections between nodes; nil if there are none.
func (c *cluster) certificate() *tlsFiles {
	if c == nil {
		return nil
	}
	return c.peerTLS
}

// close lets go of the broker and of the private listener. The adapters must be closed before.
func (c *cluster) close() error {
	var err error
	if c.forwarder != nil {
		err = c.forwarder.Close()
	}
	return errors.Join(err, c.broker.close())
}
