package admin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server/admin"
)

var _ admin.Store = (*redisadapter.AdminStore)(nil)

const invalid = "invalid credentials" // the page knows this text

func TestLogin(t *testing.T) {
	store := admin.NewMemoryStore(&admin.MemoryStoreOptions{Duration: 5 * time.Minute})
	bubble(t, admin.Options{Store: store}, "a", func(t *testing.T, nodes []*node) {
		for _, auth := range []any{
			nil, map[string]any{}, map[string]any{"sessionId": nil}, map[string]any{"sessionId": strings.Repeat("a", 32)},
			map[string]any{"sessionId": 1, "username": []int{}, "password": map[string]int{}},
			map[string]any{"username": "ann", "password": "wrong"}, map[string]any{"username": "ann"},
			map[string]any{"username": "ANN", "password": password}, map[string]any{"username": "ann", "password": passwordHash},
			map[string]any{"password": password},
		} {
			if refusal := nodes[0].Dial(t, nil).ConnectRefused("/admin", auth); refusal.Message != invalid {
				t.Errorf("%v: refused with %q", auth, refusal.Message)
			}
			time.Sleep(7 * time.Second)
		}
		// The page hears nothing that comes before the answer.
		c := nodes[0].Dial(t, nil)
		c.Send("40/admin," + asJSON(operator))
		first, second := c.Next().Data, c.Next().Data
		if !strings.HasPrefix(first, "40/admin,") || !strings.HasPrefix(second, `42/admin,["session","`) {
			t.Fatalf("got %s, then %s", first, second)
		}
		id := strings.TrimSuffix(strings.TrimPrefix(second, `42/admin,["session","`), `"]`)
		if len(id) != 32 {
			t.Errorf("session %q", id)
		}
		again := &page{t: t, Socket: nodes[0].Connect(t, "/admin", map[string]string{"sessionId": id})}
		again.expect("config", "*") // and no other session
		time.Sleep(6 * time.Minute)
		if refusal := nodes[0].Dial(t, nil).ConnectRefused("/admin", map[string]string{"sessionId": id}); refusal.Message != invalid {
			t.Errorf("6 minutes later: refused with %q", refusal.Message)
		}
		if st := nodes[0].admin.Stats(); st.Logins != 1 || st.Refused == 0 {
			t.Errorf("counted %+v", st)
		}
	})
}

func TestNoAuth(t *testing.T) {
	bubble(t, admin.Options{NoAuth: true, Namespace: "/ops"}, "a", func(t *testing.T, nodes []*node) {
		p := &page{t: t, Socket: nodes[0].Connect(t, "/ops", nil)}
		p.expect("config", "*")
	})
}

// TestAttempts lets nobody guess, and no guesser keep an operator out who has a session or another address.
func TestAttempts(t *testing.T) {
	bubble(t, admin.Options{}, "a", func(t *testing.T, nodes []*node) {
		var session string
		if err := nodes[0].Connect(t, "/admin", operator).Expect("session").Args.Unmarshal(0, &session); err != nil {
			t.Fatal(err)
		}
		wrong := map[string]string{"username": "ann", "password": "guess"}
		refused := make(map[string]int)
		for range 30 {
			refused[nodes[0].Dial(t, nil).ConnectRefused("/admin", wrong).Message]++
		}
		if refused[invalid] != 10 || len(refused) != 2 {
			t.Errorf("30 attempts at once were refused with %v, want 10 with %q", refused, invalid)
		}
		if refusal := nodes[0].Dial(t, nil).ConnectRefused("/admin", operator); refusal.Message == invalid {
			t.Error("the right password was tried after too many attempts")
		}
		nodes[0].Connect(t, "/admin", map[string]string{"sessionId": session})
		time.Sleep(time.Minute)
		for range 30 { // those that succeed do not count
			nodes[0].Connect(t, "/admin", operator)
		}
	})
}

// faultyStore fails, and counts.
type faultyStore struct{ asked, saved atomic.Int32 }

func (s *faultyStore) SessionExists(context.Context, string) (bool, error) {
	s.asked.Add(1)
	return true, errors.New("store is away")
}

func (s *faultyStore) SaveSession(context.Context, string) error {
	s.saved.Add(1)
	return errors.New("store is away")
}

// TestStoreFails: operators log in by password then, and ids that cannot be any are not asked for.
func TestStoreFails(t *testing.T) {
	store := new(faultyStore)
	bubble(t, admin.Options{Store: store}, "a", func(t *testing.T, nodes []*node) {
		for _, id := range []string{"", "short", strings.Repeat("a", 65), strings.Repeat("Z", 32), strings.Repeat("a", 31) + "\n"} {
			nodes[0].Dial(t, nil).ConnectRefused("/admin", map[string]string{"sessionId": id})
		}
		if n := store.asked.Load(); n != 0 {
			t.Errorf("the store was asked %d times for what is no id", n)
		}
		refusal := nodes[0].Dial(t, nil).ConnectRefused("/admin", map[string]string{"sessionId": strings.Repeat("a", 16)})
		if refusal.Message != invalid || store.asked.Load() != 1 {
			t.Errorf("refused with %q after %d questions", refusal.Message, store.asked.Load())
		}
		p := &page{t: t, Socket: nodes[0].Connect(t, "/admin", operator)}
		p.expect("config", "*")
		if store.saved.Load() != 1 {
			t.Errorf("%d sessions were saved", store.saved.Load())
		}
	})
}

func TestMemoryStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := admin.NewMemoryStore(&admin.MemoryStoreOptions{Duration: time.Minute, MaxSessions: 3})
		known := func(id string) bool {
			ok, err := s.SessionExists(t.Context(), id)
			if err != nil {
				t.Error(err)
			}
			return ok
		}
		for i := range 5 {
			if err := s.SaveSession(t.Context(), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		for i := range 5 {
			if got, want := known(fmt.Sprint(i)), i >= 2; got != want {
				t.Errorf("session %d: %v, want %v", i, got, want)
			}
		}
		time.Sleep(25 * time.Second) // 55 s after session 2 was saved, 45 s after 3, 35 s after 4
		if !known("2") || !known("3") || !known("4") {
			t.Errorf("before a minute is over: %v %v %v", known("2"), known("3"), known("4"))
		}
		time.Sleep(16 * time.Second)
		if known("2") || known("3") || !known("4") {
			t.Errorf("after a minute and more: %v %v %v", known("2"), known("3"), known("4"))
		}
	})
}
