package natsadapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestRevocationStore runs the suite with the keeper and another store.
func TestRevocationStore(t *testing.T) {
	server := natstest.Single(t)
	adaptertest.RunRevocationStore(t, func(t *testing.T) (a, b adapter.RevocationStore) {
		one, two := userStore(t, server.URL, prefixOf(t)), userStore(t, server.URL, prefixOf(t))
		agree(t, []*UserStore{one, two})
		return one.Revocations(), two.Revocations()
	})
}

// TestRevocationStoreRouted runs the suite with two stores that are not the keeper, of which one is a program's that is no node.
func TestRevocationStoreRouted(t *testing.T) {
	servers := natstest.Routed(t, 3)
	adaptertest.RunRevocationStore(t, func(t *testing.T) (a, b adapter.RevocationStore) {
		keeper := userStore(t, servers[0].URL, prefixOf(t))
		if _, _, err := keeper.Roll(within(t), "/"); err != nil {
			t.Fatal(err)
		}
		return userStore(t, servers[1].URL, prefixOf(t)).Revocations(), guest(t, servers[2].URL)
	})
}

func guest(t *testing.T, url string) *RevocationStore {
	t.Helper()
	s, err := NewRevocationStore(&UserStoreOptions{Servers: []string{url}, Prefix: prefixOf(t), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func revoke(t *testing.T, s *RevocationStore, user string, ms int64) adapter.Revocation {
	t.Helper()
	r := adapter.Revocation{User: user, Before: time.UnixMilli(ms)}
	if err := s.Revoke(within(t), r, time.Hour); err != nil {
		t.Fatal(err)
	}
	return r
}

// knownTo returns the users whose tokens a store tells to be revoked.
func knownTo(t *testing.T, s *UserStore) (users []string) {
	t.Helper()
	for cursor := ""; ; {
		list, next, err := s.Revocations().Revocations(within(t), cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			slices.Sort(users)
			return users
		}
		for _, r := range list {
			users = append(users, r.User)
		}
		cursor = next
	}
}

// TestRevocationsOutlastKeepers: as long as there is a node all revocations are known, also to one that starts later.
func TestRevocationsOutlastKeepers(t *testing.T) {
	servers := natstest.Routed(t, 3)
	var stores []*UserStore
	for _, s := range servers {
		stores = append(stores, userStore(t, s.URL, prefixOf(t)))
	}
	program := guest(t, servers[0].URL)
	var want []string
	for i := range 4 {
		keeper := agree(t, stores)
		user := fmt.Sprint("user ", i)
		want = append(want, user)
		if i%2 == 0 {
			revoke(t, program, user, int64(i+1))
		} else {
			revoke(t, keeper.Revocations(), user, int64(i+1))
		}
		stores = append(stores, userStore(t, servers[i%3].URL, prefixOf(t)))
		for _, s := range stores {
			if got := knownTo(t, s); !slices.Equal(got, want) {
				t.Fatalf("after %s: known are %v", user, got)
			}
		}
		keeper.Close()
		stores = slices.DeleteFunc(stores, func(s *UserStore) bool { return s == keeper })
	}
}

// TestRevocationsBrokerRestarts: NATS forgets everything, the nodes do not. One that starts first of all learns it from the others.
func TestRevocationsBrokerRestarts(t *testing.T) {
	server := natstest.Single(t)
	one, two := userStore(t, server.URL, prefixOf(t)), userStore(t, server.URL, prefixOf(t))
	agree(t, []*UserStore{one, two})
	revoke(t, one.Revocations(), "ann", 1)
	if got := knownTo(t, two); !slices.Equal(got, []string{"ann"}) {
		t.Fatalf("known are %v", got)
	}
	server.Kill()
	redistest.Eventually(t, "nothing can be revoked without NATS, as soon as that is noticed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := one.Revocations().Revoke(ctx, adapter.Revocation{User: "bob", Before: time.Now()}, time.Hour)
		return errors.Is(err, adapter.ErrClusterUnavailable)
	})
	newcomer := userStore(t, server.URL, prefixOf(t))
	server.Start()
	redistest.Eventually(t, "the newcomer knows what the others do", func() bool {
		knownTo(t, one) // as every node does every 5 s
		return slices.Contains(knownTo(t, newcomer), "ann")
	})
}

// TestNotesOfTwoHalves: two nodes that were apart, each with what the other does not know, come together.
func TestNotesOfTwoHalves(t *testing.T) {
	server := natstest.Single(t)
	one, two := userStore(t, server.URL, prefixOf(t)), userStore(t, server.URL, prefixOf(t))
	agree(t, []*UserStore{one, two})
	for s, user := range map[*UserStore]string{one: "ann", two: "bob"} { // as if neither had heard of the other one's
		if _, err := s.notes.add(time.Now(), []note{{Kind: revokedNote, Name: []byte(user), At: 1, Until: time.Now().Add(time.Hour).UnixMilli()}}); err != nil {
			t.Fatal(err)
		}
	}
	knownTo(t, one)
	knownTo(t, two)
	for _, s := range []*UserStore{one, two} {
		if got := knownTo(t, s); !slices.Equal(got, []string{"ann", "bob"}) {
			t.Errorf("known are %v", got)
		}
	}
}

// TestNotesHeardEarly: a store that has just connected hears the second revocation before it has read the first one. It tells both in the
// order of the keeper, and has what it heard if the keeper ends before it could read.
func TestNotesHeardEarly(t *testing.T) {
	server := natstest.Single(t)
	keeper := userStore(t, server.URL, prefixOf(t))
	first := revoke(t, keeper.Revocations(), "ann", 1)
	second := note{Kind: revokedNote, Name: []byte("bob"), At: 2, Until: time.Now().Add(time.Hour).UnixMilli()}
	if err := keeper.keepNotes([]note{second}); err != nil {
		t.Fatal(err)
	}
	late := userStore(t, server.URL, prefixOf(t))
	last := note{Kind: revokedNote, Name: []byte("eve"), At: 3, Until: second.Until}
	for _, n := range []note{second, last} {
		if err := late.notes.hear(time.Now(), []note{n}); err != nil {
			t.Fatal(err)
		}
	}
	want := []adapter.Revocation{first, {User: "bob", Before: time.UnixMilli(2)}, {User: "eve", Before: time.UnixMilli(3)}}
	if list, _, err := late.Revocations().Revocations(within(t), ""); err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("told %v, %v", list, err)
	}
	if err := late.notes.hear(time.Now(), []note{{Kind: revokedNote, Name: []byte("zoe"), At: 4, Until: second.Until}}); err != nil {
		t.Fatal(err)
	}
	keeper.Close()
	if got := knownTo(t, late); !slices.Equal(got, []string{"ann", "bob", "eve", "zoe"}) {
		t.Errorf("after the keeper: %v", got)
	}
}

// TestGuestAlone: a program that is no node never keeps anything, and says that nobody does.
func TestGuestAlone(t *testing.T) {
	server := natstest.Single(t)
	s := guest(t, server.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // long enough to be chosen
	defer cancel()
	err := s.Revoke(ctx, adapter.Revocation{User: "ann", Before: time.Now()}, time.Hour)
	if !errors.Is(err, adapter.ErrClusterUnavailable) || !strings.Contains(err.Error(), "find out who keeps the users") {
		t.Errorf("alone: %v", err)
	}
}

// TestAdminSessions: what one node saves another one knows, for a time.
func TestAdminSessions(t *testing.T) {
	server := natstest.Single(t)
	one, two := userStore(t, server.URL, prefixOf(t)), userStore(t, server.URL, prefixOf(t))
	agree(t, []*UserStore{one, two})
	exists := func(s *AdminStore, id string) bool {
		t.Helper()
		ok, err := s.SessionExists(within(t), id)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if err := one.AdminSessions(nil).SaveSession(within(t), "id"); err != nil {
		t.Fatal(err)
	}
	if err := two.AdminSessions(&AdminStoreOptions{Duration: time.Second}).SaveSession(within(t), "brief"); err != nil {
		t.Fatal(err)
	}
	if !exists(two.AdminSessions(nil), "id") || !exists(one.AdminSessions(nil), "brief") || exists(two.AdminSessions(nil), "other") {
		t.Error("a session that was saved does not exist, or another one does")
	}
	redistest.Eventually(t, "the session has ended", func() bool { return !exists(one.AdminSessions(nil), "brief") })
	if got := knownTo(t, two); len(got) > 0 {
		t.Errorf("sessions are revocations: %v", got)
	}
}

// TestNotebook drops what is over, keeps places, and takes no more than its bound.
func TestNotebook(t *testing.T) {
	b, now := newNotebook(), time.Now()
	at := func(name string, lives time.Duration) note {
		return note{Kind: adminNote, Name: []byte(name), Until: now.Add(lives).UnixMilli()}
	}
	for i := range 3000 {
		if fresh, err := b.add(now, []note{at(fmt.Sprint("long ", i), time.Hour), at(fmt.Sprint("brief ", i), time.Second)}); err != nil || len(fresh) != 2 {
			t.Fatalf("note %d: %v, %v", i, fresh, err)
		}
	}
	for name, again := range map[string][]note{"the same": {at("long 1", time.Hour)}, "for less": {at("long 1", time.Minute)}, "over": {at("new", -time.Second)}} {
		if fresh, err := b.add(now, again); err != nil || len(fresh) > 0 {
			t.Errorf("%s: %v, %v", name, fresh, err)
		}
	}
	if fresh, _ := b.add(now, []note{at("long 1", 2*time.Hour)}); len(fresh) != 1 {
		t.Error("a note that is to be kept for longer is not new")
	}
	one := at("brief 1", 0)
	first, place := b.after(0, 10*one.size())
	if len(first) < 9 || len(first) > 11 || string(first[0].Name) != "long 0" || place != uint64(len(first)) {
		t.Errorf("%d notes up to place %d", len(first), place)
	}
	later := now.Add(time.Minute)
	for i := range 8000 {
		if _, err := b.add(later, []note{at(fmt.Sprint("later ", i), time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	rest, _ := b.after(place, 1<<30)
	if len(rest) > 12_000 || slices.ContainsFunc(rest, func(n note) bool { return strings.HasPrefix(string(n.Name), "brief") }) {
		t.Errorf("%d notes are left, or one that is over", len(rest))
	}
	if !b.has(noteKey{adminNote, "long 5", 0}, later) || b.has(noteKey{adminNote, "brief 5", 0}, later) || b.has(noteKey{adminNote, "never", 0}, later) {
		t.Error("a note is there that should not be, or not there")
	}
	if got := b.notesBeyond(map[noteKey]int64{{adminNote, "long 1", 0}: now.Add(3 * time.Hour).UnixMilli()}); slices.ContainsFunc(got, func(n note) bool { return string(n.Name) == "long 1" }) {
		t.Error("what the others keep for longer is told again")
	}
}

// TestNotesHostile: what is no note is refused by the keeper, and by who hears it.
func TestNotesHostile(t *testing.T) {
	server := natstest.Single(t)
	s := userStore(t, server.URL, prefixOf(t))
	revoke(t, s.Revocations(), "ann", 1)
	nc := server.Client()
	until := time.Now().Add(time.Hour).UnixMilli()
	for _, n := range []note{
		{}, {Kind: "other", Name: []byte("x"), At: 1, Until: until}, {Kind: revokedNote, At: 1, Until: until}, {Kind: revokedNote, Name: []byte("x"), Until: until},
		{Kind: revokedNote, Name: make([]byte, maxNoteName+1), At: 1, Until: until}, {Kind: revokedNote, Name: []byte("x"), At: -1, Until: until},
	} {
		body, err := json.Marshal(userQuestion{Do: doNote, Notes: []note{n}})
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Publish(s.subjects.notes(), body); err != nil {
			t.Fatal(err)
		}
		var a userAnswer
		if m, err := nc.RequestWithContext(within(t), s.subjects.keeper(s.id), body); err != nil || json.Unmarshal(m.Data, &a) != nil || a.Error == "" {
			t.Errorf("%+v: %+v, %v", n, a, err)
		}
	}
	if got := knownTo(t, s); !reflect.DeepEqual(got, []string{"ann"}) {
		t.Errorf("known are %v", got)
	}
	if err := s.Revocations().Revoke(within(t), adapter.Revocation{Before: time.Now()}, time.Hour); err == nil || errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("nobody's tokens: %v", err)
	}
}
