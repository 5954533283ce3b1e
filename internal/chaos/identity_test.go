package chaos

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/kafkaadapter"
	"github.com/sockeye-io/sockeye/adapter/natsadapter"
	"github.com/sockeye-io/sockeye/server"
)

// identify gives a node the name that the test knows it by.
func identify(o *server.Options) {
	o.NodeName = *nodeName
	switch *nodeFlavour {
	case "kafka":
		o.Adapter = kafkaadapter.New(&kafkaadapter.Options{Seeds: []string{*nodeRedis}, Logger: o.Logger})
	case "nats":
		o.Adapter = natsadapter.New(&natsadapter.Options{Servers: []string{*nodeRedis}, Logger: o.Logger})
	}
}

// registerNodes lets the test ask a node which nodes it knows, and what has happened to them.
func registerNodes(mux *http.ServeMux, srv *server.Server) {
	go drainOnSignal(srv)
	if *nodeDirectory {
		registerDirectory(mux, srv)
	}
	var mu sync.Mutex
	var changes []string
	last := make(map[adapter.NodeID]string)
	srv.OnNodeChange(func(c adapter.NodeChange) {
		mu.Lock()
		defer mu.Unlock()
		if state := c.Node.State.String(); state != last[c.Node.ID] {
			last[c.Node.ID] = state
			changes = append(changes, c.Node.Name+" "+state)
		}
	})
	mux.HandleFunc("/nodes", reply(func(ctx context.Context, _ url.Values) answer {
		nodes, err := srv.Nodes(ctx)
		a := withNodes(nil, 0, err)
		for _, n := range nodes {
			a.Nodes = append(a.Nodes, nodeInfo{ID: string(n.ID), Name: n.Name, Life: n.Life, State: n.State.String()})
		}
		mu.Lock()
		defer mu.Unlock()
		a.Changes = slices.Clone(changes)
		return a
	}))
}

// drainOnSignal does what SIGTERM does to a node: it sends its users away at a pace. The test ends it then.
func drainOnSignal(srv *server.Server) {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGTERM)
	<-got
	if err := srv.Drain(context.Background(), &server.DrainOptions{Rate: 4, Timeout: patience}); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
