package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
)

// registerRequests lets the test make calls to the whole cluster.
func registerRequests(mux *http.ServeMux, n *server.Namespace) {
	mux.HandleFunc("/fetch", reply(func(ctx context.Context, q url.Values) answer {
		result, err := in(n, q).FetchSockets(ctx)
		a := withNodes(result.Missing, result.Unanswered, err)
		for _, s := range result.Values {
			var data struct{ User string }
			_ = json.Unmarshal(s.Data(), &data)
			a.Values = append(a.Values, data.User)
		}
		return a
	}))
	mux.HandleFunc("/ask", reply(func(ctx context.Context, q url.Values) answer {
		result, err := server.ServerSideEmitWithAck[string](ctx, n, "who")
		a := withNodes(result.Missing, result.Unanswered, err)
		a.Values = result.Values
		return a
	}))
	broadcast := func(event string) func(context.Context, url.Values) answer {
		return func(ctx context.Context, q url.Values) answer {
			replies, err := server.BroadcastWithAck[string](ctx, in(n, q), event)
			a := withNodes(replies.Missing, replies.Unanswered, err)
			a.Values, a.Expected, a.Failed = replies.Values, replies.Expected, len(replies.Failed)
			return a
		}
	}
	mux.HandleFunc("/acks", reply(broadcast("question")))
	mux.HandleFunc("/hold", reply(broadcast("hold")))
	mux.HandleFunc("/count", reply(func(ctx context.Context, q url.Values) answer {
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
func reply(call func(context.Context, url.Values) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(call(r.Context(), r.URL.Query()))
	}
}

// in selects the users of the room that a request names, or all.
func in(n *server.Namespace, q url.Values) server.BroadcastOperator {
	if room := q.Get("in"); room != "" {
		return n.In(room)
	}
	return n.Compress(true) // changes nothing
}

// notes are the server-side events "note" that came.
var notes noteBook

type noteBook struct {
	mu sync.Mutex
	// Guarded by mu.
	texts []string
}

func (b *noteBook) add(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.texts = append(b.texts, text)
}

func (b *noteBook) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.texts)
}

// registerCommands lets the test have a node do what wants no answer of the others. "in" selects users, "room" is the room that they
// join or leave.
func registerCommands(mux *http.ServeMux, n *server.Namespace) {
	command := func(path string, do func(q url.Values) error) {
		mux.HandleFunc(path, reply(func(_ context.Context, q url.Values) answer { return withNodes(nil, 0, do(q)) }))
	}
	command("/join", func(q url.Values) error { return in(n, q).SocketsJoin(q.Get("room")) })
	command("/leave", func(q url.Values) error { return in(n, q).SocketsLeave(q.Get("room")) })
	command("/disconnect", func(q url.Values) error { return in(n, q).DisconnectSockets() })
	command("/note", func(q url.Values) error { return n.ServerSideEmit("note", q.Get("text")) })
	mux.HandleFunc("/notes", reply(func(context.Context, url.Values) answer { return answer{Values: notes.all()} }))
}
