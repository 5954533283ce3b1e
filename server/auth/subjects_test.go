package auth_test

import (
	"context"
	"regexp"
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

// TestSocketsOutsideTheirRoom holds that who is to go goes, although the application has taken the socket out of the user's room.
func TestSocketsOutsideTheirRoom(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, a *auth.Auth) error{
		"disconnect": func(ctx context.Context, a *auth.Auth) error { return a.DisconnectUser(ctx, "ann") },
		"revoke": func(ctx context.Context, a *auth.Auth) error {
			return a.RevokeBefore(ctx, "ann", time.Now().Add(time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, store, directory := new(adaptertest.Cluster), auth.NewMemoryRevocations(), users.NewMemoryStore()
				one := startStation(t, cluster, "one", store, directory, auth.Options{})
				two := startStation(t, cluster, "two", store, directory, auth.Options{})
				time.Sleep(20 * time.Second)
				ann, bob := two.join(t, "ann"), two.join(t, "bob")
				if err := one.srv.Of("/").In("ann").SocketsLeave("ann"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if ids := two.srv.Of("/").In("ann").LocalIDs(); len(ids) != 0 {
					t.Fatalf("%q are in the room", ids)
				}
				if err := end(t.Context(), one.auth); err != nil {
					t.Fatal(err)
				}
				if name == "revoke" {
					ann.Expect(auth.EventRevoked)
				}
				ann.ExpectDisconnect()
				synctest.Wait()
				if _, ok := two.srv.Of("/").Socket(bob.ID()); !ok {
					t.Error("another user is gone")
				}
			})
		})
	}
}

// TestDisconnectedOnTheWay disconnects a user whose socket is between this package's middleware and the namespace, and then lets the
// user in again.
func TestDisconnectedOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, clients := serve(t, a)
		remove := srv.Of("/").Use(func(ctx context.Context, s *server.Socket) error { return a.DisconnectUser(ctx, auth.Subject(s)) })
		ann := clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
		ann.ExpectDisconnect()
		remove()
		ann = clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
		synctest.Wait()
		if _, ok := srv.Of("/").Socket(ann.ID()); !ok {
			t.Error("the user cannot come back")
		}
	})
}

// TestSocketsOfOneUser has sockets of one user come and go in any order, and looks for those that are left.
func TestSocketsOfOneUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv, clients := serve(t, a)
		var stay []*servertest.Socket
		for i := range 20 {
			s := clients.Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
			if synctest.Wait(); i%3 == 1 {
				s.Disconnect()
				stay[0].Disconnect()
				stay = stay[1:]
				synctest.Wait()
				continue
			}
			stay = append(stay, s)
		}
		if err := a.DisconnectUser(t.Context(), "ann"); err != nil {
			t.Error(err)
		}
		for _, s := range stay {
			s.ExpectDisconnect()
		}
		synctest.Wait()
		if n := srv.Stats().Sockets; n != 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}

// TestRemovedProtection holds that nobody is disconnected from a namespace that is protected no more.
func TestRemovedProtection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		srv := must(server.New(&server.Options{Logger: quiet()}))
		remove := must(a.Protect(srv.Of("/"), nil))
		ann := servertest.New(t, srv, nil).Connect(t, "/", withToken(tokenFor(t, "ann", time.Hour)))
		synctest.Wait()
		remove()
		if err := a.DisconnectUser(t.Context(), "ann"); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour) // longer than the token lasts
		if _, ok := srv.Of("/").Socket(ann.ID()); !ok {
			t.Error("the socket is gone")
		}
	})
}

// TestParentsInCluster protects dynamic namespaces alone: the other node is told through those that both have, and the caller that there
// may be others.
func TestParentsInCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, store := new(adaptertest.Cluster), auth.NewMemoryRevocations()
		start := func(name string) *station {
			s := &station{auth: newAuth(t, auth.Options{Revocations: store})}
			s.srv = must(server.New(&server.Options{Adapter: cluster.Node(adapter.NodeID(name)), NodeName: name, Logger: quiet()}))
			must(s.auth.ProtectParent(s.srv.OfPattern(regexp.MustCompile("^/game-"))))
			s.Server = servertest.New(t, s.srv, &servertest.Options{Timeout: time.Hour})
			return s
		}
		one, two := start("one"), start("two")
		time.Sleep(20 * time.Second)
		join := func(s *station, nsp, user string) *servertest.Socket {
			return s.Connect(t, nsp, withToken(tokenFor(t, user, time.Hour)))
		}
		sockets := []*servertest.Socket{join(one, "/game-1", "ann"), join(two, "/game-1", "ann"), join(two, "/game-2", "ann")}
		join(one, "/game-2", "bob")
		time.Sleep(20 * time.Second)
		if err := one.auth.DisconnectUser(t.Context(), "ann"); err == nil {
			t.Error("there is no error although the other node may have namespaces that this one does not")
		}
		for _, s := range sockets {
			s.ExpectDisconnect()
		}
	})
}
