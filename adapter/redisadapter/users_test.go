package redisadapter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

const (
	lifeA = "00112233445566aa"
	lifeB = "00112233445566aa-2"
)

// fewBuckets are enough for tests, and quickly swept.
var fewBuckets = &UserStoreOptions{Buckets: 500}

// TestUserStore runs the suite on one server, as a user with no more rights than the docs name, and on a Redis Cluster.
func TestUserStore(t *testing.T) {
	stores := func(client func() redis.UniversalClient, flush func()) adaptertest.NewUserStores {
		return func(t *testing.T) (a, b adapter.UserStore) {
			flush()
			return NewUserStore(client(), fewBuckets), NewUserStore(client(), fewBuckets)
		}
	}
	t.Run("single", func(t *testing.T) {
		server := redistest.Single(t)
		adaptertest.RunUserStore(t, stores(func() redis.UniversalClient { return clientOf(t, server) }, func() { server.Do("flushall") }))
	})
	t.Run("a user with few rights", func(t *testing.T) {
		server := redistest.Single(t)
		server.Do("ACL", "SETUSER", "sockeye", "on", ">secret", "resetkeys", "resetchannels", "+auth", "+hello", "+client|setname")
		server.Do(documentedRule(t, "socket.io-users#")...)
		adaptertest.RunUserStore(t, stores(func() redis.UniversalClient {
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "sockeye", Password: "secret"})
			t.Cleanup(func() { rdb.Close() })
			return rdb
		}, func() { server.Do("flushall") }))
		if refused := server.Do("ACL", "LOG").([]any); len(refused) > 0 {
			t.Errorf("refused: %v", refused)
		}
	})
	t.Run("cluster", func(t *testing.T) {
		c := redistest.Cluster(t)
		rdb := clusterClient(t, c)
		adaptertest.RunUserStore(t, stores(func() redis.UniversalClient { return rdb }, func() {
			for _, addr := range c.Addrs() {
				if s := c.Server(addr); s.Role() == "master" {
					s.Do("flushall")
				}
			}
		}))
	})
}

// documentedRule returns the words of the rule that docs/cluster.md has for keys that begin so.
func documentedRule(t *testing.T, keys string) (words []any) {
	text, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin = "ACL SETUSER sockeye ~"
	_, rest, ok := strings.Cut(string(text), begin+keys)
	if !ok {
		t.Fatal("the docs have no rule")
	}
	rule, _, _ := strings.Cut(begin+keys+rest, "\n")
	for _, word := range strings.Fields(rule) {
		words = append(words, word)
	}
	return words
}

func clusterClient(t *testing.T, c *redistest.ClusterServers) redis.UniversalClient {
	rdb := c.Client()
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func holdBy(life, user string) adapter.UserChange {
	return adapter.UserChange{Op: adapter.UserHold, User: user, Life: life}
}

func applied(t *testing.T, s *UserStore, changes ...adapter.UserChange) []adapter.UserOutcome {
	t.Helper()
	outcomes, err := s.Apply(within(t), "/", changes)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func lookedUp(t *testing.T, s *UserStore, user string) adapter.UserEntry {
	t.Helper()
	entry, err := s.Lookup(within(t), "/", user)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

func enrolled(t *testing.T, s *UserStore, life string) string {
	t.Helper()
	epoch, err := s.Enrol(within(t), "/", life, "node")
	if err != nil || epoch == "" {
		t.Fatalf("epoch %q, error %v", epoch, err)
	}
	return epoch
}

// epochOnRoll returns the epoch that goes with the roll.
func epochOnRoll(t *testing.T, s *UserStore) string {
	t.Helper()
	_, epoch, err := s.Roll(within(t), "/")
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

// TestUserStoreEmptied: who asks a store that has lost everything is told so, until a node enrols; then it is another epoch.
func TestUserStoreEmptied(t *testing.T) {
	server := redistest.Single(t)
	a, b := NewUserStore(clientOf(t, server), fewBuckets), NewUserStore(clientOf(t, server), fewBuckets)
	before := enrolled(t, a, lifeA)
	applied(t, a, holdBy(lifeA, "u"))
	for name, empty := range map[string]func(){
		"FLUSHALL":      func() { server.Do("flushall") },
		"empty restart": server.Restart,
	} {
		if got := lookedUp(t, b, "u"); got.Epoch != before || len(got.Holders) != 1 {
			t.Fatalf("%s: before %+v", name, got)
		}
		empty()
		if got := lookedUp(t, b, "u"); got.Epoch != "" || got.Holders != nil {
			t.Errorf("%s: %+v", name, got)
		}
		if got := epochOnRoll(t, b); got != "" {
			t.Errorf("%s: epoch %q on the roll", name, got)
		}
		after := enrolled(t, a, lifeA)
		applied(t, a, holdBy(lifeA, "u"))
		if got := lookedUp(t, b, "u"); after == before || got.Epoch != after || epochOnRoll(t, b) != after {
			t.Errorf("%s: epochs %q, %q, then %+v", name, before, after, got)
		}
		before = after
	}
}

// TestUserStorePartEmptied: a Redis Cluster of which one master has lost everything is one that has lost something.
func TestUserStorePartEmptied(t *testing.T) {
	c := redistest.Cluster(t)
	rdb := clusterClient(t, c)
	a, b := NewUserStore(rdb, fewBuckets), NewUserStore(rdb, fewBuckets)
	before := enrolled(t, a, lifeA)
	enrolled(t, b, lifeB)
	lost := c.Owner(a.bucketKey("/", a.bucketOf("u0")))
	var gone, left []string
	for i := range 200 {
		user := fmt.Sprint("u", i)
		applied(t, a, holdBy(lifeA, user))
		if c.Owner(a.bucketKey("/", a.bucketOf(user))) == lost {
			gone = append(gone, user)
		} else {
			left = append(left, user)
		}
	}
	if len(gone) == 0 || len(left) == 0 {
		t.Fatalf("%d users on one master, %d on others", len(gone), len(left))
	}
	lost.Do("flushall")
	for _, user := range gone {
		if got := lookedUp(t, b, user); got.Epoch != "" {
			t.Fatalf("%s: %+v", user, got)
		}
	}
	for _, user := range left {
		if got := lookedUp(t, b, user); got.Epoch != before || !slices.Equal(got.Holders, []string{lifeA}) {
			t.Fatalf("%s: %+v", user, got)
		}
	}
	if got := epochOnRoll(t, b); got != "" {
		t.Errorf("epoch %q on the roll", got)
	}
	after := enrolled(t, a, lifeA)
	if got := lookedUp(t, b, gone[0]); after == before || got.Epoch != after {
		t.Errorf("epochs %q, %q, then %+v", before, after, got)
	}
	if got := epochOnRoll(t, b); got != after {
		t.Errorf("epoch %q on the roll, want %q", got, after)
	}
}

// userCalls has a call of each method.
func userCalls(s *UserStore) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Apply": func(ctx context.Context) error {
			_, err := s.Apply(ctx, "/", []adapter.UserChange{holdBy(lifeA, rand.Text())})
			return err
		},
		"Lookup": func(ctx context.Context) error { _, err := s.Lookup(ctx, "/", "u"); return err },
		"Enrol":  func(ctx context.Context) error { _, err := s.Enrol(ctx, "/", lifeA, "n"); return err },
		"Roll":   func(ctx context.Context) error { _, _, err := s.Roll(ctx, "/"); return err },
		"Claim":  func(ctx context.Context) error { _, err := s.Claim(ctx, "/", lifeA, "by", time.Second); return err },
		"Sweep":  func(ctx context.Context) error { return s.Sweep(ctx, "/", lifeA, func(string) {}) },
	}
}

// TestUserStoreUnusable: whatever keeps Redis from answering, every call ends with its context at the latest, says that the cluster
// cannot be reached, and works again afterwards.
func TestUserStoreUnusable(t *testing.T) {
	server := redistest.Single(t, "--requirepass", "secret")
	client := func(password, addr string) *redis.Client {
		rdb := redis.NewClient(&redis.Options{Addr: addr, Password: password})
		t.Cleanup(func() { rdb.Close() })
		return rdb
	}
	link := redistest.NewLink(t, server.Addr)
	s := NewUserStore(client("secret", link.Addr), fewBuckets)
	for _, tt := range []struct {
		name         string
		store        *UserStore
		before, then func()
		works        []string // what goes on nevertheless
	}{
		{"killed", s, server.Kill, server.Start, nil},
		{"cut off", s, link.Cut, link.Mend, nil},
		{"silent", s, func() { server.Do("client", "pause", 60_000, "all") }, server.Restart, nil},
		{"wrong password", NewUserStore(client("other", server.Addr), fewBuckets), func() {}, nil, nil},
		{"without replicas", s, func() { server.Do("config", "set", "min-replicas-to-write", 1) }, func() { server.Do("config", "set", "min-replicas-to-write", 0) }, []string{"Lookup", "Roll"}},
		{"full", s, func() { server.Do("config", "set", "maxmemory", 1) }, func() { server.Do("config", "set", "maxmemory", 0) }, []string{"Lookup", "Roll", "Sweep"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			enrolled(t, s, lifeA)
			tt.before()
			for name, call := range userCalls(tt.store) {
				if slices.Contains(tt.works, name) {
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				began := time.Now()
				err := call(ctx)
				cancel()
				if !errors.Is(err, adapter.ErrClusterUnavailable) {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(began); took > withoutWaiting {
					t.Errorf("%s took %v", name, took)
				}
			}
			if tt.then == nil {
				return
			}
			tt.then()
			redistest.Eventually(t, "the store works again", func() bool {
				_, err := s.Enrol(within(t), "/", lifeA, "n")
				return err == nil
			})
			applied(t, s, holdBy(lifeA, "u"))
		})
	}
}

// TestUserStoreSlow: a Redis that takes its time is waited for.
func TestUserStoreSlow(t *testing.T) {
	server := redistest.Single(t)
	rdb := redis.NewClient(&redis.Options{Addr: redistest.NewDelay(t, server.Addr, 200*time.Millisecond)})
	t.Cleanup(func() { rdb.Close() })
	s := NewUserStore(rdb, &UserStoreOptions{Buckets: 64})
	epoch := enrolled(t, s, lifeA)
	began := time.Now()
	applied(t, s, holdBy(lifeA, "u"), holdBy(lifeA, "v"))
	if got := lookedUp(t, s, "v"); got.Epoch != epoch || len(got.Holders) != 1 {
		t.Errorf("%+v", got)
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("two round trips took %v", took)
	}
	if n := len(sweptBy(t, s, lifeA)); n != 2 {
		t.Errorf("nothing is left of %d users", n)
	}
}

func sweptBy(t *testing.T, s *UserStore, life string) (users []string) {
	t.Helper()
	if err := s.Sweep(within(t), "/", life, func(user string) { users = append(users, user) }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(users)
	return users
}

// lossy is a hook of a client that loses the answers to some of what is sent.
type lossy struct {
	n      atomic.Int32
	every  int32 // 0: none
	losses atomic.Int32
}

func (l *lossy) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (l *lossy) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (l *lossy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if l.every == 0 || l.n.Add(1)%l.every != 0 {
			return err
		}
		l.losses.Add(1)
		for _, cmd := range cmds[len(cmds)/2:] {
			cmd.SetErr(io.ErrUnexpectedEOF)
		}
		return io.ErrUnexpectedEOF
	}
}

// TestUserStoreLostAnswers: a sweep that does not hear what came of its changes still reports everyone once, and so do changes
// that are made again.
func TestUserStoreLostAnswers(t *testing.T) {
	const n = 2000
	server := redistest.Single(t)
	rdb := server.Client()
	t.Cleanup(func() { rdb.Close() })
	var l lossy
	rdb.AddHook(&l)
	s := NewUserStore(rdb, &UserStoreOptions{Buckets: 300})
	enrolled(t, s, lifeA)
	l.every = 2
	var changes []adapter.UserChange
	for i := range n {
		changes = append(changes, holdBy(lifeA, fmt.Sprint("u", i)))
	}
	for len(changes) > 0 {
		outcomes, err := s.Apply(within(t), "/", changes)
		if err != nil && !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			if !o.First {
				t.Fatalf("%s: %+v", changes[i].User, o)
			}
		}
		changes = changes[len(outcomes):]
	}
	users := sweptBy(t, s, lifeA)
	if len(users) != n || len(slices.Compact(users)) != n {
		t.Errorf("nothing is left of %d users, of %d", len(users), n)
	}
	if l.losses.Load() < 10 {
		t.Errorf("only %d answers were lost", l.losses.Load())
	}
}

// TestUserStoreScriptsFlushed: a server that has forgotten the scripts is given them again, in the middle of a batch too.
func TestUserStoreScriptsFlushed(t *testing.T) {
	server := redistest.Single(t)
	s := NewUserStore(clientOf(t, server), fewBuckets)
	enrolled(t, s, lifeA)
	for i := range 3 {
		user := fmt.Sprint("u", i)
		server.Do("script", "flush")
		outcomes := applied(t, s, holdBy(lifeA, user), holdBy(lifeB, user), adapter.UserChange{Op: adapter.UserRelease, User: user, Life: lifeA})
		if !outcomes[0].First || outcomes[1].First || !slices.Equal(outcomes[2].Holders, []string{lifeB}) {
			t.Errorf("%+v", outcomes)
		}
		server.Do("script", "flush")
		if ok, err := s.Claim(within(t), "/", lifeB, "by", time.Minute); !ok || err != nil {
			t.Errorf("claimed %v, error %v", ok, err)
		}
		server.Do("script", "flush")
		if got := sweptBy(t, s, lifeB); !slices.Equal(got, []string{user}) {
			t.Errorf("nothing is left of %q", got)
		}
	}
}

// TestUserStoreWrongType: a key that somebody has put to another use is an error of the users in it, and of nobody else.
func TestUserStoreWrongType(t *testing.T) {
	server := redistest.Single(t)
	s := NewUserStore(clientOf(t, server), fewBuckets)
	enrolled(t, s, lifeA)
	server.Do("set", s.bucketKey("/", s.bucketOf("bad")), "text")
	outcomes, err := s.Apply(within(t), "/", []adapter.UserChange{holdBy(lifeA, "good"), holdBy(lifeA, "bad"), holdBy(lifeA, "better")})
	if len(outcomes) != 1 || !outcomes[0].First || err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("%+v, error %v", outcomes, err)
	}
	if _, err := s.Lookup(within(t), "/", "bad"); err == nil || errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("error %v", err)
	}
	if got := applied(t, s, holdBy(lifeA, "better")); !got[0].First {
		t.Errorf("%+v", got)
	}
	if got := sweptBy(t, s, lifeA); !slices.Equal(got, []string{"better", "good"}) {
		t.Errorf("nothing is left of %q", got)
	}
}

// TestUserStoreStrangeValues: what others write into a bucket does no harm.
func TestUserStoreStrangeValues(t *testing.T) {
	server := redistest.Single(t)
	s := NewUserStore(clientOf(t, server), fewBuckets)
	enrolled(t, s, lifeA)
	for i, value := range []string{"", ",", "x", "~", "+", ",,,", "~x", "=", "=a,=b", strings.Repeat("x,", 10_000)} {
		user := fmt.Sprint("u", i)
		server.Do("hset", s.bucketKey("/", s.bucketOf(user)), user, value)
		lookedUp(t, s, user)
		applied(t, s, holdBy(lifeA, user), holdBy(lifeB, user))
		if got := lookedUp(t, s, user); !slices.Contains(got.Holders, lifeA) || !slices.Contains(got.Holders, lifeB) || got.Away != "" {
			t.Errorf("%.20q: %+v", value, got)
		}
		applied(t, s, adapter.UserChange{Op: adapter.UserRelease, User: user, Life: lifeA}, adapter.UserChange{Op: adapter.UserForget, User: user, Life: lifeB})
		if got := lookedUp(t, s, user); slices.Contains(got.Holders, lifeA) || slices.Contains(got.Holders, lifeB) {
			t.Errorf("%.20q: %+v", value, got)
		}
	}
}

// TestUserStoreMisuse: what cannot be right is refused, and Redis is not to blame.
func TestUserStoreMisuse(t *testing.T) {
	server := redistest.Single(t)
	s, other := NewUserStore(clientOf(t, server), fewBuckets), NewUserStore(clientOf(t, server), &UserStoreOptions{Buckets: 501})
	enrolled(t, s, lifeA)
	for name, call := range map[string]func() error{
		"enrol in other buckets": func() error { _, err := other.Enrol(within(t), "/", lifeB, "n"); return err },
		"roll of other buckets":  func() error { _, _, err := other.Roll(within(t), "/"); return err },
		"no life":                func() error { _, err := s.Apply(within(t), "/", []adapter.UserChange{holdBy("", "u")}); return err },
		"comma":                  func() error { _, err := s.Apply(within(t), "/", []adapter.UserChange{holdBy("a,b", "u")}); return err },
		"enrol a number sign":    func() error { _, err := s.Enrol(within(t), "/", bucketsField, "n"); return err },
		"sweep nothing":          func() error { return s.Sweep(within(t), "/", "", func(string) {}) },
		"no operation": func() error {
			_, err := s.Apply(within(t), "/", []adapter.UserChange{{User: "u", Life: lifeA}})
			return err
		},
	} {
		if err := call(); err == nil || errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if roll, _, err := s.Roll(within(t), "/"); err != nil || len(roll) != 1 {
		t.Errorf("roll %v, error %v", roll, err)
	}
}

// TestUserKeys: all keys begin with the prefix, and what a look-up reads is in one slot.
func TestUserKeys(t *testing.T) {
	s := NewUserStore(nil, &UserStoreOptions{Prefix: "app"})
	slots := make(map[uint16]bool)
	for bucket := range defaultBuckets {
		key := s.bucketKey("/chat", bucket)
		if slotOf(key) != slotOf(s.epochKey("/chat", bucket%userParts)) {
			t.Fatalf("%s is not in the slot of its epoch", key)
		}
		slots[slotOf(key)] = true
	}
	if len(slots) != userParts {
		t.Errorf("%d slots", len(slots))
	}
	for _, key := range []string{s.bucketKey("/chat", 70), s.epochKey("/chat", 3), s.rollKey("/chat"), s.claimKey("/chat", lifeA)} {
		if !strings.HasPrefix(key, "app-users#/chat#") {
			t.Error(key)
		}
	}
}

// overtaken is a client whose first pipeline waits until another one has been executed, or for a while if none comes.
type overtaken struct {
	pipelines atomic.Int32
	another   chan struct{} // closed when the second one has been executed
	late      chan struct{} // closed when the first one has
}

func (o *overtaken) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (o *overtaken) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (o *overtaken) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		switch o.pipelines.Add(1) {
		case 1:
			select {
			case <-o.another:
			case <-time.After(200 * time.Millisecond):
			}
			defer close(o.late)
		case 2:
			defer close(o.another)
		}
		return next(context.WithoutCancel(ctx), cmds)
	}
}

// TestUserStoreGivenUp gives up a change that is late, and makes the opposite one then: that one is what remains.
func TestUserStoreGivenUp(t *testing.T) {
	rdb := clientOf(t, redistest.Single(t))
	applied(t, NewUserStore(rdb, fewBuckets), holdBy(lifeB, "other")) // Redis knows the script
	o := &overtaken{another: make(chan struct{}), late: make(chan struct{})}
	rdb.AddHook(o)
	s := NewUserStore(rdb, fewBuckets)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Apply(ctx, "/", []adapter.UserChange{holdBy(lifeA, "u")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a change that is late: %v", err)
	}
	forget := adapter.UserChange{Op: adapter.UserForget, User: "u", Life: lifeA}
	applied(t, s, forget)
	<-o.late
	if got := lookedUp(t, s, "u"); len(got.Holders) > 0 {
		t.Errorf("held by %v", got.Holders)
	}
}

// TestUserTokens: the lives of nodes have short tokens.
func TestUserTokens(t *testing.T) {
	for life, want := range map[string]string{lifeA: "ABEiM0RVZqo", lifeB: "ABEiM0RVZqo2", lifeA + "-1": "=00112233445566aa-1", "x": "=x"} {
		if got, err := lifeToken(life); err != nil || got != want {
			t.Errorf("token of %s: %s, want %s, error %v", life, got, want, err)
		}
	}
	for range 100 {
		if token, err := lifeToken(string(adapter.NewNodeID())); err != nil || len(token) != packedLength {
			t.Errorf("token %q, error %v", token, err)
		}
	}
}

// FuzzUserTokens reads values and lives of any form.
func FuzzUserTokens(f *testing.F) {
	for _, seed := range []string{lifeA, lifeB, "+ABEiM0RVZqo", "~ABEiM0RVZqo2", "ABEiM0RVZqo,=other,+=x", "=00112233445566aa-1", "=00112233445566aa", "ABEiM0RVZqo1", "~", "+,", "a,b", "00112233445566AA-01"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u := parseUser(text)
		for _, life := range append(u.others(""), u.away) {
			if life == "" {
				continue
			}
			token, err := lifeToken(life)
			if err != nil || !slices.ContainsFunc(strings.Split(text, ","), func(s string) bool { return strings.TrimLeft(s, "+~") == strings.TrimLeft(token, "+~") }) {
				t.Errorf("%q: life %q has the token %q, error %v", text, life, token, err)
			}
		}
		token, err := lifeToken(text)
		if err != nil {
			return
		}
		if back, ok := lifeOf(token); !ok || back != text {
			t.Errorf("%q becomes %q and then %q", text, token, back)
		}
		if got := parseUser("+" + token); got.first != text || !slices.Equal(got.holders, []string{text}) || parseUser("~"+token).away != text {
			t.Errorf("%q is read as %+v", token, got)
		}
	})
}

// counting counts how often a client waits for Redis.
type counting struct{ trips int }

func (c *counting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.trips++
		return next(ctx, cmd)
	}
}

func (c *counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.trips++
		return next(ctx, cmds)
	}
}

// TestUserLookupTrips: who asks for a user waits for Redis once.
func TestUserLookupTrips(t *testing.T) {
	server := redistest.Single(t)
	s := NewUserStore(clientOf(t, server), nil)
	enrolled(t, s, "life")
	applied(t, s, holdBy("life", "u"))
	c := new(counting)
	rdb := clientOf(t, server)
	rdb.(interface{ AddHook(redis.Hook) }).AddHook(c)
	other := NewUserStore(rdb, nil)
	lookedUp(t, other, "nobody") // makes the connection
	c.trips = 0
	for i := range 3 {
		if e := lookedUp(t, other, "u"); len(e.Holders) != 1 {
			t.Errorf("%+v", e)
		}
		if c.trips != i+1 {
			t.Errorf("%d questions took %d round trips", i+1, c.trips)
		}
	}
}
