package auth_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// renewal is the answer to auth:renew.
type renewal struct {
	ExpiresAt int64
	Error     struct {
		Message string
		Data    struct{ Code auth.Code }
	}
}

func renew(t *testing.T, s *servertest.Socket, arg any) (r renewal) {
	t.Helper()
	if err := s.EmitWithAck(auth.EventRenew, arg).Unmarshal(0, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestExpires shows the end of a socket whose client does not bring a new token.
func TestExpires(t *testing.T) {
	for _, transport := range []string{engine.TransportWebSocket, engine.TransportPolling} {
		t.Run(transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAuth(t, auth.Options{})
				srv, clients := serve(t, a)
				start := time.Now()
				ann := clients.Dial(t, &servertest.DialOptions{Transport: transport}).Connect("/", withToken(tokenFor(t, "ann", time.Hour)))
				ann.Expect(auth.EventExpiring, auth.Expiring{ExpiresAt: start.Add(time.Hour).UnixMilli(), GraceMillis: 30_000})
				if d := time.Since(start); d != 59*time.Minute {
					t.Errorf("asked after %v", d)
				}
				ann.Expect(auth.EventExpired, map[string]any{"code": "expired"})
				if d := time.Since(start); d != time.Hour+30*time.Second {
					t.Errorf("ended after %v", d)
				}
				ann.Client().ExpectClosed() // not a DISCONNECT: the client comes back by itself
				synctest.Wait()
				if s := a.Stats(); s.Live != 0 || s.Expired != 1 || srv.Stats().Sockets != 0 {
					t.Errorf("stats are %+v", s)
				}
				again := clients.Dial(t, nil)
				expectCode(t, again.ConnectRefused("/", withToken(tokenFor(t, "ann", -time.Minute))), auth.CodeExpired)
				again.Connect("/", withToken(tokenFor(t, "ann", time.Hour)))
			})
		})
	}
}

func TestRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, clients := serve(t, a)
		ann := clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
		for i := range 3 {
			ann.Expect(auth.EventExpiring)
			want := time.Now().Add(time.Hour).UnixMilli()
			arg := any(tokenFor(t, "ann", time.Hour))
			if i == 1 {
				arg = withToken(arg)
			}
			if r := renew(t, ann, arg); r.ExpiresAt != want {
				t.Fatalf("answer is %+v, want %d", r, want)
			}
			s, _ := srv.Of("/").Socket(ann.ID())
			if got := auth.ClaimsOf(s).ExpiresAt.UnixMilli(); got != want {
				t.Errorf("claims expire at %d, want %d", got, want)
			}
		}
		if s := a.Stats(); s.Renewed != 3 || s.Live != 1 || s.Accepted != 4 {
			t.Errorf("stats are %+v", s)
		}
	})
}

// TestBadRenewals holds that a renewal which is refused changes nothing.
func TestBadRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, clients := serve(t, a)
		ann := clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
		ann.Expect(auth.EventExpiring)
		for _, c := range []struct {
			arg  any
			code auth.Code
		}{
			{tokenFor(t, "bob", time.Hour), auth.CodeSubject},
			{tokenFor(t, "ann", -time.Hour), auth.CodeExpired},
			{"x", auth.CodeInvalid},
			{"", auth.CodeMissing},
			{map[string]any{}, auth.CodeMissing},
			{withToken(nil), auth.CodeMissing},
			{string(make([]byte, 9000)), auth.CodeTooLarge},
		} {
			if r := renew(t, ann, c.arg); r.Error.Data.Code != c.code || r.Error.Message == "" {
				t.Errorf("%.20v: answer is %+v, want %s", c.arg, r, c.code)
			}
		}
		for _, arg := range []any{7, nil, []string{"x"}, withToken(7)} {
			if r := renew(t, ann, arg); r.Error.Message == "" {
				t.Errorf("%v: answer is %+v", arg, r)
			}
		}
		s, _ := srv.Of("/").Socket(ann.ID())
		if got := auth.Subject(s); got != "ann" {
			t.Errorf("the subject is %q", got)
		}
		ann.Expect(auth.EventExpired)
		ann.Client().ExpectClosed()
	})
}

// TestShortLife holds that a client which renews at once is not asked again at once.
func TestShortLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		_, clients := serve(t, a)
		start := time.Now()
		ann := clients.Connect(t, "/", withToken(tokenFor(t, "ann", 20*time.Second)))
		for range 5 {
			ann.Expect(auth.EventExpiring)
			renew(t, ann, tokenFor(t, "ann", 20*time.Second))
		}
		if d := time.Since(start); d != 50*time.Second {
			t.Errorf("five renewals took %v", d)
		}
	})
}

// TestExpiredWithinLeeway holds that a socket whose token was over when it came, but for the leeway, is asked and then ended as well.
func TestExpiredWithinLeeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, clients := serve(t, newAuth(t, auth.Options{Leeway: time.Minute, Grace: time.Second}))
		start := time.Now()
		ann := clients.Connect(t, "/", withToken(tokenFor(t, "ann", -50*time.Second)))
		ann.Expect(auth.EventExpiring)
		ann.Expect(auth.EventExpired)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("ended after %v", d)
		}
		ann.Client().ExpectClosed()
	})
}

// TestManyExpire has more sockets end at one instant than are looked at in one go, among some that stay, that leave before, and that
// never expire.
func TestManyExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{AllowNoExpiry: true})
		srv, clients := serve(t, a)
		const many = 600
		var ends []*servertest.Socket
		stay := clients.Connect(t, "/", withToken(tokenFor(t, "stays", 3*time.Hour)))
		for i := range many {
			s := clients.Connect(t, "/", withToken(tokenFor(t, fmt.Sprint("user ", i%7), 5*time.Minute)))
			if i%10 == 0 {
				s.Disconnect()
				continue
			}
			ends = append(ends, s)
		}
		clients.Connect(t, "/", withToken(forge(fmt.Sprintf(`{"sub":"eternal","iat":%d}`, time.Now().Unix()))))
		for _, s := range ends {
			s.Expect(auth.EventExpiring)
			s.Expect(auth.EventExpired)
			s.Client().ExpectClosed()
		}
		synctest.Wait()
		if s := a.Stats(); s.Live != 2 || s.Expired != uint64(len(ends)) || srv.Stats().Sockets != 2 {
			t.Errorf("stats are %+v, %d sockets", s, srv.Stats().Sockets)
		}
		stay.Expect(auth.EventExpiring)
		renew(t, stay, tokenFor(t, "stays", time.Hour))
	})
}

// TestNamespacesExpire holds that each socket of a connection has a token of its own.
func TestNamespacesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv := must(server.New(&server.Options{Logger: quiet()}))
		for _, name := range []string{"/", "/admin"} {
			if _, err := a.Protect(srv.Of(name), nil); err != nil {
				t.Fatal(err)
			}
		}
		client := servertest.New(t, srv, &servertest.Options{Timeout: 24 * time.Hour}).Dial(t, nil)
		ann := client.Connect("/", withToken(tokenFor(t, "ann", time.Hour)))
		root := client.Connect("/admin", withToken(tokenFor(t, "root", 10*time.Minute)))
		root.Expect(auth.EventExpiring)
		renew(t, root, tokenFor(t, "root", 2*time.Hour))
		ann.Expect(auth.EventExpiring)
	})
}
