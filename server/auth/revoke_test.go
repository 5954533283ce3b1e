package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// station is a node of a cluster that asks for tokens.
type station struct {
	*servertest.Server
	srv  *server.Server
	auth *auth.Auth
}

// startStation starts a node. The directory is shared if there is one.
func startStation(t *testing.T, cluster *adaptertest.Cluster, name string, store adapter.RevocationStore, directory adapter.UserStore, opts auth.Options) *station {
	t.Helper()
	opts.Revocations = store
	s := &station{auth: newAuth(t, opts)}
	s.srv = must(server.New(&server.Options{Adapter: cluster.Node(adapter.NodeID(name)), NodeName: name, Hooks: []server.Hooks{s.auth.Hooks()}, Logger: quiet()}))
	var dir *users.Directory
	if directory != nil {
		dir = must(users.New(s.srv, users.Options{Store: directory, Mixed: users.MixedOff, Logger: quiet()}))
		t.Cleanup(func() { _ = dir.Close() })
	}
	if _, err := s.auth.Protect(s.srv.Of("/"), dir); err != nil {
		t.Fatal(err)
	}
	s.Server = servertest.New(t, s.srv, &servertest.Options{Timeout: time.Hour})
	return s
}

// join connects a user with a token of its own.
func (s *station) join(t *testing.T, user string) *servertest.Socket {
	t.Helper()
	return s.Connect(t, "/", withToken(tokenFor(t, user, time.Hour)))
}

// flakyStore is a store that can be away.
type flakyStore struct {
	adapter.RevocationStore
	mu   sync.Mutex
	away bool // guarded by mu
}

func (f *flakyStore) set(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

func (f *flakyStore) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return adapter.ErrClusterUnavailable
	}
	return nil
}

func (f *flakyStore) Revoke(ctx context.Context, r adapter.Revocation, keep time.Duration) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.RevocationStore.Revoke(ctx, r, keep)
}

func (f *flakyStore) Revocations(ctx context.Context, cursor string) ([]adapter.Revocation, string, error) {
	if err := f.err(); err != nil {
		return nil, cursor, err
	}
	return f.RevocationStore.Revocations(ctx, cursor)
}

// TestRevokeBefore revokes on one node what was let in on two, and lets a newer token in.
func TestRevokeBefore(t *testing.T) {
	for _, directory := range []adapter.UserStore{nil, users.NewMemoryStore()} {
		t.Run(fmt.Sprintf("directory %t", directory != nil), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, store := new(adaptertest.Cluster), auth.NewMemoryRevocations()
				one := startStation(t, cluster, "one", store, directory, auth.Options{})
				two := startStation(t, cluster, "two", store, directory, auth.Options{})
				time.Sleep(20 * time.Second)
				stolen := tokenFor(t, "ann", time.Hour)
				sockets := []*servertest.Socket{one.Connect(t, "/", withToken(stolen)), two.Connect(t, "/", withToken(stolen))}
				bob := two.join(t, "bob")
				time.Sleep(time.Minute)
				fresh := two.join(t, "ann")
				start := time.Now()
				if err := one.auth.RevokeBefore(t.Context(), "ann", time.Now().Add(-30*time.Second)); err != nil {
					t.Fatal(err)
				}
				for _, s := range sockets {
					s.Expect(auth.EventRevoked, map[string]any{"code": "revoked"})
					s.ExpectDisconnect() // not the end of the connection: the client does not come back by itself
				}
				if d := time.Since(start); d >= time.Second {
					t.Errorf("it took %v", d)
				}
				for _, s := range []*station{one, two} {
					expectCode(t, s.Dial(t, nil).ConnectRefused("/", withToken(stolen)), auth.CodeRevoked)
				}
				synctest.Wait()
				for _, s := range []*servertest.Socket{bob, fresh} {
					if _, ok := two.srv.Of("/").Socket(s.ID()); !ok {
						t.Error("a socket with a token that is in order is gone")
					}
				}
				if r := renew(t, fresh, stolen); r.Error.Data.Code != auth.CodeRevoked {
					t.Errorf("renewed with a token that is revoked: %+v", r)
				}
				if s := two.auth.Stats(); s.Revoked != 1 || s.Revocations != 1 || s.Refused[auth.CodeRevoked] != 2 {
					t.Errorf("stats are %+v", s)
				}
			})
		})
	}
}

// TestRevocationSurvivesRestart starts a node when all others are gone.
func TestRevocationSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := auth.NewMemoryRevocations()
		one := startStation(t, new(adaptertest.Cluster), "one", store, nil, auth.Options{})
		stolen := tokenFor(t, "ann", 20*time.Hour)
		time.Sleep(time.Second)
		for _, user := range []string{"bob", "ann", "cat"} {
			if err := one.auth.RevokeBefore(t.Context(), user, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(19 * time.Hour)
		two := startStation(t, new(adaptertest.Cluster), "two", store, nil, auth.Options{})
		expectCode(t, two.Dial(t, nil).ConnectRefused("/", withToken(stolen)), auth.CodeRevoked)
		two.join(t, "ann")
	})
}

func TestDisconnectUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, store := new(adaptertest.Cluster), auth.NewMemoryRevocations()
		one := startStation(t, cluster, "one", store, nil, auth.Options{})
		two := startStation(t, cluster, "two", store, nil, auth.Options{})
		time.Sleep(20 * time.Second)
		sockets := []*servertest.Socket{one.join(t, "ann"), two.join(t, "ann"), two.join(t, "ann")}
		bob := two.join(t, "bob")
		if err := one.auth.DisconnectUser(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		for _, s := range sockets {
			s.ExpectDisconnect()
		}
		synctest.Wait()
		if _, ok := two.srv.Of("/").Socket(bob.ID()); !ok {
			t.Error("another user is gone")
		}
		one.join(t, "ann") // the token is as good as before
	})
}

// TestRevocationWhileCutOff has a node miss what the others are told: it reads it.
func TestRevocationWhileCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, store := new(adaptertest.Cluster), auth.NewMemoryRevocations()
		one := startStation(t, cluster, "one", store, nil, auth.Options{})
		two := startStation(t, cluster, "two", store, nil, auth.Options{})
		time.Sleep(20 * time.Second)
		ann := two.join(t, "ann")
		time.Sleep(time.Second)
		cluster.Cut("two")
		start := time.Now()
		if err := one.auth.RevokeBefore(t.Context(), "ann", time.Now()); err != nil {
			t.Fatal(err)
		}
		ann.ExpectDisconnect()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// TestStoreAway holds that a node goes on with what it knows, and that one which knows nothing lets nobody in.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, store := new(adaptertest.Cluster), &flakyStore{RevocationStore: auth.NewMemoryRevocations()}
		one := startStation(t, cluster, "one", store, nil, auth.Options{})
		stolen := tokenFor(t, "ann", 24*time.Hour)
		time.Sleep(time.Second)
		if err := one.auth.RevokeBefore(t.Context(), "ann", time.Now()); err != nil {
			t.Fatal(err)
		}
		store.set(true)
		time.Sleep(time.Minute)
		one.join(t, "bob")
		expectCode(t, one.Dial(t, nil).ConnectRefused("/", withToken(stolen)), auth.CodeRevoked)
		bob := one.join(t, "bob")
		if err := one.auth.RevokeBefore(t.Context(), "bob", time.Now().Add(time.Hour)); !errors.Is(err, server.ErrClusterUnavailable) {
			t.Errorf("error is %v", err)
		}
		synctest.Wait()
		if _, ok := one.srv.Of("/").Socket(bob.ID()); !ok {
			t.Error("the revocation was not written, and took effect")
		}

		two := startStation(t, cluster, "two", store, nil, auth.Options{})
		open := startStation(t, cluster, "open", store, nil, auth.Options{ServeUnread: true})
		data := expectCode(t, two.Dial(t, nil).ConnectRefused("/", withToken(tokenFor(t, "bob", time.Hour))), auth.CodeUnavailable)
		if data["retryAfterMillis"] != 2000.0 {
			t.Errorf("data is %v", data)
		}
		late := open.Connect(t, "/", withToken(stolen))
		store.set(false)
		late.ExpectDisconnect() // as soon as it is known
		time.Sleep(5 * time.Second)
		two.join(t, "bob")
		expectCode(t, two.Dial(t, nil).ConnectRefused("/", withToken(stolen)), auth.CodeRevoked)
	})
}

// TestRevokedOnTheWay revokes a token while its socket is between this package's middleware and the namespace.
func TestRevokedOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, clients := serve(t, a)
		srv.Of("/").Use(func(ctx context.Context, s *server.Socket) error {
			return a.RevokeBefore(ctx, auth.Subject(s), time.Now().Add(time.Second))
		})
		ann := clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
		ann.Expect(auth.EventRevoked)
		ann.ExpectDisconnect()
	})
}

// TestTokenWithoutTime holds that a token which does not tell when it was issued counts as older than any revocation.
func TestTokenWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		if err := a.RevokeBefore(t.Context(), "ann", time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got := code(t, a, forge(`{"sub":"ann","exp":`+later()+`}`)); got != auth.CodeRevoked {
			t.Errorf("%q", got)
		}
		if got := code(t, a, tokenFor(t, "ann", time.Hour)); got != "" {
			t.Errorf("%q", got)
		}
	})
}

// TestAncientRevocations holds that what concerns no token any more does not pile up.
func TestAncientRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{MaxLifetime: time.Hour})
		revoke := func(n int) {
			for i := range n {
				if err := a.RevokeBefore(t.Context(), fmt.Sprint(time.Now().Unix(), " user ", i), time.Now()); err != nil {
					t.Fatal(err)
				}
			}
		}
		revoke(1000)
		time.Sleep(2 * time.Hour)
		revoke(1000)
		if got := a.Stats().Revocations; got != 1000 {
			t.Errorf("%d revocations are kept", got)
		}
	})
}

// TestRevocationsOfThePastAndToCome holds that a revocation is kept as long as a token lives that it concerns, however far away the
// time is that it names.
func TestRevocationsOfThePastAndToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keptStore{RevocationStore: auth.NewMemoryRevocations()}
		a := newAuth(t, auth.Options{MaxLifetime: time.Hour, Revocations: store})
		timeless := forge(fmt.Sprintf(`{"sub":"ann","exp":%d}`, time.Now().Add(time.Hour).Unix()))
		revoke := func(user string, before time.Time, keep time.Duration) {
			t.Helper()
			if err := a.RevokeBefore(t.Context(), user, before); err != nil {
				t.Fatal(err)
			}
			if store.keep != keep {
				t.Errorf("the revocation of %s is kept for %v, want %v", user, store.keep, keep)
			}
		}
		revoke("ann", time.Now().Add(-24*time.Hour), time.Hour+30*time.Second)
		revoke("bob", time.Now().Add(10*time.Minute), time.Hour+10*time.Minute+30*time.Second)
		time.Sleep(10*time.Minute - time.Second)
		token := tokenFor(t, "bob", time.Hour)
		time.Sleep(40 * time.Minute)
		for n := range 1100 { // those that are over are dropped
			revoke(fmt.Sprint("user ", n), time.Now(), time.Hour+30*time.Second)
		}
		for range 2 {
			if got := code(t, a, timeless); got != auth.CodeRevoked {
				t.Errorf("a token that does not tell when it was issued: %q", got)
			}
		}
		time.Sleep(19 * time.Minute)
		if got := code(t, a, token); got != auth.CodeRevoked {
			t.Errorf("a token of before the time to come: %q", got)
		}
	})
}

// keptStore tells how long the latest revocation is kept.
type keptStore struct {
	adapter.RevocationStore
	keep time.Duration // of one goroutine
}

func (k *keptStore) Revoke(ctx context.Context, r adapter.Revocation, keep time.Duration) error {
	k.keep = keep
	return k.RevocationStore.Revoke(ctx, r, keep)
}

// TestRevocationReachesForeignNodes has a node in the cluster that knows neither tokens nor the directory, as those of Node.js do. A
// user's sockets there go, those with newer tokens elsewhere stay.
func TestRevocationReachesForeignNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := new(adaptertest.Cluster)
		a := newAuth(t, auth.Options{})
		srv := must(server.New(&server.Options{Adapter: cluster.Node("one"), NodeName: "one", Logger: quiet()}))
		dir := must(users.New(srv, users.Options{Store: users.NewMemoryStore(), Mixed: users.MixedOn, Logger: quiet()}))
		t.Cleanup(func() { _ = dir.Close() })
		must(a.Protect(srv.Of("/"), dir))
		one := &station{servertest.New(t, srv, &servertest.Options{Timeout: time.Hour}), srv, a}

		foreign := must(server.New(&server.Options{Adapter: cluster.Node("foreign"), NodeName: "foreign", Logger: quiet()}))
		foreign.Of("/").Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (server.None, error) {
			return server.None{}, s.Join(ctx, user)
		}))
		clients := servertest.New(t, foreign, &servertest.Options{Timeout: time.Hour})
		time.Sleep(20 * time.Second)
		old := one.join(t, "ann")
		time.Sleep(time.Minute)
		fresh := one.join(t, "ann")
		there, bob := clients.Connect(t, "/", nil), clients.Connect(t, "/", nil)
		there.EmitWithAck("login", "ann")
		bob.EmitWithAck("login", "bob")
		if err := a.RevokeBefore(t.Context(), "ann", time.Now().Add(-30*time.Second)); err != nil {
			t.Fatal(err)
		}
		old.ExpectDisconnect()
		there.ExpectDisconnect()
		synctest.Wait()
		if _, ok := srv.Of("/").Socket(fresh.ID()); !ok {
			t.Error("the socket with a newer token is gone")
		}
		if _, ok := foreign.Of("/").Socket(bob.ID()); !ok {
			t.Error("another user is gone")
		}
		if err := a.DisconnectUser(t.Context(), "ann"); err != nil {
			t.Error(err)
		}
		fresh.ExpectDisconnect()
	})
}
