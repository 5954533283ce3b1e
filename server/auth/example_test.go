package auth_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
)

// A server that asks for tokens, and decides about rooms by what they say.
func Example() {
	keys, err := auth.ParseKeys([]byte("a secret of 32 bytes or more, from a file as a rule"))
	if err != nil {
		panic(err)
	}
	a, err := auth.New(auth.Options{
		Keys:     keys,
		Audience: []string{"chat"},
		MayJoin: func(_ context.Context, s *server.Socket, room string) error {
			var role string
			if _, err := auth.ClaimsOf(s).Load("role", &role); err != nil || room == "staff" && role != "staff" {
				return &server.ClientError{Message: "staff only"}
			}
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	defer a.Close()
	srv, err := server.New(&server.Options{Hooks: []server.Hooks{a.Hooks()}})
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	if _, err := a.Protect(srv.Of("/"), nil); err != nil {
		panic(err)
	}
	srv.Of("/").Handle("hello", server.FuncAck(func(_ context.Context, s *server.Socket, _ server.None) (string, error) {
		return "Hello " + auth.Subject(s), nil
	}))

	token, _, err := keys.Sign(auth.Grant{Subject: "ann", TTL: time.Minute, Audience: "chat"})
	if err != nil {
		panic(err)
	}
	claims, err := a.Verify(context.Background(), token)
	fmt.Println(claims.Subject, err)
	// Output: ann <nil>
}
