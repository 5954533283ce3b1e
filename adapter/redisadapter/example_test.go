package redisadapter_test

import (
	"context"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
)

// A server that shares its rooms with every other server, Go or Node, on the same Redis.
func ExampleNewPubSub() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	io, err := server.New(&server.Options{Adapter: redisadapter.NewPubSub(rdb, nil)})
	if err != nil {
		panic(err)
	}
	http.Handle("/socket.io/", io)
	panic(server.ListenAndServe(context.Background(), ":3000", http.DefaultServeMux))
}

// A message to the sockets of a cluster, from a process without a server.
func ExampleNewPubSubEmitter() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer rdb.Close()
	chat := redisadapter.NewPubSubEmitter(rdb, nil).Of("/chat")
	if err := chat.To("room-101").Except("bots").Emit(context.Background(), "news", "hello"); err != nil {
		panic(err)
	}
}
