package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// who answers with the subject.
func who(_ context.Context, s *server.Socket, _ server.None) (string, error) {
	return auth.Subject(s), nil
}

// ask emits an event and returns the text that acknowledges it.
func ask(t *testing.T, s *servertest.Socket, event string, args ...any) (text string) {
	t.Helper()
	if err := s.EmitWithAck(event, args...).Unmarshal(0, &text); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestLetsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, clients := serve(t, a)
		srv.Of("/").Handle("who", server.FuncAck(who))
		if got := ask(t, clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour))), "who"); got != "ann" {
			t.Errorf("the subject is %q", got)
		}
		if s := a.Stats(); s.Accepted != 1 || s.Live != 1 {
			t.Errorf("stats are %+v", s)
		}
	})
}

// TestRefuses shows what a client gets that is not let in. It stays connected, and nothing is left of its attempts.
func TestRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, clients := serve(t, a)
		client := clients.Dial(t, nil)
		for _, c := range []struct {
			auth any
			code auth.Code
		}{
			{nil, auth.CodeMissing},
			{map[string]any{}, auth.CodeMissing},
			{withToken(nil), auth.CodeMissing},
			{withToken(""), auth.CodeMissing},
			{map[string]any{"Token": tokenFor(t, "ann", time.Hour)}, auth.CodeMissing},
			{withToken(7), auth.CodeInvalid},
			{withToken([]string{tokenFor(t, "ann", time.Hour)}), auth.CodeInvalid},
			{withToken("nonsense"), auth.CodeInvalid},
			{withToken(strings.Repeat("x", 9000)), auth.CodeTooLarge},
			{withToken(strings.Repeat("x", 200_000)), auth.CodeTooLarge},
			{withToken(tokenFor(t, "ann", -time.Hour)), auth.CodeExpired},
		} {
			data := expectCode(t, client.ConnectRefused("/", c.auth), c.code)
			switch c.code {
			case auth.CodeTooLarge:
				if data["maxBytes"] != 8192.0 {
					t.Errorf("data is %v", data)
				}
			case auth.CodeExpired:
				if want := float64(time.Now().Add(-time.Hour).UnixMilli()); data["expiredAt"] != want {
					t.Errorf("data is %v, want %v", data, want)
				}
			}
		}
		synctest.Wait()
		s := srv.Stats()
		if s.Sockets != 0 || s.Connecting != 0 || s.Rooms != 0 || s.Workers != 0 || s.Engine.Sessions != 1 {
			t.Errorf("left behind: %+v", s)
		}
		stats := a.Stats()
		if stats.Live != 0 || stats.Accepted != 0 || stats.Refused[auth.CodeMissing] != 5 || stats.Refused[auth.CodeInvalid] != 3 ||
			stats.Refused[auth.CodeTooLarge] != 2 || stats.Refused[auth.CodeExpired] != 1 {
			t.Errorf("stats are %+v", stats)
		}
		client.Connect("/", withToken(tokenFor(t, "ann", time.Hour))) // the connection is as good as new
	})
}

// TestRefusedByOthers holds that nothing is left of a socket that another middleware refuses behind this one, nor of its user.
func TestRefusedByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, clients, dir := serveDirectory(t, a)
		srv.Of("/").Use(func(_ context.Context, s *server.Socket) error {
			if user, _ := dir.UserOf(s); user != "ann" || auth.Subject(s) != "ann" {
				t.Errorf("the user is %q, the subject %q", user, auth.Subject(s))
			}
			return errors.New("not today")
		})
		clients.Dial(t, nil).ConnectRefused("/", withToken(tokenFor(t, "ann", time.Hour)))
		time.Sleep(20 * time.Second) // the user's grace time
		synctest.Wait()
		if s, d := srv.Stats(), dir.Stats(); s.Sockets+s.Rooms+s.Connecting != 0 || d.Users+d.Sockets+d.Away+d.Pending != 0 || a.Stats().Live != 0 {
			t.Errorf("left behind: %+v, %+v", s, d)
		}
	})
}

// serveDirectory is serve with a directory.
func serveDirectory(t *testing.T, a *auth.Auth) (*server.Server, *servertest.Server, *users.Directory) {
	t.Helper()
	srv, err := server.New(&server.Options{Hooks: []server.Hooks{a.Hooks()}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := users.New(srv, users.Options{Store: users.NewMemoryStore(), Mixed: users.MixedOff, RoomPrefix: "user:", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Protect(srv.Of("/"), dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return srv, servertest.New(t, srv, &servertest.Options{Timeout: 24 * time.Hour}), dir
}

func TestSubjectIsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, clients, dir := serveDirectory(t, newAuth(t, auth.Options{}))
		seen := make(chan string, 1)
		srv.Of("/").OnConnection(func(_ context.Context, s *server.Socket) {
			user, _ := dir.UserOf(s)
			seen <- user
		})
		s := clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
		if got := <-seen; got != "ann" {
			t.Errorf("the user is %q", got)
		}
		if err := dir.User("ann").Emit(t.Context(), "hello"); err != nil {
			t.Error(err)
		}
		s.Expect("hello")
	})
}

// TestSources shows where a token may be, and which counts of several.
func TestSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{Cookie: "session", CookieOrigins: []string{"https://app.example.org"}, Query: "access_token"})
		srv, clients := serve(t, a)
		srv.Of("/").Handle("who", server.FuncAck(who))
		header := func(lines ...string) http.Header {
			h := make(http.Header)
			for i := 0; i < len(lines); i += 2 {
				h.Add(lines[i], lines[i+1])
			}
			return h
		}
		token := func(user string) string { return tokenFor(t, user, time.Hour) }
		const own, foreign = "https://app.example.org", "https://evil.example"
		for name, c := range map[string]struct {
			auth   any
			header http.Header
			query  string
			want   string // the subject, or the code
		}{
			"header":                           {nil, header("Authorization", "Bearer "+token("bob")), "", "bob"},
			"header in other letters":          {nil, header("Authorization", "bearer  "+token("bob")), "", "bob"},
			"header of another kind":           {nil, header("Authorization", "Basic "+token("bob")), "", "missing"},
			"header that is bad":               {nil, header("Authorization", "Bearer x"), token("dan"), "invalid"},
			"auth before header":               {withToken(token("ann")), header("Authorization", "Bearer "+token("bob")), "", "ann"},
			"bad auth before header":           {withToken("x"), header("Authorization", "Bearer "+token("bob")), "", "invalid"},
			"cookie of the own page":           {nil, header("Cookie", "a=b; session="+token("cat"), "Origin", own), "", "cat"},
			"cookie of a foreign page":         {nil, header("Cookie", "session="+token("cat"), "Origin", foreign), "", "origin"},
			"cookie of a page with a suffix":   {nil, header("Cookie", "session="+token("cat"), "Origin", own+".evil.example"), "", "origin"},
			"cookie of a page without TLS":     {nil, header("Cookie", "session="+token("cat"), "Origin", "http://app.example.org"), "", "origin"},
			"cookie of a file":                 {nil, header("Cookie", "session="+token("cat"), "Origin", "null"), "", "origin"},
			"cookie from nobody knows where":   {nil, header("Cookie", "session="+token("cat")), "", "origin"},
			"cookie of the same origin":        {nil, header("Cookie", "session="+token("cat"), "Sec-Fetch-Site", "same-origin"), "", "cat"},
			"cookie of the same site":          {nil, header("Cookie", "session="+token("cat"), "Sec-Fetch-Site", "same-site"), "", "origin"},
			"header before cookie":             {nil, header("Authorization", "Bearer "+token("bob"), "Cookie", "session="+token("cat"), "Origin", foreign), "", "bob"},
			"auth from a foreign page":         {withToken(token("ann")), header("Cookie", "session="+token("cat"), "Origin", foreign), "", "ann"},
			"cookie that is bad":               {nil, header("Cookie", "session=x", "Origin", own), "", "invalid"},
			"cookie with another name":         {nil, header("Cookie", "Session="+token("cat"), "Origin", own), "", "missing"},
			"cookie among some that are wrong": {nil, header("Cookie", "a b c; =; session="+token("cat"), "Origin", own), "", "cat"},
			"query":                            {nil, nil, token("dan"), "dan"},
			"query that is bad":                {nil, nil, "x", "invalid"},
			"cookie before query":              {nil, header("Cookie", "session="+token("cat"), "Origin", own), token("dan"), "cat"},
			"nothing":                          {nil, nil, "", "missing"},
		} {
			opts := &servertest.DialOptions{Header: c.header}
			if c.query != "" {
				opts.Query = url.Values{"access_token": {c.query}}
			}
			client := clients.Dial(t, opts)
			if len(c.want) > 3 {
				refusal := client.ConnectRefused("/", c.auth)
				if data, _ := refusal.Data.(map[string]any); data["code"] != c.want {
					t.Errorf("%s: %v", name, refusal.Data)
				}
				continue
			}
			if got := ask(t, client.Connect("/", c.auth), "who"); got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
	})
}

// TestSourcesByDefault holds that cookies and URLs are not read, and that the header need not be.
func TestSourcesByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := tokenFor(t, "ann", time.Hour)
		dial := &servertest.DialOptions{Header: http.Header{"Authorization": {"Bearer " + token}, "Cookie": {"token=" + token}}, Query: url.Values{"token": {token}}}
		_, clients := serve(t, newAuth(t, auth.Options{}))
		clients.Dial(t, dial).Connect("/", nil)
		dial.Header.Del("Authorization")
		expectCode(t, clients.Dial(t, dial).ConnectRefused("/", nil), auth.CodeMissing)

		_, clients = serve(t, newAuth(t, auth.Options{DisableHeader: true, Field: "jwt"}))
		dial.Header.Set("Authorization", "Bearer "+token)
		expectCode(t, clients.Dial(t, dial).ConnectRefused("/", withToken(token)), auth.CodeMissing)
		clients.Dial(t, dial).Connect("/", map[string]any{"jwt": token})
	})
}

func TestOptions(t *testing.T) {
	keys := secretKeys(t)
	for name, o := range map[string]auth.Options{
		"no keys":                    {},
		"cookie without origins":     {Keys: keys, Cookie: "session"},
		"origins without a cookie":   {Keys: keys, CookieOrigins: []string{"https://a.example"}},
		"every origin":               {Keys: keys, Cookie: "session", CookieOrigins: []string{"*"}},
		"origin with a path":         {Keys: keys, Cookie: "session", CookieOrigins: []string{"https://a.example/"}},
		"origin without a scheme":    {Keys: keys, Cookie: "session", CookieOrigins: []string{"a.example"}},
		"algorithm none":             {Keys: keys, Algorithms: []string{"none"}},
		"negative window":            {Keys: keys, Window: -1},
		"negative bound of a token":  {Keys: keys, MaxToken: -1},
		"negative bound of lifetime": {Keys: keys, MaxLifetime: -1},
	} {
		if a, err := auth.New(o); err == nil {
			t.Errorf("%s: taken", name)
			_ = a.Close()
		}
	}
}

// TestMayJoin holds that the application is asked about every room, whoever makes a socket join, but for those that are the socket's
// by nature.
func TestMayJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		a := newAuth(t, auth.Options{MayJoin: func(_ context.Context, s *server.Socket, room string) error {
			asked = append(asked, auth.Subject(s)+" "+room)
			if strings.HasPrefix(room, "secret") {
				return &server.ClientError{Message: "members only"}
			}
			return nil
		}})
		srv, clients, dir := serveDirectory(t, a)
		joins := make(chan error)
		srv.Of("/").Handle("join", server.FuncAck(func(ctx context.Context, s *server.Socket, rooms []string) (server.None, error) {
			return server.None{}, s.Join(ctx, rooms...)
		}))
		srv.Of("/").Handle("again", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (server.None, error) {
			return server.None{}, dir.Bind(ctx, s, user, nil)
		}))
		srv.Of("/open").OnConnection(func(ctx context.Context, s *server.Socket) { joins <- s.Join(ctx, "secret") })
		ann := clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
		ann.EmitWithAck("again", "ann")
		ann.EmitWithAck("join", []string{"lobby", "hall"})
		var answer struct{ Error server.ClientError }
		if err := ann.EmitWithAck("join", []string{"yard", "secret room"}).Unmarshal(0, &answer); err != nil || answer.Error.Message != "members only" {
			t.Errorf("answer is %+v, %v", answer, err)
		}
		if err := srv.Of("/").In("lobby").SocketsJoin("secret by the server"); err != nil {
			t.Error(err)
		}
		s, _ := srv.Of("/").Socket(ann.ID())
		if got := s.Rooms(); !slices.Equal(got, []string{ann.ID(), "user:ann", "lobby", "hall"}) {
			t.Errorf("rooms are %q", got)
		}
		if want := []string{"ann lobby", "ann hall", "ann yard", "ann secret room", "ann secret by the server"}; !slices.Equal(asked, want) {
			t.Errorf("asked about %q", asked)
		}
		ann.Client().Connect("/open", nil)
		if err := <-joins; err != nil {
			t.Errorf("in a namespace that is not protected: %v", err)
		}
	})
}

func TestMayJoinNeedsHooks(t *testing.T) {
	a := newAuth(t, auth.Options{MayJoin: func(context.Context, *server.Socket, string) error { return nil }})
	srv := must(server.New(nil))
	if _, err := a.Protect(srv.Of("/"), nil); err == nil {
		t.Error("rooms would be joined without a question")
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
}

func TestProtectParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv := must(server.New(&server.Options{Logger: quiet()}))
		parent := srv.OfPattern(regexp.MustCompile("^/game-"))
		if _, err := a.ProtectParent(parent); err != nil {
			t.Fatal(err)
		}
		clients := servertest.New(t, srv, &servertest.Options{Timeout: time.Hour})
		client := clients.Dial(t, nil)
		expectCode(t, client.ConnectRefused("/game-1", nil), auth.CodeMissing)
		s := client.Connect("/game-1", withToken(tokenFor(t, "ann", time.Hour)))
		if err := a.DisconnectUser(t.Context(), "ann"); err != nil {
			t.Error(err)
		}
		s.ExpectDisconnect()
	})
}

func TestRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv := must(server.New(&server.Options{Logger: quiet()}))
		remove, err := a.Protect(srv.Of("/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		remove()
		servertest.New(t, srv, nil).Connect(t, "/", nil)
	})
}
