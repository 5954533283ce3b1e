// Command auth has a namespace that lets in only those who know a token.
package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/sockeye-io/sockeye/server"
)

// credentials is what the client gives: io("/admin", {auth: {name, token}}).
type credentials struct {
	Name  string `json:"name"`
	Token string `json:"token"`
}

func newServer(token string) (*server.Server, error) {
	if token == "" {
		return nil, errors.New("the token must not be empty: set ADMIN_TOKEN")
	}
	srv, err := server.New(nil)
	if err != nil {
		return nil, err
	}
	admin := srv.Of("/admin")

	// The client hears of a refusal through its connect_error event: err.message and err.data.
	admin.Use(func(_ context.Context, s *server.Socket) error {
		var given credentials
		if err := json.Unmarshal(s.Auth(), &given); err != nil ||
			subtle.ConstantTimeCompare([]byte(given.Token), []byte(token)) != 1 {
			return &server.ClientError{Message: "not authorized", Data: map[string]string{"hint": "ask for a token"}}
		}
		return s.Data().Set("name", given.Name)
	})

	admin.Handle("whoami", server.FuncAck(func(_ context.Context, s *server.Socket, _ server.None) (string, error) {
		var name string
		_, err := s.Data().Load("name", &name)
		return name, err
	}))
	return srv, nil
}

func main() {
	srv, err := newServer(os.Getenv("ADMIN_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.ListenAndServe(ctx, "127.0.0.1:3000", srv); err != nil {
		log.Fatal(err)
	}
}
