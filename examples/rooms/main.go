// Command rooms lets clients follow topics and tells a topic's followers what happens.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sockeye-io/sockeye/server"
)

func newServer() (*server.Server, error) {
	srv, err := server.New(nil)
	if err != nil {
		return nil, err
	}
	news := srv.Of("/news")

	news.Handle("follow", server.FuncAck(func(ctx context.Context, s *server.Socket, topic string) ([]string, error) {
		err := s.Join(ctx, "topic:"+topic)
		return topics(s), err
	}))
	news.Handle("unfollow", server.FuncAck(func(_ context.Context, s *server.Socket, topic string) ([]string, error) {
		s.Leave("topic:" + topic)
		return topics(s), nil
	}))

	// Everybody who follows the topic gets the story once, except those who muted it and the one who wrote it.
	news.Handle("publish", server.Func(func(_ context.Context, s *server.Socket, story server.Args2[string, string]) error {
		return s.To("topic:"+story.First).Except("muted:"+story.First).Emit("story", story.First, story.Second)
	}))
	news.Handle("mute", server.Func(func(ctx context.Context, s *server.Socket, topic string) error {
		return s.Join(ctx, "muted:"+topic)
	}))

	// Rooms can still be read when the socket has gone.
	news.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) {
		log.Printf("%s left %v: %s", s.ID(), topics(s), reason)
	})
	return srv, nil
}

// topics lists what a socket follows. Its rooms also hold its own id and what it muted.
func topics(s *server.Socket) []string {
	followed := []string{}
	for _, room := range s.Rooms() {
		if topic, ok := strings.CutPrefix(room, "topic:"); ok {
			followed = append(followed, topic)
		}
	}
	return followed
}

func main() {
	srv, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.ListenAndServe(ctx, "127.0.0.1:3000", srv); err != nil {
		log.Fatal(err)
	}
}
