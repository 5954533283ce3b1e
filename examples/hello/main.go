package main

import (
	"context"
	"log"

	"github.com/sockeye-io/sockeye/server"
)

func main() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	chat := srv.Of("/")
	chat.Handle("login", server.Func(func(ctx context.Context, s *server.Socket, user string) error {
		return s.Join(ctx, user)
	}))
	chat.Handle("send", server.Func(func(_ context.Context, s *server.Socket, m struct{ To, Message string }) error {
		return s.To(m.To).Emit("receive", m.Message)
	}))
	log.Fatal(server.ListenAndServe(context.Background(), ":3000", srv))
}
