package chaos

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// This file and requests_test.go are also built with the Sockeye of former versions, see former_test.go: they use what all of
// them have. What is new since then is in identity_test.go.

var (
	nodeName    = flag.String("node-name", "", "be a node with this name")
	nodeRedis   = flag.String("node-redis", "", "address of the Redis of this node; several, with commas between them, are a Redis Cluster")
	nodeUser    = flag.String("node-user", "", "user and password at Redis, with a colon between them")
	nodeFlavour = flag.String("node-flavour", "", "adapter of this node: pubsub, sharded or streams")
	readMode    = flag.String("read-mode", "auto", "how the Go nodes read: auto, hot, poller or goroutine")
)

// builder is what all flavours are.
type builder interface {
	adapter.Builder
	Ready(ctx context.Context) error
	Stats() redisadapter.Stats
}

// message is what users send each other. Its number belongs to the pair of them.
type message struct {
	From string `json:"from"`
	To   string `json:"to"`
	N    int    `json:"n"`
}

// answer is what a node says to a request of the test.
type answer struct {
	Values      []string `json:"values"`   // names of users or nodes
	Expected    int      `json:"expected"` // sockets that a broadcast reached; nodes of the cluster
	Failed      int      `json:"failed"`   // sockets that did not acknowledge
	Missing     []string `json:"missing"`
	Unanswered  int      `json:"unanswered"`
	Error       string   `json:"error"`
	Unavailable bool     `json:"unavailable"` // the error is adapter.ErrClusterUnavailable
	AckMissing  bool     `json:"ackMissing"`  // the error is server.ErrAckMissing
	AckTimeout  bool     `json:"ackTimeout"`  // the error is server.ErrAckTimeout

	Nodes   []nodeInfo `json:"nodes"`   // what the node knows of its cluster, itself first
	Changes []string   `json:"changes"` // "name state" of the other nodes, whenever it was another one than before

	Goroutines int    `json:"goroutines"`
	Heap       uint64 `json:"heap"` // live bytes
	Up         bool   `json:"up"`
	Adapter    string `json:"adapter"` // redisadapter.Stats, for logs
	Server     string `json:"server"`  // server.Stats, for logs
}

// nodeInfo is what one node knows of another, or of itself.
type nodeInfo struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Life  string `json:"life"`
	State string `json:"state"`
}

// runNode is the program of a node. It serves until its standard input ends, and returns the exit code.
func runNode() int {
	rdb := connectRedis()
	defer rdb.Close()
	redis.SetLogger(silent{})
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	opts := redisadapter.Options{Logger: log}
	var cluster builder
	switch *nodeFlavour {
	case "sharded":
		cluster = redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: opts})
	case "streams":
		cluster = redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: opts})
	default:
		cluster = redisadapter.NewPubSub(rdb, &redisadapter.PubSubOptions{Options: opts})
	}
	options := &server.Options{Adapter: cluster, Logger: log, Engine: engine.Options{ReadMode: engine.ReadMode(*readMode)}}
	identify(options)
	srv, err := server.New(options)
	if err != nil {
		return failed(err)
	}
	users := srv.Of("/")
	registerUsers(users)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return failed(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	registerRequests(mux, users)
	registerCommands(mux, users)
	registerNodes(mux, srv)
	mux.HandleFunc("/stats", reply(func(context.Context, url.Values) answer { return figures(srv, cluster) }))
	web := &http.Server{Handler: mux}
	serving := make(chan error, 1)
	go func() { serving <- web.Serve(listener) }()
	fmt.Printf("listening %s\n", listener.Addr())

	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return failed(err)
	}
	_ = web.Close()
	<-serving
	return 0
}

func connectRedis() redis.UniversalClient {
	user, password, _ := strings.Cut(*nodeUser, ":")
	return redis.NewUniversalClient(&redis.UniversalOptions{Addrs: strings.Split(*nodeRedis, ","), MaxRetries: -1, Username: user, Password: password})
}

// silent drops what go-redis logs about each failure to connect.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// registerUsers lets users send messages to each other.
func registerUsers(n *server.Namespace) {
	n.OnConnection(func(ctx context.Context, s *server.Socket) {
		var auth struct{ User string }
		_ = json.Unmarshal(s.Auth(), &auth)
		_ = s.Data().Set("user", auth.User)
		ctx, cancel := context.WithTimeout(ctx, time.Second) // while Redis is away the user is reached on this node only
		defer cancel()
		_ = s.Join(ctx, auth.User)
		_ = s.Emit("ready")
	})
	n.Handle("send", server.FuncAck(func(_ context.Context, _ *server.Socket, m message) (string, error) {
		return textOf(n.To(m.To).Emit("receive", m)), nil
	}))
	n.HandleServerSide("note", server.ServerSideFunc(func(_ context.Context, text string) error {
		notes.add(text)
		return nil
	}))
	n.HandleServerSide("who", server.ServerSideFuncAck(func(context.Context, server.None) (string, error) { return *nodeName, nil }))
}
