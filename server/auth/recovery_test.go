package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// comer is a client that comes back with the secret of its session and a token.
type comer struct {
	t        *testing.T
	clients  *servertest.Server
	c        *servertest.Client
	sid, pid string
	missed   []string // names of events that came before the last answer to CONNECT
}

// come connects and returns the answer to CONNECT: "recovered", "new" or the code of the refusal. The session stays known.
func (r *comer) come(token string) string {
	r.t.Helper()
	r.c = r.clients.Dial(r.t, nil)
	r.c.Send("40" + fmt.Sprintf(`{"token":%q,"pid":%q}`, token, r.pid))
	text := r.c.Next().Data
	for r.missed = nil; strings.HasPrefix(text, "42"); text = r.c.Next().Data {
		name, _, _ := strings.Cut(strings.TrimPrefix(text, `42["`), `"`)
		r.missed = append(r.missed, name)
	}
	if rest, refused := strings.CutPrefix(text, "44"); refused {
		var e struct{ Data struct{ Code string } }
		if err := json.Unmarshal([]byte(rest), &e); err != nil {
			r.t.Fatal(err)
		}
		return e.Data.Code
	}
	var reply struct{ SID, PID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "40")), &reply); err != nil || reply.SID == "" {
		r.t.Fatalf("answer to CONNECT: %s", text)
	}
	was := r.sid
	if r.sid == "" {
		r.sid, r.pid = reply.SID, reply.PID
	}
	if reply.SID == was {
		return "recovered"
	}
	return "new"
}

// serveRecovery is serveDirectory for clients that can go on.
func serveRecovery(t *testing.T, a *auth.Auth, o server.RecoveryOptions) (*server.Server, *comer, *users.Directory) {
	t.Helper()
	srv, err := server.New(&server.Options{Hooks: []server.Hooks{a.Hooks()}, Logger: quiet(), Recovery: &o})
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
	return srv, &comer{t: t, clients: servertest.New(t, srv, &servertest.Options{Timeout: 24 * time.Hour})}, dir
}

// TestRecoveryIsTheOwners: who knows the secret of a session and has a token of another user, or one that was revoked meanwhile, does not
// go on; the owner does, with a new token.
func TestRecoveryIsTheOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, ann, dir := serveRecovery(t, a, server.RecoveryOptions{})
		token := tokenFor(t, "ann", time.Hour)
		if got := ann.come(token); got != "new" {
			t.Fatal(got)
		}
		s, _ := srv.Of("/").Socket(ann.sid)
		if err := s.Join(t.Context(), "secrets"); err != nil {
			t.Fatal(err)
		}
		ann.c.Cut()
		if got := ann.come(tokenFor(t, "mallory", time.Hour)); got != "new" {
			t.Errorf("with the token of another user: %s", got)
		}
		if err := srv.Of("/").To("secrets", "user:ann").Emit("secret"); err != nil {
			t.Error(err)
		}
		if err := srv.Of("/").Emit("for all"); err != nil {
			t.Error(err)
		}
		if text := ann.c.Next().Data; !strings.HasPrefix(text, `42["for all"`) {
			t.Errorf("mallory got %s", text)
		}
		ann.c.Cut()
		if got := ann.come(tokenFor(t, "ann", -time.Minute)); got != string(auth.CodeExpired) {
			t.Errorf("with a token that is over: %s", got)
		}
		time.Sleep(time.Second)
		if err := a.RevokeBefore(t.Context(), "ann", time.Now()); err != nil {
			t.Fatal(err)
		}
		if got := ann.come(token); got != string(auth.CodeRevoked) {
			t.Errorf("with a token that was revoked: %s", got)
		}
		time.Sleep(2 * time.Second)
		if got := ann.come(tokenFor(t, "ann", time.Hour)); got != "recovered" || strings.Join(ann.missed, " ") != "secret for all" {
			t.Errorf("with a new token: %s, missed %v", got, ann.missed)
		}
		s, _ = srv.Of("/").Socket(ann.sid)
		if user, _ := dir.UserOf(s); user != "ann" {
			t.Errorf("the socket is %q", user)
		}
		if got := srv.Stats().Recovery; got["recovered"] != 1 || got["refused"] != 3 {
			t.Errorf("results %v", got)
		}
	})
}

// TestRecoveryWithRenewedToken: a client goes on with another token of its user, and is its user's again.
func TestRecoveryWithRenewedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, ann, dir := serveRecovery(t, a, server.RecoveryOptions{})
		ann.come(tokenFor(t, "ann", time.Hour))
		ann.c.Cut()
		synctest.Wait()
		if err := dir.User("ann").Emit(t.Context(), "hello"); !errors.Is(err, users.ErrKept) {
			t.Errorf("to a user who is away: %v", err)
		}
		if got := ann.come(tokenFor(t, "ann", 2*time.Hour)); got != "recovered" || strings.Join(ann.missed, " ") != "hello" {
			t.Errorf("with another token: %s, missed %v", got, ann.missed)
		}
		s, _ := srv.Of("/").Socket(ann.sid)
		if user, _ := dir.UserOf(s); user != "ann" || auth.Subject(s) != "ann" || a.Stats().Live != 1 {
			t.Errorf("the user is %q, the subject %q; %+v", user, auth.Subject(s), a.Stats())
		}
	})
}

// TestRecoveryRecheck: a session with rooms for which its user has no right any more is not gone on with.
func TestRecoveryRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		admin := true
		a := newAuth(t, auth.Options{})
		srv, ann, dir := serveRecovery(t, a, server.RecoveryOptions{Recheck: func(_ context.Context, s *server.Socket) error {
			var role string
			if ok, err := s.Data().Load("role", &role); err != nil || ok && role == "admin" && !(admin && auth.Subject(s) == "ann") {
				return errors.New("no admin any more")
			}
			return nil
		}})
		ann.come(tokenFor(t, "ann", time.Hour))
		s, _ := srv.Of("/").Socket(ann.sid)
		if err := s.Data().Set("role", "admin"); err != nil {
			t.Fatal(err)
		}
		ann.c.Cut()
		if got := ann.come(tokenFor(t, "ann", time.Hour)); got != "recovered" {
			t.Errorf("an admin: %s", got)
		}
		ann.c.Cut()
		admin = false
		if got := ann.come(tokenFor(t, "ann", time.Hour)); got != "new" {
			t.Errorf("no admin any more: %s", got)
		}
		synctest.Wait()
		if st := dir.Stats(); st.Users != 1 || st.Sockets != 1 {
			t.Errorf("left behind: %+v", st)
		}
		if got := srv.Stats().Recovery; got["recovered"] != 1 || got["refused"] != 1 {
			t.Errorf("results %v", got)
		}
	})
}

// TestExpiredBehindTheRest: what a client is told when its token is over comes behind what was sent to it before.
func TestExpiredBehindTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, ann, _ := serveRecovery(t, a, server.RecoveryOptions{})
		ann.come(tokenFor(t, "ann", time.Minute))
		s, _ := srv.Of("/").Socket(ann.sid)
		context.AfterFunc(s.Context(), func() {
			if reason := context.Cause(s.Context()).Error(); !s.Recoverable() {
				t.Errorf("ended with %s, so that nobody goes on", reason)
			}
		})
		for _, want := range []string{`42["auth:expiring",`, `42["auth:expired",{"code":"expired"}`} {
			if text := ann.c.Next().Data; !strings.HasPrefix(text, want) {
				t.Errorf("got %s, want %s", text, want)
			}
		}
		ann.c.ExpectClosed()
		synctest.Wait()
		if got := ann.come(tokenFor(t, "ann", time.Hour)); got != "recovered" {
			t.Errorf("with a new token: %s, %v", got, srv.Stats().Recovery)
		}
	})
}
