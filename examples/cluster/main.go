// Command cluster is a chat of which any number of copies form one cluster through Redis 7. Start two of them:
//
//	go run ./examples/cluster -addr 127.0.0.1:3001
//	go run ./examples/cluster -addr 127.0.0.1:3002
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
)

type message struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

// online is the answer to who: users of all nodes, as far as the nodes have answered.
type online struct {
	Users    []string `json:"users"`
	Complete bool     `json:"complete"`
}

// newServer makes one node. Nothing in it depends on how the nodes are connected, or on how many there are.
func newServer(nodes server.AdapterBuilder) (*server.Server, error) {
	srv, err := server.New(&server.Options{Adapter: nodes})
	if err != nil {
		return nil, err
	}
	chat := srv.Of("/")

	chat.Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (server.None, error) {
		if err := s.Data().Set("user", user); err != nil {
			return server.None{}, err
		}
		// While Redis is away the join holds on this node, and on the others as soon as it is back.
		if err := s.Join(ctx, user); err != nil && !errors.Is(err, server.ErrClusterUnavailable) {
			return server.None{}, err
		}
		return server.None{}, nil
	}))

	// send is acknowledged with whether a socket of the addressee, on whichever node, has acknowledged the message.
	chat.Handle("send", server.FuncAck(func(ctx context.Context, s *server.Socket, m message) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		replies, err := server.BroadcastWithAck[bool](ctx, chat.To(m.To), "receive", m.Text)
		if len(replies.Values) == 0 && err != nil {
			log.Printf("message to %q: %v", m.To, err)
		}
		return len(replies.Values) > 0, nil
	}))

	// who asks every node. One that does not answer makes the list incomplete, not the call fail.
	chat.Handle("who", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (online, error) {
		found, err := chat.FetchSockets(ctx)
		if err != nil && !errors.Is(err, server.ErrClusterUnavailable) {
			return online{}, err
		}
		answer := online{Complete: err == nil && found.Complete()}
		for _, remote := range found.Values {
			var data struct{ User string }
			if json.Unmarshal(remote.Data(), &data) == nil && data.User != "" {
				answer.Users = append(answer.Users, data.User)
			}
		}
		return answer, nil
	}))
	return srv, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3001", "address to listen on")
	redisURL := flag.String("redis", "redis://127.0.0.1:6379", "Redis that connects the nodes")
	flag.Parse()
	if err := run(*addr, *redisURL); err != nil {
		log.Fatal(err)
	}
}

func run(addr, redisURL string) error {
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(opts)
	defer rdb.Close() // last: the server needs it until it has shut down
	nodes := redisadapter.NewSharded(rdb, nil)
	srv, err := newServer(nodes)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		limit, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := nodes.Ready(limit); err != nil {
			log.Printf("alone for now: %v", err)
		}
	}()

	return server.ListenAndServe(ctx, addr, srv)
}
