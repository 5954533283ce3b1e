package natsadapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/memoryusers"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func userStore(t *testing.T, url, prefix string) *UserStore {
	t.Helper()
	s, err := NewUserStore(&UserStoreOptions{Servers: []string{url}, Prefix: prefix, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestUserStore(t *testing.T) {
	server := natstest.Single(t)
	adaptertest.RunUserStore(t, func(t *testing.T) (a, b adapter.UserStore) {
		one, two := userStore(t, server.URL, prefixOf(t)), userStore(t, server.URL, prefixOf(t))
		agree(t, []*UserStore{one, two})
		return one, two
	})
}

// TestUserStoreRouted has two stores that are not the keeper, each on a server of its own.
func TestUserStoreRouted(t *testing.T) {
	servers := natstest.Routed(t, 3)
	adaptertest.RunUserStore(t, func(t *testing.T) (a, b adapter.UserStore) {
		keeper := userStore(t, servers[0].URL, prefixOf(t))
		if _, _, err := keeper.Roll(within(t), "/"); err != nil {
			t.Fatal(err)
		}
		return userStore(t, servers[1].URL, prefixOf(t)), userStore(t, servers[2].URL, prefixOf(t))
	})
}

// keepers returns the stores that think that they keep.
func keepers(stores []*UserStore) (list []*UserStore) {
	for _, s := range stores {
		s.mu.Lock()
		if s.users != nil {
			list = append(list, s)
		}
		s.mu.Unlock()
	}
	return list
}

// agree waits until some stores have one keeper among them, and all know it.
func agree(t *testing.T, stores []*UserStore) *UserStore {
	t.Helper()
	var keeper *UserStore
	redistest.Eventually(t, "the stores agree on a keeper", func() bool {
		list := keepers(stores)
		if len(list) != 1 {
			return false
		}
		keeper = list[0]
		return !slices.ContainsFunc(stores, func(s *UserStore) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.now.ID != keeper.id
		})
	})
	return keeper
}

// TestKeeperGoes ends one keeper after the other, until one store is left. Each new keeper begins with another epoch.
func TestKeeperGoes(t *testing.T) {
	servers := natstest.Routed(t, 3)
	var stores []*UserStore
	for _, s := range servers {
		stores = append(stores, userStore(t, s.URL, prefixOf(t)))
	}
	epochs := make(map[string]bool)
	for len(stores) > 0 {
		keeper := agree(t, stores)
		for i, s := range stores {
			epoch, err := s.Enrol(within(t), "/", fmt.Sprintf("%016x-1", i), "n")
			if err != nil || epoch == "" {
				t.Fatalf("enrolled with epoch %q, %v", epoch, err)
			}
			if epochs[epoch] != (i > 0) {
				t.Errorf("%d stores are left, epoch %s", len(stores), epoch)
			}
			epochs[epoch] = true
			if _, err := s.Apply(within(t), "/", []adapter.UserChange{{Op: adapter.UserHold, User: "u", Life: fmt.Sprintf("%016x-1", i)}}); err != nil {
				t.Fatal(err)
			}
		}
		if e, err := stores[0].Lookup(within(t), "/", "u"); err != nil || len(e.Holders) != len(stores) || !epochs[e.Epoch] {
			t.Errorf("%+v, %v", e, err)
		}
		keeper.Close()
		if _, err := keeper.Lookup(within(t), "/", "u"); !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("a store that is closed: %v", err)
		}
		stores = slices.DeleteFunc(stores, func(s *UserStore) bool { return s == keeper })
		began := time.Now()
		if len(stores) > 0 {
			if e, err := stores[0].Lookup(within(t), "/", "u"); err != nil || len(e.Holders) > 0 || e.Epoch != "" {
				t.Errorf("a new keeper: %+v, %v", e, err)
			}
			t.Logf("a new keeper after %v", time.Since(began))
		}
	}
}

// TestKeeperLosesNATS kills the server of the keeper, and then all.
func TestKeeperLosesNATS(t *testing.T) {
	servers := natstest.Routed(t, 3)
	stores := make([]*UserStore, 3)
	for i, s := range servers {
		stores[i] = userStore(t, s.URL, prefixOf(t))
	}
	keeper := agree(t, stores)
	at := slices.Index(stores, keeper)
	servers[at].Kill()
	redistest.Eventually(t, "it does not keep any more", func() bool { return !slices.Contains(keepers(stores), keeper) || len(keepers(stores)) == 1 })
	agree(t, stores) // those that are told of other servers go there
	for _, s := range servers {
		s.Kill()
	}
	redistest.Eventually(t, "nobody keeps", func() bool { return len(keepers(stores)) == 0 })
	began := time.Now()
	if _, err := stores[0].Lookup(within(t), "/", "u"); !errors.Is(err, adapter.ErrClusterUnavailable) || time.Since(began) > 2*userTryFor {
		t.Errorf("without nats: %v after %v", err, time.Since(began))
	}
	for _, s := range servers {
		s.Start()
	}
	natstest.AwaitRoutes(t, servers...)
	agree(t, stores)
}

// bareKeeping is a store without a connection, whose time the test makes.
func bareKeeping(id string) *keeping {
	return &keeping{id: id, opts: Options{Logger: quiet()}, wake: make(chan struct{}, 1), candidates: make(map[string]time.Time), notes: newNotebook()}
}

func (k *keeping) says(now time.Time) (beacon, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dueLocked(now)
}

func beaconMsg(t *testing.T, b beacon) *nats.Msg {
	t.Helper()
	body, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Data: body}
}

// TestChoice follows the choice of a keeper step by step.
func TestChoice(t *testing.T) {
	now := time.Now()
	a, b := bareKeeping("a"), bareKeeping("b")
	for _, k := range []*keeping{a, b} {
		if say, ok := k.says(now); !ok || say.ID != k.id || !say.Since.IsZero() {
			t.Fatalf("%s says %+v", k.id, say)
		}
	}
	a.hear(beaconMsg(t, beacon{ID: "b"}))
	for i, want := range []bool{true, false} { // b may have come after a had spoken
		if say, ok := a.says(now); ok != want || ok && say.ID != "a" {
			t.Fatalf("a says %+v for the %d. time", say, i+1)
		}
	}
	b.hear(beaconMsg(t, beacon{ID: "a"}))
	now = now.Add(chooseWithin)
	if say, _ := b.says(now); !say.Since.IsZero() || b.users != nil {
		t.Fatalf("b says %+v, though a comes first", say)
	}
	say, _ := a.says(now)
	if say.Since.IsZero() || a.users == nil {
		t.Fatalf("a says %+v", say)
	}
	b.hear(beaconMsg(t, say))
	if b.now.ID != "a" || b.users != nil {
		t.Fatalf("b follows %q", b.now.ID)
	}

	// a stands still, and b begins.
	now = now.Add(keeperSilent + time.Second)
	if say, _ := b.says(now); say.ID != "b" || !say.Since.IsZero() {
		t.Fatalf("b says %+v of a silent keeper", say)
	}
	now = now.Add(candidateFor + chooseWithin)
	if say, _ = b.says(now); say.Since.IsZero() {
		t.Fatalf("b says %+v", say)
	}
	if a.users == nil {
		t.Fatal("a was not asked yet")
	}
	a.heard = time.Now().Add(-keeperSilent - time.Second)
	if got := a.answer(userQuestion{Do: doRoll, Namespace: "/"}); !got.Not {
		t.Errorf("a keeper that stood still answers %+v", got)
	}

	// Two keepers meet: the later one goes on.
	c := bareKeeping("c")
	c.keepLocked(now.Add(-time.Minute))
	b.hear(beaconMsg(t, c.now))
	if b.users == nil {
		t.Error("a keeper gives way to one that began before it")
	}
	c.hear(beaconMsg(t, b.now))
	if c.users != nil || c.now.ID != "b" {
		t.Error("a keeper does not give way to one that began after it")
	}
	if !(beacon{ID: "b"}).follows(beacon{ID: "a"}) || (beacon{ID: "a"}).follows(beacon{ID: "a"}) {
		t.Error("keepers that began together have no order")
	}
}

// TestWrongClock: a keeper that begins later than one whose clock was ahead does not give way to that one.
func TestWrongClock(t *testing.T) {
	now := time.Now()
	ahead := beacon{ID: "a", Since: now.Add(10 * time.Minute)}
	k := bareKeeping("c")
	k.hear(beaconMsg(t, ahead))
	k.says(now.Add(keeperSilent + time.Second))
	k.says(now.Add(keeperSilent + time.Second + chooseWithin))
	if k.users == nil {
		t.Fatal("it does not keep")
	}
	first := k.now
	if k.hear(beaconMsg(t, ahead)); k.users == nil || !first.follows(ahead) {
		t.Errorf("it began at %v, and gives way to one of %v", first.Since, ahead.Since)
	}
	k.keepLocked(now.Add(time.Minute))
	if !k.now.Since.After(first.Since) {
		t.Errorf("it began at %v after it had at %v", k.now.Since, first.Since)
	}
}

// TestLargeAnswer has a user on so many nodes, and so many users, that what comes of a change is more than a message may have.
func TestLargeAnswer(t *testing.T) {
	server := natstest.Single(t, "max_payload: 100000")
	prefix := prefixOf(t)
	keeper := userStore(t, server.URL, prefix)
	agree(t, []*UserStore{keeper})
	s := userStore(t, server.URL, prefix)
	var changes []adapter.UserChange
	for user := range 8 {
		for life := range 150 {
			changes = append(changes, adapter.UserChange{Op: adapter.UserHold, User: fmt.Sprint("u", user), Life: fmt.Sprintf("%016x-%d", life, life+1)})
		}
	}
	outcomes, err := s.Apply(within(t), "/", changes)
	if err != nil || len(outcomes) != len(changes) {
		t.Fatalf("%d outcomes, %v", len(outcomes), err)
	}
	if n := len(outcomes[len(outcomes)-1].Holders); n != 149 {
		t.Errorf("%d holders", n)
	}
	var many []adapter.UserChange
	for i := range 300 {
		many = append(many, adapter.UserChange{Op: adapter.UserHold, User: fmt.Sprint(strings.Repeat("x", 1000), i), Life: "many-1"})
	}
	if _, err := s.Apply(within(t), "/", many); err != nil {
		t.Errorf("questions larger than a message: %v", err)
	}
	swept := 0
	if err := s.Sweep(within(t), "/", "many-1", func(string) { swept++ }); err != nil || swept != len(many) {
		t.Errorf("%d users of %d swept, %v", swept, len(many), err)
	}
	huge := []adapter.UserChange{{Op: adapter.UserHold, User: strings.Repeat("x", 100_000), Life: "many-1"}}
	if _, err := s.Apply(within(t), "/", huge); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("a user's name larger than a message: %v", err)
	}
	if _, err := s.Apply(within(t), "/", []adapter.UserChange{{Op: 9, User: "u", Life: "l"}}); err == nil || errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("an operation that there is not: %v", err)
	}
	if _, err := s.Enrol(within(t), "/", strings.Repeat("l", maxUserLife+1), "n"); err == nil {
		t.Error("a life of any length is taken")
	}
}

// TestUserGarbage sends what is no question to the keeper, and what is no beacon to all.
func TestUserGarbage(t *testing.T) {
	server := natstest.Single(t)
	prefix := prefixOf(t)
	s := userStore(t, server.URL, prefix)
	agree(t, []*UserStore{s})
	nc := server.Client()
	for _, body := range []string{"", "{", "null", "[]", `{"do":"x"}`, `{"do":"apply","changes":[{"op":7}]}`, strings.Repeat("x", 1000)} {
		if err := nc.Publish(s.subjects.beacons(), []byte(body)); err != nil {
			t.Fatal(err)
		}
		m, err := nc.Request(s.subjects.keeper(s.id), []byte(body), 10*time.Second)
		if err != nil || !strings.Contains(string(m.Data), `"error"`) {
			t.Errorf("%q: %v, %v", body, m, err)
		}
	}
	if _, err := s.Enrol(within(t), "/", "l-1", "n"); err != nil {
		t.Error(err)
	}
}

func FuzzUserQuestion(f *testing.F) {
	for _, q := range []userQuestion{
		{Do: doEnrol, Namespace: "/", Life: "l", Node: "n"}, {Do: doLookup, Namespace: "/", User: []byte("u")}, {Do: doHeld, Life: "l"}, {Do: doStrike},
		{Do: doApply, Changes: []userChange{{adapter.UserHold, []byte("u\xff"), "l"}}}, {Do: doClaim, Life: "l", By: "b", For: 1}, {Do: doRoll},
		{Do: doNotes, By: "a", From: 1}, {Do: doNote, Notes: []note{{Kind: revokedNote, Name: []byte("u"), At: 1, Until: 1 << 60}}},
	} {
		body, _ := json.Marshal(q)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := readUserQuestion(body)
		if err != nil {
			return
		}
		k := bareKeeping("a")
		k.keepLocked(time.Now())
		k.users = memoryusers.New()
		a := k.answer(q)
		if a.Not || a.Error == "" && q.Do == doApply && len(a.Outcomes) != len(q.Changes) {
			t.Fatalf("%s: %+v", body, a)
		}
		if _, err := json.Marshal(a); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzBeacon(f *testing.F) {
	f.Add([]byte(`{"id":"a","since":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		k := bareKeeping("k")
		k.keepLocked(time.Now())
		k.hear(&nats.Msg{Data: body})
		if b, ok := readBeacon(body); ok && (b.ID == "" || len(b.ID) > 64) {
			t.Fatalf("%+v", b)
		}
		if k.users == nil && k.now.ID == "k" {
			t.Fatal("follows itself")
		}
	})
}
