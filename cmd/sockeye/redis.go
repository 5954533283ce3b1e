package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/admin"
)

// Values of --adapter for Redis.
const (
	pubSubAdapter  = "pubsub"
	shardedAdapter = "sharded"
	streamsAdapter = "streams"
)

// redisFlags say where Redis is, and how the nodes use it.
type redisFlags struct {
	Redis        []string `secret:"url" placeholder:"URL" help:"Redis that connects the nodes: redis://, rediss:// or unix://, with user:password@, /database and the query parameters of go-redis. Several URLs are seeds of a Redis Cluster, or with ?master_name=NAME Sentinels."`
	RedisCluster bool     `help:"The one URL of --redis is a seed of a Redis Cluster."`
	RedisCA      string   `name:"redis-ca" type:"existingfile" help:"PEM file of the authority that has signed the certificate of Redis, for rediss://; by default those of the system are trusted."`
	RedisCert    string   `name:"redis-cert" type:"existingfile" help:"PEM file of the certificate that Redis asks for."`
	RedisKey     string   `name:"redis-key" type:"existingfile" help:"PEM file of its private key."`

	RedisParser      string `name:"redis-parser" enum:",msgpack,json" default:"" placeholder:"NAME" help:"pubsub: how messages are encoded, npm's option parser: msgpack (default) or json. The same on all nodes and emitters."`
	SubscriptionMode string `enum:",static,dynamic,dynamic-private" default:"" placeholder:"MODE" help:"sharded: which rooms have channels of their own: static (none), dynamic (default; public ones) or dynamic-private (all). The same on all nodes."`
	StreamName       string `placeholder:"NAME" help:"streams: name of the stream; socket.io by default."`
	StreamCount      int    `placeholder:"N" help:"streams: streams that the namespaces are spread over; 1 by default, the same on all nodes."`
	StreamMaxLen     int    `placeholder:"N" help:"streams: entries that a stream keeps, about; 10000 by default."`
}

// redisNodeFlags say how a node uses Redis.
type redisNodeFlags struct {
	RequestsTimeout                  time.Duration `help:"pubsub: how long the answers of other nodes are waited for; 5s by default."`
	PublishOnSpecificResponseChannel bool          `help:"pubsub: answer Node.js nodes on a channel of the asking node only; the same on all nodes."`
	ExactChannels                    bool          `help:"pubsub: subscribe to the rooms of this node instead of to all of them."`
	UseShardedPubSub                 bool          `name:"use-sharded-pubsub" help:"streams: send questions and answers through sharded pub/sub (Redis 7); the same on all nodes."`
	RecoveryMaxLen                   int           `placeholder:"N" help:"pubsub and sharded: broadcasts that each namespace keeps for clients that come back, about; 10000 by default."`
	AnswerTimeout                    time.Duration `name:"redis-answer-timeout" help:"How long Redis may owe an answer before it counts as down and the connection as dead; 3s by default."`
}

func (f *redisFlags) flags() []brokerFlag {
	return []brokerFlag{
		{flag{"--redis-cluster", f.RedisCluster}, redisKind, ""},
		{flag{"--redis-ca", f.RedisCA != ""}, redisKind, ""},
		{flag{"--redis-cert", f.RedisCert != ""}, redisKind, ""},
		{flag{"--redis-key", f.RedisKey != ""}, redisKind, ""},
		{flag{"--redis-parser", f.RedisParser != ""}, redisKind, pubSubAdapter},
		{flag{"--subscription-mode", f.SubscriptionMode != ""}, redisKind, shardedAdapter},
		{flag{"--stream-name", f.StreamName != ""}, redisKind, streamsAdapter},
		{flag{"--stream-count", f.StreamCount != 0}, redisKind, streamsAdapter},
		{flag{"--stream-max-len", f.StreamMaxLen != 0}, redisKind, streamsAdapter},
	}
}

func (f *redisFlags) checkRedis() error {
	switch {
	case (f.RedisCert == "") != (f.RedisKey == ""):
		return errors.New("--redis-cert and --redis-key need each other")
	case f.StreamCount < 0:
		return fmt.Errorf("--stream-count must be positive, got %d", f.StreamCount)
	case f.StreamMaxLen < 0:
		return fmt.Errorf("--stream-max-len must be positive, got %d", f.StreamMaxLen)
	}
	return nil
}

func (f *redisNodeFlags) flags() []brokerFlag {
	return []brokerFlag{
		{flag{"--redis-answer-timeout", f.AnswerTimeout != 0}, redisKind, ""},
		{flag{"--requests-timeout", f.RequestsTimeout != 0}, redisKind, pubSubAdapter},
		{flag{"--publish-on-specific-response-channel", f.PublishOnSpecificResponseChannel}, redisKind, pubSubAdapter},
		{flag{"--exact-channels", f.ExactChannels}, redisKind, pubSubAdapter},
		{flag{"--use-sharded-pubsub", f.UseShardedPubSub}, redisKind, streamsAdapter},
		{flag{"--recovery-max-len", f.RecoveryMaxLen != 0}, redisKind, pubSubAdapter + " or " + shardedAdapter},
	}
}

func (f *redisNodeFlags) checkRedisNode() error {
	switch {
	case f.RequestsTimeout < 0:
		return fmt.Errorf("--requests-timeout must be positive, got %v", f.RequestsTimeout)
	case f.RecoveryMaxLen < 0:
		return fmt.Errorf("--recovery-max-len must be positive, got %d", f.RecoveryMaxLen)
	case f.AnswerTimeout < 0:
		return fmt.Errorf("--redis-answer-timeout must be positive, got %v", f.AnswerTimeout)
	}
	return nil
}

// redisBroker is Redis between the nodes.
type redisBroker struct {
	// Static after construction.
	rdb    redis.UniversalClient
	nodes  redisBuilder
	prefix string // of keys, "" for the default
}

// redisBuilder is what the adapters of Redis have in common.
type redisBuilder interface {
	server.AdapterBuilder
	Ready(context.Context) error
	Stats() redisadapter.Stats
}

// openRedis makes the client of Redis and the adapter.
func (f *nodeFlags) openRedis(log *slog.Logger) (broker, error) {
	rdb, err := f.redisClient(log)
	if err != nil {
		return nil, err
	}
	flavour := f.flavour(redisKind)
	b := &redisBroker{rdb: rdb, prefix: f.redisPrefix()}
	opts := redisadapter.Options{
		Logger: log.With("redis", f.redisPlace(), "adapter", flavour), NodeOverAfter: f.NodeOverAfter,
		QueueLimit: f.QueueLimit, QueueAge: f.QueueAge, AnswerTimeout: f.AnswerTimeout,
	}
	switch flavour {
	case shardedAdapter:
		b.nodes = redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{
			Options: opts, ChannelPrefix: f.Key, SubscriptionMode: redisadapter.SubscriptionMode(f.SubscriptionMode),
			RecoveryMaxLen: f.RecoveryMaxLen,
		})
	case streamsAdapter:
		b.nodes = redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{
			Options: opts, StreamName: f.StreamName, StreamCount: f.StreamCount, MaxLen: f.StreamMaxLen,
			ChannelPrefix: f.Key, UseShardedPubSub: f.UseShardedPubSub,
		})
	default:
		b.nodes = redisadapter.NewPubSub(rdb, &redisadapter.PubSubOptions{
			Options: opts, Key: f.Key, RequestsTimeout: f.RequestsTimeout,
			PublishOnSpecificResponseChannel: f.PublishOnSpecificResponseChannel, ExactChannels: f.ExactChannels,
			Parser:         f.parser(),
			RecoveryMaxLen: f.RecoveryMaxLen,
		})
	}
	return b, nil
}

// parser is what --redis-parser names; nil is the default.
func (f *redisFlags) parser() redisadapter.Parser {
	if f.RedisParser == "json" {
		return redisadapter.JSON
	}
	return nil
}

// redisPrefix begins the names of keys that a cluster shares; "" stands for the default.
func (f *clusterFlags) redisPrefix() string { return cmp.Or(f.StreamName, f.Key) }

func (b *redisBroker) builder() server.AdapterBuilder { return b.nodes }

func (b *redisBroker) ready(ctx context.Context) error { return b.nodes.Ready(ctx) }

func (b *redisBroker) health() brokerHealth {
	s := b.nodes.Stats()
	return brokerHealth{s.State, s.Since, s.Reason}
}

// users makes a store of the directory. Clusters that do not hear each other have directories of their own.
func (b *redisBroker) users() adapter.UserStore {
	return redisadapter.NewUserStore(b.rdb, &redisadapter.UserStoreOptions{Prefix: b.prefix})
}

func (b *redisBroker) revocations() adapter.RevocationStore {
	return redisadapter.NewRevocationStore(b.rdb, &redisadapter.RevocationStoreOptions{Prefix: b.prefix})
}

func (b *redisBroker) adminStore() admin.Store { return redisadapter.NewAdminStore(b.rdb, nil) }

func (b *redisBroker) close() error { return b.rdb.Close() }

// accessRedis opens the way of a command to a cluster on Redis.
func (f *clusterFlags) accessRedis(log *slog.Logger) (*access, error) {
	rdb, err := f.redisClient(log)
	if err != nil {
		return nil, usageError{err}
	}
	store := redisadapter.NewRevocationStore(rdb, &redisadapter.RevocationStoreOptions{Prefix: f.redisPrefix()})
	return &access{Emitter: f.redisEmitter(rdb), revoke: store.Revoke, close: rdb.Close}, nil
}

func (f *clusterFlags) redisEmitter(rdb redis.UniversalClient) *adapter.Emitter {
	switch f.flavour(redisKind) {
	case shardedAdapter:
		return redisadapter.NewShardedEmitter(rdb, &redisadapter.ShardedEmitterOptions{
			ChannelPrefix: f.Key, SubscriptionMode: redisadapter.SubscriptionMode(f.SubscriptionMode),
		})
	case streamsAdapter:
		return redisadapter.NewStreamsEmitter(rdb, &redisadapter.StreamsEmitterOptions{
			StreamName: f.StreamName, StreamCount: f.StreamCount, MaxLen: f.StreamMaxLen,
		})
	default:
		return redisadapter.NewPubSubEmitter(rdb, &redisadapter.PubSubEmitterOptions{Key: f.Key, Parser: f.parser()})
	}
}

// redisClient makes the client of a Redis, of a Redis Cluster, or of the master that Sentinels know. It does not connect yet.
func (f *redisFlags) redisClient(log *slog.Logger) (redis.UniversalClient, error) {
	redis.SetLogger(redisLog{log})
	first, err := f.merged()
	if err != nil {
		return nil, err
	}
	switch query := first.Query(); {
	case query.Get("master_name") != "":
		opts, err := redis.ParseFailoverURL(first.String())
		if err != nil {
			return nil, refusedURL(err)
		}
		if err := f.secure(opts.TLSConfig); err != nil {
			return nil, err
		}
		return redis.NewFailoverClient(opts), nil
	case f.RedisCluster || query.Has("addr"):
		if strings.Trim(first.Path, "/") != "" {
			return nil, errors.New("--redis: a Redis Cluster has no numbered databases")
		}
		opts, err := redis.ParseClusterURL(first.String())
		if err != nil {
			return nil, refusedURL(err)
		}
		if err := f.secure(opts.TLSConfig); err != nil {
			return nil, err
		}
		return redis.NewClusterClient(opts), nil
	default:
		opts, err := redis.ParseURL(first.String())
		if err != nil {
			return nil, refusedURL(err)
		}
		if err := f.secure(opts.TLSConfig); err != nil {
			return nil, err
		}
		return redis.NewClient(opts), nil
	}
}

// secure completes what a URL says about TLS; config is nil for one without.
func (f *redisFlags) secure(config *tls.Config) error {
	switch {
	case f.RedisCA == "" && f.RedisCert == "":
		return nil
	case config == nil:
		return errors.New("--redis-ca, --redis-cert and --redis-key need a URL that begins with rediss://")
	}
	return readBrokerTLS(config, "--redis-", f.RedisCA, f.RedisCert, f.RedisKey)
}

// merged makes one URL of all, with the addresses of the others as parameters, as go-redis wants it.
func (f *redisFlags) merged() (*url.URL, error) {
	var first *url.URL
	for _, text := range f.Redis {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			return nil, refusedURL(err)
		}
		if u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix" {
			return nil, errors.New("--redis takes URLs that begin with redis://, rediss:// or unix://")
		}
		if first == nil {
			first = u
			continue
		}
		if first.Scheme == "unix" || u.Scheme != first.Scheme || u.RawQuery != "" || u.Path != "" && u.Path != first.Path ||
			u.User != nil && u.User.String() != first.User.String() {
			return nil, errors.New("--redis: the first URL has the options, the further ones only another host and port")
		}
		query := first.Query()
		query.Add("addr", net.JoinHostPort(u.Hostname(), portOr(u, "6379")))
		first.RawQuery = query.Encode()
	}
	if first.Scheme == "unix" && f.RedisCluster {
		return nil, errors.New("--redis: a Redis Cluster is not reached over a unix socket")
	}
	return first, nil
}

func portOr(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		return p
	}
	return port
}

// refusedURL says what is wrong with a URL, without the URL: it may have a password in it.
func refusedURL(err error) error {
	if wrong := new(url.Error); errors.As(err, &wrong) {
		err = wrong.Err
	}
	return fmt.Errorf("--redis: %w", err)
}

// redisPlace describes where the client connects to, without user and password.
func (f *redisFlags) redisPlace() string {
	var places []string
	for _, text := range f.Redis {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil {
			places = append(places, u.Scheme+"://"+u.Host+u.Path)
		}
	}
	return strings.Join(places, ",")
}

// redisAddress returns the host:port of the first Redis, "" for a unix socket.
func (f *redisFlags) redisAddress() string {
	u, err := url.Parse(f.Redis[0])
	if err != nil || u.Scheme == "unix" {
		return ""
	}
	return net.JoinHostPort(u.Hostname(), portOr(u, "6379"))
}

// redisLog takes the lines of the client library, which reports each failed attempt to connect. What an operator needs
// to know of it is told by the adapter, once.
type redisLog struct{ log *slog.Logger }

// Printf logs for debugging.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, args...))
}
