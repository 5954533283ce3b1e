// Command acks shows acknowledgements in both directions and those of a whole room.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

func newServer() (*server.Server, error) {
	srv, err := server.New(nil)
	if err != nil {
		return nil, err
	}
	shop := srv.Of("/")

	// The client waits: socket.emit("order", "tea", (answer) => …). The handler asks back before it answers; it may,
	// because acknowledgements do not wait behind handlers.
	shop.Handle("order", server.FuncAck(func(ctx context.Context, s *server.Socket, item string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		sure, err := server.EmitWithAck[bool](ctx, s, "sure?", item)
		switch {
		case errors.Is(err, server.ErrAckTimeout):
			return "", &server.ClientError{Message: "too slow"}
		case err != nil:
			return "", err
		case !sure:
			return "cancelled", nil
		}
		return "one " + item, nil
	}))

	// Everybody is asked; who does not answer in time is named.
	shop.Handle("vote", server.FuncAck(func(ctx context.Context, s *server.Socket, question string) (map[string]int, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		replies, err := server.BroadcastWithAck[string](ctx, s.Broadcast(), "question", question)
		if err != nil && !errors.Is(err, server.ErrAckTimeout) && !errors.Is(err, server.ErrAckMissing) {
			return nil, err
		}
		votes := map[string]int{"no answer": len(replies.Failed)}
		for _, answer := range replies.Values {
			votes[answer]++
		}
		return votes, nil
	}))

	// Everybody is asked, and the first who is willing does it; the answers of the others go nowhere.
	shop.Handle("volunteer", server.FuncAck(func(ctx context.Context, s *server.Socket, task string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		for reply, err := range server.BroadcastWithAckSeq[bool](ctx, s.Broadcast(), "will you?", task) {
			if err == nil && reply.Value {
				return reply.SocketID, nil
			}
		}
		return "", &server.ClientError{Message: "nobody"}
	}))
	return srv, nil
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
