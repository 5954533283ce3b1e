package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

type Message struct {
	To      string `json:"to"`
	Message string `json:"message"`
}

// Users log in by joining a room of their name; messages go to that room.
func Example() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	chat := srv.Of("/")
	chat.Handle("login", server.Func(func(ctx context.Context, s *server.Socket, userID string) error {
		return s.Join(ctx, userID)
	}))
	chat.Handle("send", server.Func(func(ctx context.Context, s *server.Socket, m Message) error {
		return s.To(m.To).Emit("receive", m.Message)
	}))
	http.Handle("/socket.io/", srv)
	log.Fatal(server.ListenAndServe(context.Background(), ":3000", http.DefaultServeMux))
}

// A handler acknowledges an event with its result, and asks the client in turn.
func ExampleFuncAck() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/").Handle("order", server.FuncAck(func(ctx context.Context, s *server.Socket, item string) (string, error) {
		if item == "" {
			return "", &server.ClientError{Message: "what would you like?"}
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		sure, err := server.EmitWithAck[bool](ctx, s, "are you sure", item)
		if err != nil || !sure {
			return "cancelled", err
		}
		return "one " + item, nil
	}))
}

// A question to everybody in a room, and who has not answered it.
func ExampleBroadcastWithAck() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	replies, err := server.BroadcastWithAck[int](context.Background(), srv.Of("/").To("players"), "how many points")
	fmt.Println(len(replies.Values), replies.Failed, err)
	// Output: 0 [] <nil>
}

// A namespace lets only those in who know the token.
func ExampleNamespace_middleware() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	admin := srv.Of("/admin")
	admin.Use(func(ctx context.Context, s *server.Socket) error {
		var auth struct{ Token, Name string }
		if err := json.Unmarshal(s.Auth(), &auth); err != nil || auth.Token != "secret" {
			return &server.ClientError{Message: "not authorized", Data: map[string]string{"hint": "ask for a token"}}
		}
		return s.Data().Set("name", auth.Name)
	})
	admin.OnConnection(func(ctx context.Context, s *server.Socket) {
		// The reason and the rooms are known when the socket goes.
		s.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { log.Print(s.ID(), reason, s.Rooms()) })
	})
}

// Arguments that do not fit their handler, and errors that handlers return, can be watched in one place.
func ExampleNamespace_OnError() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	main := srv.Of("/")
	main.Handle("login", server.Func(func(ctx context.Context, s *server.Socket, user string) error { return s.Join(ctx, user) }))
	main.OnError(func(_ context.Context, s *server.Socket, event string, err error) {
		var mismatch *json.UnmarshalTypeError
		if errors.Is(err, server.ErrInvalidArguments) && errors.As(err, &mismatch) {
			// For emit("login", 42): a number instead of a string.
			log.Printf("%s of %s: a %s instead of a %s", event, s.ID(), mismatch.Value, mismatch.Type)
			return
		}
		log.Printf("%s of %s: %v", event, s.ID(), err)
	})
}

// Rooms select who receives an event; operators are values that can be kept.
func ExampleBroadcastOperator() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	news := srv.Of("/news")
	sports := news.To("football", "tennis").Except("muted")
	fmt.Println(sports.Emit("score", 3, 2), sports.Volatile().Emit("ticker", []byte{1, 2, 3}))
	// Output: <nil> <nil>
}

// A deploy: after SIGTERM the clients are sent to other nodes before this one ends.
func ExampleServer_Drain() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	signalled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	serving, end := context.WithCancel(context.Background())
	go func() {
		<-signalled.Done()
		_ = srv.Drain(context.Background(), &server.DrainOptions{Grace: 5 * time.Second, Timeout: time.Minute})
		end()
	}()
	if err := server.ListenAndServe(serving, ":3000", srv); err != nil {
		log.Fatal(err)
	}
}
