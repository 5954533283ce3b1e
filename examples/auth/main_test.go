package main

import (
	"testing"

	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestAuth(t *testing.T) {
	srv, err := newServer("secret")
	if err != nil {
		t.Fatal(err)
	}
	kit := servertest.New(t, srv, nil)
	for _, wrong := range []any{nil, credentials{Name: "eve", Token: "guess"}, map[string]int{"token": 1}} {
		refusal := kit.Dial(t, nil).ConnectRefused("/admin", wrong)
		if refusal.Message != "not authorized" || refusal.Data == nil {
			t.Errorf("%v: refused with %+v", wrong, refusal)
		}
	}

	admin := kit.Connect(t, "/admin", credentials{Name: "ann", Token: "secret"})
	var name string
	if err := admin.EmitWithAck("whoami").Unmarshal(0, &name); err != nil || name != "ann" {
		t.Errorf("name %q, %v", name, err)
	}
}

func TestEmptyToken(t *testing.T) {
	if _, err := newServer(""); err == nil {
		t.Error("a server without a token was made: everybody could get in")
	}
}
