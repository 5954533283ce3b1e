package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// NewUserStores returns two ways to the same storage, which is empty: those of two nodes. What it opens it closes with t.Cleanup.
type NewUserStores func(t *testing.T) (a, b adapter.UserStore)

// RunUserStore runs the suite that every adapter.UserStore passes.
func RunUserStore(t *testing.T, newStores NewUserStores) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, a, b adapter.UserStore)
	}{
		{"Steps", testSteps},
		{"Sequences", testSequences},
		{"ManyHolders", testManyHolders},
		{"UserIDs", testUserIDs},
		{"Namespaces", testNamespaces},
		{"Roll", testRoll},
		{"Claim", testClaim},
		{"Sweep", testSweep},
		{"SweepMany", testSweepMany},
		{"SweepBesides", testSweepBesides},
		{"Racing", testRacing},
		{"ContextEnds", testContextEnds},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := newStores(t)
			test.run(t, a, b)
		})
	}
}

const (
	hold    = adapter.UserHold
	release = adapter.UserRelease
	forget  = adapter.UserForget

	storeTimeout = 30 * time.Second
)

// lives have the form that package membership gives them, but for the last.
var lives = []string{"00112233445566aa-1", "ffeeddccbbaa9988-12", "00112233445566aa-12", "some node/1"}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), storeTimeout)
	t.Cleanup(cancel)
	return ctx
}

// apply makes changes and returns what came of them, with the holders in order.
func apply(t *testing.T, s adapter.UserStore, changes ...adapter.UserChange) []adapter.UserOutcome {
	t.Helper()
	outcomes, err := s.Apply(within(t), "/", changes)
	if err != nil || len(outcomes) != len(changes) {
		t.Fatalf("%d changes: %d outcomes, error %v", len(changes), len(outcomes), err)
	}
	for i := range outcomes {
		outcomes[i].Holders = sorted(outcomes[i].Holders)
	}
	return outcomes
}

func sorted(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	slices.Sort(s)
	return s
}

func lookup(t *testing.T, s adapter.UserStore, user string) adapter.UserEntry {
	t.Helper()
	e, err := s.Lookup(within(t), "/", user)
	if err != nil {
		t.Fatal(err)
	}
	e.Holders = sorted(e.Holders)
	return e
}

func enrol(t *testing.T, s adapter.UserStore, life string) string {
	t.Helper()
	epoch, err := s.Enrol(within(t), "/", life, "node of "+life)
	if err != nil || epoch == "" {
		t.Fatalf("enrolled with epoch %q, error %v", epoch, err)
	}
	return epoch
}

// testSteps follows users through what the doc of the operations says. Each change is made twice, as when an answer was lost.
func testSteps(t *testing.T, a, b adapter.UserStore) {
	epoch := enrol(t, a, lives[0])
	one, two := lives[0], lives[1]
	for name, steps := range map[string][]struct {
		op    adapter.UserOp
		life  string
		first adapter.UserOutcome
		again adapter.UserOutcome
		left  adapter.UserEntry
	}{
		"comes and goes": {
			{hold, one, adapter.UserOutcome{First: true}, adapter.UserOutcome{First: true}, adapter.UserEntry{Holders: []string{one}}},
			{release, one, adapter.UserOutcome{Away: one}, adapter.UserOutcome{Away: one}, adapter.UserEntry{Away: one}},
			{forget, one, adapter.UserOutcome{Last: true}, adapter.UserOutcome{Last: true}, adapter.UserEntry{}},
		},
		"comes back": {
			{hold, one, adapter.UserOutcome{First: true}, adapter.UserOutcome{First: true}, adapter.UserEntry{Holders: []string{one}}},
			{release, one, adapter.UserOutcome{Away: one}, adapter.UserOutcome{Away: one}, adapter.UserEntry{Away: one}},
			{hold, one, adapter.UserOutcome{Away: one}, adapter.UserOutcome{}, adapter.UserEntry{Holders: []string{one}}},
			{forget, one, adapter.UserOutcome{Last: true}, adapter.UserOutcome{Last: true}, adapter.UserEntry{}},
		},
		"comes back elsewhere": {
			{hold, one, adapter.UserOutcome{First: true}, adapter.UserOutcome{First: true}, adapter.UserEntry{Holders: []string{one}}},
			{release, one, adapter.UserOutcome{Away: one}, adapter.UserOutcome{Away: one}, adapter.UserEntry{Away: one}},
			{hold, two, adapter.UserOutcome{Away: one}, adapter.UserOutcome{}, adapter.UserEntry{Holders: []string{two}}},
			{forget, one, adapter.UserOutcome{Holders: []string{two}}, adapter.UserOutcome{Holders: []string{two}}, adapter.UserEntry{Holders: []string{two}}},
			{release, two, adapter.UserOutcome{Away: two}, adapter.UserOutcome{Away: two}, adapter.UserEntry{Away: two}},
			{forget, one, adapter.UserOutcome{}, adapter.UserOutcome{}, adapter.UserEntry{Away: two}},
			{release, one, adapter.UserOutcome{Away: two}, adapter.UserOutcome{Away: two}, adapter.UserEntry{Away: two}},
			{forget, two, adapter.UserOutcome{Last: true}, adapter.UserOutcome{Last: true}, adapter.UserEntry{}},
		},
		"is on two nodes": {
			{hold, one, adapter.UserOutcome{First: true}, adapter.UserOutcome{First: true}, adapter.UserEntry{Holders: []string{one}}},
			{hold, two, adapter.UserOutcome{Holders: []string{one}}, adapter.UserOutcome{Holders: []string{one}}, adapter.UserEntry{Holders: []string{one, two}}},
			{hold, one, adapter.UserOutcome{First: true, Holders: []string{two}}, adapter.UserOutcome{First: true, Holders: []string{two}}, adapter.UserEntry{Holders: []string{one, two}}},
			{release, one, adapter.UserOutcome{Holders: []string{two}}, adapter.UserOutcome{Holders: []string{two}}, adapter.UserEntry{Holders: []string{two}}},
			{hold, one, adapter.UserOutcome{Holders: []string{two}}, adapter.UserOutcome{Holders: []string{two}}, adapter.UserEntry{Holders: []string{one, two}}},
			{forget, two, adapter.UserOutcome{Holders: []string{one}}, adapter.UserOutcome{Holders: []string{one}}, adapter.UserEntry{Holders: []string{one}}},
		},
		"was never there": {
			{release, one, adapter.UserOutcome{}, adapter.UserOutcome{}, adapter.UserEntry{}},
			{forget, one, adapter.UserOutcome{Last: true}, adapter.UserOutcome{Last: true}, adapter.UserEntry{}},
		},
	} {
		for i, step := range steps {
			change := adapter.UserChange{Op: step.op, User: name, Life: step.life}
			if got := apply(t, a, change)[0]; !reflect.DeepEqual(got, step.first) {
				t.Errorf("%s, step %d: %+v, want %+v", name, i, got, step.first)
			}
			if got := apply(t, b, change)[0]; !reflect.DeepEqual(got, step.again) {
				t.Errorf("%s, step %d again: %+v, want %+v", name, i, got, step.again)
			}
			want := step.left
			want.Epoch = epoch
			if got := lookup(t, b, name); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, after step %d: %+v, want %+v", name, i, got, want)
			}
		}
	}
}

// model is a user as the doc of adapter.UserOp has it.
type model struct {
	holders []string
	found   map[string]bool // lives that found nobody when they began to hold
	away    string
}

func (m *model) apply(op adapter.UserOp, life string) (o adapter.UserOutcome) {
	before := len(m.holders)
	m.holders = slices.DeleteFunc(m.holders, func(h string) bool { return h == life })
	held := len(m.holders) < before
	o.Holders = slices.Clone(m.holders)
	switch op {
	case hold:
		if !held {
			m.found[life] = before == 0 && m.away == ""
		}
		o.First, o.Away, m.away = m.found[life], m.away, ""
		m.holders = append(m.holders, life)
	case release:
		if held && len(m.holders) == 0 {
			m.away = life
		}
		o.Away = m.away
	case forget:
		if m.away == life {
			m.away = ""
		}
		o.Last = len(m.holders) == 0 && m.away == ""
	}
	o.Holders = sorted(o.Holders)
	return o
}

// testSequences makes all sequences of four changes by two lives, with the last one repeated, and random longer ones by all.
func testSequences(t *testing.T, a, b adapter.UserStore) {
	type step struct {
		op   adapter.UserOp
		life string
	}
	var all []step
	for _, op := range []adapter.UserOp{hold, release, forget} {
		all = append(all, step{op, lives[0]}, step{op, lives[2]})
	}
	var sequences [][]step
	for i := range 6 * 6 * 6 * 6 {
		sequences = append(sequences, []step{all[i%6], all[i/6%6], all[i/36%6], all[i/216], all[i/216]})
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		var s []step
		for range 30 {
			s = append(s, step{hold + adapter.UserOp(random.IntN(3)), lives[random.IntN(len(lives))]})
		}
		sequences = append(sequences, s)
	}
	models := make([]model, len(sequences))
	for at := range 30 {
		var changes []adapter.UserChange
		var want []adapter.UserOutcome
		for i, s := range sequences {
			if at >= len(s) {
				continue
			}
			if models[i].found == nil {
				models[i].found = make(map[string]bool)
			}
			changes = append(changes, adapter.UserChange{Op: s[at].op, User: fmt.Sprint("user", i), Life: s[at].life})
			want = append(want, models[i].apply(s[at].op, s[at].life))
		}
		store := []adapter.UserStore{a, b}[at%2]
		for i, got := range apply(t, store, changes...) {
			if !reflect.DeepEqual(got, want[i]) {
				t.Fatalf("step %d of %s, %+v: %+v, want %+v", at, changes[i].User, changes[i], got, want[i])
			}
		}
	}
	for i, m := range models {
		if got := lookup(t, a, fmt.Sprint("user", i)); !slices.Equal(got.Holders, sorted(m.holders)) || got.Away != m.away {
			t.Fatalf("user%d: %+v, want %+v", i, got, m)
		}
	}
}

// testManyHolders has a user on more nodes than fit into the compact form of a value.
func testManyHolders(t *testing.T, a, b adapter.UserStore) {
	var changes []adapter.UserChange
	var all []string
	for i := range 200 {
		all = append(all, fmt.Sprintf("%016x-%d", i*7919, i+1))
		changes = append(changes, adapter.UserChange{Op: hold, User: "u", Life: all[i]})
	}
	slices.Sort(all)
	for i, o := range apply(t, a, changes...) {
		if len(o.Holders) != i || o.First != (i == 0) {
			t.Fatalf("holder %d: %+v", i, o)
		}
	}
	if got := lookup(t, b, "u"); !slices.Equal(got.Holders, all) {
		t.Errorf("%d holders, want %d", len(got.Holders), len(all))
	}
}

// userIDs are names that storage may stumble over.
func userIDs() []string {
	return []string{
		"", " ", "*", "?[a-z]*", "{tag}", "{", "}", "a,b", "+a", "~a", "a#b", "user:1", "\x00", "a\x00b", "a\r\nb", "\xff\xfe", "ünïcode 🐟",
		"%s%d", "'; redis.call('FLUSHALL') --", strings.Repeat("x", 64), strings.Repeat("y", 65), strings.Repeat("\x01é", 10<<10/3),
	}
}

func testUserIDs(t *testing.T, a, b adapter.UserStore) {
	enrol(t, a, lives[0])
	for _, id := range userIDs() {
		if got := apply(t, a, adapter.UserChange{Op: hold, User: id, Life: lives[0]})[0]; !got.First {
			t.Errorf("%.20q: %+v", id, got)
		}
	}
	for _, id := range userIDs() {
		if got := lookup(t, b, id); !slices.Equal(got.Holders, lives[:1]) {
			t.Errorf("%.20q: %+v", id, got)
		}
	}
	if got := sweep(t, b, lives[0]); !slices.Equal(got, sorted(userIDs())) {
		t.Errorf("swept %.100q", got)
	}
}

// testNamespaces: what is in one namespace is not in another, however alike their names are.
func testNamespaces(t *testing.T, a, b adapter.UserStore) {
	names := []string{"/", "/a", "/a#", "/a#roll", "/a#{1}", "/{1}", "/a*", "/\x00"}
	for i, nsp := range names {
		life := fmt.Sprintf("%016x-1", i)
		if _, err := a.Enrol(within(t), nsp, life, nsp); err != nil {
			t.Fatal(err)
		}
		o, err := a.Apply(within(t), nsp, []adapter.UserChange{{Op: hold, User: "u", Life: life}})
		if err != nil || !o[0].First {
			t.Errorf("%q: %+v, error %v", nsp, o, err)
		}
	}
	for i, nsp := range names {
		life := fmt.Sprintf("%016x-1", i)
		if e, err := b.Lookup(within(t), nsp, "u"); err != nil || !slices.Equal(e.Holders, []string{life}) {
			t.Errorf("%q: %+v, error %v", nsp, e, err)
		}
		if roll, _, err := b.Roll(within(t), nsp); err != nil || len(roll) != 1 || roll[life] != nsp {
			t.Errorf("%q: roll %v, error %v", nsp, roll, err)
		}
	}
}

func testRoll(t *testing.T, a, b adapter.UserStore) {
	if roll, epoch, err := b.Roll(within(t), "/"); err != nil || len(roll) != 0 || epoch != "" {
		t.Fatalf("before anybody is enrolled: %v, epoch %q, error %v", roll, epoch, err)
	}
	if e := lookup(t, b, "u"); !reflect.DeepEqual(e, adapter.UserEntry{}) {
		t.Fatalf("before anybody is enrolled: %+v", e)
	}
	var wg sync.WaitGroup
	epochs := make([]string, 8)
	for i := range epochs {
		wg.Go(func() {
			epoch, err := []adapter.UserStore{a, b}[i%2].Enrol(t.Context(), "/", lives[i%len(lives)], "näme")
			if err != nil {
				t.Error(err)
			}
			epochs[i] = epoch
		})
	}
	wg.Wait()
	if slices.Sort(epochs); epochs[0] == "" || epochs[0] != epochs[len(epochs)-1] {
		t.Errorf("epochs %q", epochs)
	}
	for _, s := range []adapter.UserStore{a, b} {
		roll, epoch, err := s.Roll(within(t), "/")
		if err != nil || len(roll) != len(lives) || epoch != epochs[0] {
			t.Errorf("%v, epoch %q, error %v", roll, epoch, err)
		}
		for _, life := range lives {
			if roll[life] != "näme" {
				t.Errorf("node %q of life %s", roll[life], life)
			}
		}
	}
	if e := lookup(t, b, "u"); !reflect.DeepEqual(e, adapter.UserEntry{Epoch: epochs[0]}) {
		t.Errorf("a user who was never there: %+v", e)
	}
}

// testClaim has twenty survivors want one life, and then waits for the end of the claim.
func testClaim(t *testing.T, a, b adapter.UserStore) {
	claim := func(s adapter.UserStore, life, by string, ttl time.Duration) bool {
		t.Helper()
		ok, err := s.Claim(within(t), "/", life, by, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	var won atomic.Pointer[string]
	var winners atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			by := fmt.Sprint("survivor", i)
			ok, err := []adapter.UserStore{a, b}[i%2].Claim(t.Context(), "/", lives[0], by, time.Hour)
			if err != nil {
				t.Error(err)
			}
			if ok {
				winners.Add(1)
				won.Store(&by)
			}
		})
	}
	if wg.Wait(); winners.Load() != 1 {
		t.Fatalf("%d survivors may sweep", winners.Load())
	}
	if claim(b, lives[0], "somebody", time.Hour) || !claim(b, lives[1], "somebody", time.Hour) {
		t.Error("a claim of one life says something of others")
	}
	if !claim(b, lives[0], *won.Load(), time.Millisecond) {
		t.Error("a claim cannot be renewed")
	}
	for deadline := time.Now().Add(storeTimeout); !claim(a, lives[0], "heir", time.Hour); {
		if time.Now().After(deadline) {
			t.Fatal("a claim does not end")
		}
	}
	if claim(b, lives[0], *won.Load(), time.Hour) {
		t.Error("two may sweep")
	}
}

// sweep returns the users of whom nothing is left.
func sweep(t *testing.T, s adapter.UserStore, life string) (last []string) {
	t.Helper()
	if err := s.Sweep(within(t), "/", life, func(user string) { last = append(last, user) }); err != nil {
		t.Fatal(err)
	}
	return sorted(last)
}

// testSweep: of a life that is over nothing stays, and of others all.
func testSweep(t *testing.T, a, b adapter.UserStore) {
	over, other := lives[0], lives[2]
	epoch := enrol(t, a, over)
	enrol(t, a, other)
	apply(t, a,
		adapter.UserChange{Op: hold, User: "alone", Life: over},
		adapter.UserChange{Op: hold, User: "both", Life: over}, adapter.UserChange{Op: hold, User: "both", Life: other},
		adapter.UserChange{Op: hold, User: "away", Life: over}, adapter.UserChange{Op: release, User: "away", Life: over},
		adapter.UserChange{Op: hold, User: "other", Life: other},
		adapter.UserChange{Op: hold, User: "other away", Life: other}, adapter.UserChange{Op: release, User: "other away", Life: other},
		adapter.UserChange{Op: hold, User: "returned", Life: over}, adapter.UserChange{Op: release, User: "returned", Life: over},
		adapter.UserChange{Op: hold, User: "returned", Life: other})
	if got := sweep(t, b, over); !slices.Equal(got, []string{"alone", "away"}) {
		t.Errorf("nothing is left of %q", got)
	}
	for user, want := range map[string]adapter.UserEntry{
		"alone": {}, "away": {}, "both": {Holders: []string{other}}, "other": {Holders: []string{other}},
		"other away": {Away: other}, "returned": {Holders: []string{other}},
	} {
		want.Epoch = epoch
		if got := lookup(t, a, user); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", user, got, want)
		}
	}
	if roll, now, err := a.Roll(within(t), "/"); err != nil || len(roll) != 1 || roll[other] == "" || now != epoch {
		t.Errorf("roll %v, epoch %q, error %v", roll, now, err)
	}
	if got := sweep(t, b, over); got != nil {
		t.Errorf("the second time nothing is left of %q", got)
	}
}

// testSweepMany sweeps a life that has users wherever storage puts them.
func testSweepMany(t *testing.T, a, b adapter.UserStore) {
	const n = 3000
	over, other := lives[0], lives[1]
	enrol(t, a, over)
	var changes []adapter.UserChange
	for i := range n {
		changes = append(changes, adapter.UserChange{Op: hold, User: fmt.Sprint("over", i), Life: over},
			adapter.UserChange{Op: hold, User: fmt.Sprint("other", i), Life: other})
	}
	apply(t, a, changes...)
	if got := sweep(t, b, over); len(got) != n || len(slices.Compact(got)) != n || !strings.HasPrefix(got[0], "over") || !strings.HasPrefix(got[n-1], "over") {
		t.Errorf("nothing is left of %d users", len(got))
	}
	for i := range n {
		if got := lookup(t, a, fmt.Sprint("other", i)); !slices.Equal(got.Holders, []string{other}) {
			t.Fatalf("other%d: %+v", i, got)
		}
	}
}

// testSweepBesides changes users during a sweep: who has come to another node is not reported as gone.
func testSweepBesides(t *testing.T, a, b adapter.UserStore) {
	const n = 500
	over, other := lives[0], lives[1]
	enrol(t, a, over)
	var held, come []adapter.UserChange
	for i := range n {
		held = append(held, adapter.UserChange{Op: hold, User: fmt.Sprint("u", i), Life: over})
		come = append(come, adapter.UserChange{Op: hold, User: fmt.Sprint("u", i), Life: other})
	}
	apply(t, a, held...)
	first := make(map[string]bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for some := range slices.Chunk(come, 10) {
			outcomes, err := b.Apply(t.Context(), "/", some)
			if err != nil {
				t.Error(err)
				return
			}
			for i, o := range outcomes {
				first[some[i].User] = o.First
			}
		}
	})
	gone := sweep(t, a, over)
	wg.Wait()
	for i := range n {
		user := fmt.Sprint("u", i)
		if _, reported := slices.BinarySearch(gone, user); reported != first[user] {
			t.Fatalf("%s: reported as gone %v, first at the other node %v", user, reported, first[user])
		}
		if got := lookup(t, a, user); !slices.Equal(got.Holders, []string{other}) {
			t.Fatalf("%s: %+v", user, got)
		}
	}
}

// testRacing has all lives hold and leave the same users at once: exactly one is first, and exactly one last.
func testRacing(t *testing.T, a, b adapter.UserStore) {
	const rounds = 50
	for round := range rounds {
		user := fmt.Sprint("u", round)
		if n := race(t, a, b, hold, user, func(o adapter.UserOutcome) bool { return o.First }); n != 1 {
			t.Fatalf("%d are first", n)
		}
		if n := race(t, a, b, forget, user, func(o adapter.UserOutcome) bool { return o.Last }); n != 1 {
			t.Fatalf("%d are last", n)
		}
	}
}

func race(t *testing.T, a, b adapter.UserStore, op adapter.UserOp, user string, counts func(adapter.UserOutcome) bool) int32 {
	var n atomic.Int32
	var wg sync.WaitGroup
	for i, life := range lives {
		wg.Go(func() {
			o, err := []adapter.UserStore{a, b}[i%2].Apply(t.Context(), "/", []adapter.UserChange{{Op: op, User: user, Life: life}})
			if err != nil {
				t.Error(err)
			} else if counts(o[0]) {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return n.Load()
}

// testContextEnds: no method begins anything when its context has ended.
func testContextEnds(t *testing.T, a, _ adapter.UserStore) {
	enrol(t, a, lives[0])
	apply(t, a, adapter.UserChange{Op: hold, User: "u", Life: lives[0]})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range storeCalls(a) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := lookup(t, a, "u"); !slices.Equal(got.Holders, lives[:1]) {
		t.Errorf("%+v", got)
	}
}

// storeCalls has a call of each method.
func storeCalls(s adapter.UserStore) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Apply": func(ctx context.Context) error {
			_, err := s.Apply(ctx, "/", []adapter.UserChange{{Op: release, User: "u", Life: lives[0]}})
			return err
		},
		"Lookup": func(ctx context.Context) error { _, err := s.Lookup(ctx, "/", "u"); return err },
		"Enrol":  func(ctx context.Context) error { _, err := s.Enrol(ctx, "/", lives[1], "n"); return err },
		"Roll":   func(ctx context.Context) error { _, _, err := s.Roll(ctx, "/"); return err },
		"Claim":  func(ctx context.Context) error { _, err := s.Claim(ctx, "/", lives[0], "by", time.Second); return err },
		"Sweep":  func(ctx context.Context) error { return s.Sweep(ctx, "/", lives[0], func(string) {}) },
	}
}
