package server_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// lone are JSON strings that Go has no characters for. Each must stay another name than the others.
var lone = []string{`"u\ud800"`, `"u\ud801"`, `"u\udc00"`, "\"u\ufffd\""}

// TestLoneSurrogates takes names with lone surrogates through typed handlers, rooms, data, keys and acknowledgements.
func TestLoneSurrogates(t *testing.T) {
	srv, err := server.New(&server.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	main := srv.Of("/")
	main.Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (string, error) {
		if err := s.Data().Set("user", user); err != nil {
			return "", err
		}
		var stored string
		if _, err := s.Data().Load("user", &stored); err != nil || stored != user {
			return "", fmt.Errorf("stored %q, %w", stored, err)
		}
		return user, s.Join(ctx, user)
	}))
	main.Handle("whoami", server.FuncAck(func(_ context.Context, s *server.Socket, args server.Args) (user string, err error) {
		_, err = s.Data().Load("user", &user)
		return user, err
	}))
	main.Handle("tell", server.FuncAck(func(_ context.Context, _ *server.Socket, m struct{ To map[string]string }) (int, error) {
		for room, text := range m.To {
			if err := main.To(room).Emit("told", room, text); err != nil {
				return 0, err
			}
		}
		return len(m.To), nil
	}))
	main.Handle("ask", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (string, error) {
		return server.EmitWithAck[string](ctx, s, "name?")
	}))
	n := servertest.New(t, srv, nil)
	clients := make([]*servertest.Client, len(lone))
	for i, name := range lone {
		clients[i] = n.Dial(t, nil)
		clients[i].Connect("/", nil)
		clients[i].Send(`421["login",` + name + `]`)
		clients[i].Expect(`431[` + name + `]`)
		clients[i].Send(`422["whoami"]`)
		clients[i].Expect(`432[` + name + `]`)
	}
	if rooms, err := main.Rooms(t.Context()); err != nil || len(rooms.Values) != 2*len(lone) {
		t.Errorf("rooms %q, %v", rooms.Values, err)
	}
	var to []string
	for _, name := range lone {
		to = append(to, name+`:`+name)
	}
	clients[0].Send(`423["tell",{"to":{` + strings.Join(to, ",") + `}}]`)
	var answers []string
	for range 2 {
		answers = append(answers, clients[0].Next().Data)
	}
	slices.Sort(answers)
	if want := []string{`42["told",` + lone[0] + `,` + lone[0] + `]`, `433[4]`}; !slices.Equal(answers, want) {
		t.Errorf("got %q, want %q", answers, want)
	}
	for i, c := range clients {
		if i > 0 {
			c.Expect(`42["told",` + lone[i] + `,` + lone[i] + `]`)
		}
		c.Send(`424["ask"]`)
		id, ok := strings.CutSuffix(strings.TrimPrefix(c.Next().Data, "42"), `["name?"]`)
		if !ok {
			t.Fatal("no question")
		}
		c.Send(`43` + id + `[` + lone[i] + `]`)
		c.Expect(`434[` + lone[i] + `]`)
	}
}

// TestLoneSurrogatesInAuth refuses what encoding/json, with which applications read the auth data, would merge.
func TestLoneSurrogatesInAuth(t *testing.T) {
	srv, err := server.New(&server.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	c := servertest.New(t, srv, nil).Dial(t, nil)
	for _, auth := range []string{`{"user":"u\ud800"}`, `{"\udc00":1}`, `{"a":[{"b":"\ud83d\ud83d\ude00"}]}`} {
		c.Send("40" + auth)
		c.Expect(`44{"message":"Lone surrogate in the auth data"}`)
	}
	c.Send(`40{"user":"\ud83d\ude00","text":"\\ud800"}`)
	if got := c.Next().Data; !strings.HasPrefix(got, `40{"sid"`) {
		t.Errorf("got %s", got)
	}
}
