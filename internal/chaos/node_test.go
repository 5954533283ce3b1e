package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
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

	Goroutines int    `json:"goroutines"`
	Heap       uint64 `json:"heap"` // live bytes
	Up         bool   `json:"up"`
	Adapter    string `json:"adapter"` // redisadapter.Stats, for logs
	Server     string `json:"server"`  // server.Stats, for logs
}

// runNode is the program of a node. It serves until its standard input ends, and returns the exit code.
func runNode() int {
	rdb := redis.NewClient(&redis.Options{Addr: *nodeRedis, MaxRetries: -1})
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
	srv, err := server.New(&server.Options{Adapter: cluster, Logger: log, Engine: engine.Options{ReadMode: engine.ReadMode(*readMode)}})
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
	mux.HandleFunc("/stats", reply(func(context.Context) answer { return figures(srv, cluster) }))
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
	n.HandleServerSide("who", server.ServerSideFuncAck(func(context.Context, server.None) (string, error) { return *nodeName, nil }))
}

// registerRequests lets the test make calls to the whole cluster.
func registerRequests(mux *http.ServeMux, n *server.Namespace) {
	mux.HandleFunc("/fetch", reply(func(ctx context.Context) answer {
		result, err := n.FetchSockets(ctx)
		a := withNodes(result.Missing, result.Unanswered, err)
		for _, s := range result.Values {
			var data struct{ User string }
			_ = json.Unmarshal(s.Data(), &data)
			a.Values = append(a.Values, data.User)
		}
		return a
	}))
	mux.HandleFunc("/ask", reply(func(ctx context.Context) answer {
		result, err := server.ServerSideEmitWithAck[string](ctx, n, "who")
		a := withNodes(result.Missing, result.Unanswered, err)
		a.Values = result.Values
		return a
	}))
	broadcast := func(event string) func(context.Context) answer {
		return func(ctx context.Context) answer {
			replies, err := server.BroadcastWithAck[string](ctx, n, event)
			a := withNodes(replies.Missing, replies.Unanswered, err)
			a.Values, a.Expected, a.Failed = replies.Values, replies.Expected, len(replies.Failed)
			return a
		}
	}
	mux.HandleFunc("/acks", reply(broadcast("question")))
	mux.HandleFunc("/hold", reply(broadcast("hold")))
	mux.HandleFunc("/count", reply(func(ctx context.Context) answer {
		count, err := n.ServerCount(ctx)
		a := withNodes(nil, 0, err)
		a.Expected = count
		return a
	}))
}

func withNodes(missing []adapter.NodeID, unanswered int, err error) answer {
	a := answer{Unanswered: unanswered, Error: textOf(err), Unavailable: errors.Is(err, adapter.ErrClusterUnavailable),
		AckMissing: errors.Is(err, server.ErrAckMissing), AckTimeout: errors.Is(err, server.ErrAckTimeout)}
	for _, id := range missing {
		a.Missing = append(a.Missing, string(id))
	}
	return a
}

func figures(srv *server.Server, cluster builder) answer {
	runtime.GC()
	runtime.GC() // for what finalizers and pools keep
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	stats := cluster.Stats()
	return answer{
		Goroutines: runtime.NumGoroutine(), Heap: mem.HeapAlloc, Up: stats.State == redisadapter.Up,
		Adapter: fmt.Sprintf("%+v", stats), Server: fmt.Sprintf("%+v", srv.Stats()),
	}
}

// reply makes a handler of a call. The context has no deadline, so that the defaults hold.
func reply(call func(context.Context) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(call(r.Context()))
	}
}
