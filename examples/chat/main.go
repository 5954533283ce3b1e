// Command chat is a chat in which users send each other messages, on whichever sockets they are.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/sockeye-io/sockeye/server"
)

type message struct {
	To      string `json:"to"`
	Message string `json:"message"`
}

type note struct {
	From string `json:"from"`
}

func newServer() (*server.Server, error) {
	srv, err := server.New(nil)
	if err != nil {
		return nil, err
	}
	chat := srv.Of("/")

	// login(user, ack): the user's sockets are the room that has the user's name.
	chat.Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (string, error) {
		if user == "" || len(user) > 64 {
			return "", &server.ClientError{Message: "a name has 1 to 64 bytes"}
		}
		if err := s.Data().Set("user", user); err != nil {
			return "", err
		}
		return "welcome, " + user, s.Join(ctx, user)
	}))

	// send({to, message}, ack): acknowledged with whether somebody was there to receive it.
	chat.Handle("send", server.FuncAck(func(ctx context.Context, s *server.Socket, m message) (bool, error) {
		var from note
		if known, err := s.Data().Load("user", &from.From); err != nil || !known {
			return false, &server.ClientError{Message: "log in first"}
		}
		there, err := chat.To(m.To).FetchSockets(ctx)
		if err != nil {
			return false, err
		}
		return len(there.Values) > 0, chat.To(m.To).Emit("receive", m.Message, from)
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
