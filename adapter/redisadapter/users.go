package redisadapter

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/defaults"
	"github.com/sockeye-io/sockeye/adapter/internal/store"
)

const (
	defaultBuckets = 32_768
	maxBuckets     = 1 << 24
	// userParts is how many parts the buckets are in. All keys of a part are in one hash slot, so that a part is lost as a whole.
	userParts = 64
	// bucketsField is the field of the roll that has the number of buckets. No life looks like it.
	bucketsField = "#buckets"
)

// UserStoreOptions configure a UserStore. The zero value works.
type UserStoreOptions struct {
	// Prefix begins the names of all keys, <prefix>-users#<namespace>#... All nodes of a cluster have the same. Default: "socket.io".
	Prefix string

	// Buckets is the number of hashes over which the users of a namespace are spread, 16,777,216 at most. All nodes of a cluster have
	// the same; who has another is not enrolled. Redis keeps a hash in its compact form up to 128 fields
	// (hash-max-listpack-entries). It can be changed while no node runs, after the keys have been deleted. Default: 32,768, which
	// suits a few users up to 4 million.
	Buckets int
}

// UserStore keeps the users of a cluster in Redis, for package users, whatever adapter connects the nodes. All methods may be
// called concurrently, and end with their context.
//
// A user is a field of a hash, with the lives that hold it as its value, see userTokens. A change is a script on one key, so
// that it is one step, and works on Redis Cluster. The client must not read from replicas, which are late, and Redis must not
// evict keys without an expiry: a bucket that it drops is not missed.
type UserStore struct {
	rdb     redis.UniversalClient
	prefix  string
	buckets int
	// writing has a token while changes are under way: those that were given up may reach Redis late, and must not come behind
	// newer ones of the same user.
	writing chan struct{}

	// Guarded by mu.
	mu     sync.Mutex
	epochs map[string]partEpochs // by namespace, as last read
}

var _ adapter.UserStore = (*UserStore)(nil)

// NewUserStore returns a store that talks to Redis with a client of the application, which closes it. opts may be nil.
func NewUserStore(rdb redis.UniversalClient, opts *UserStoreOptions) *UserStore {
	var o UserStoreOptions
	if opts != nil {
		o = *opts
	}
	o.Prefix = cmp.Or(o.Prefix, defaultKey)
	o.Buckets = defaults.Positive(o.Buckets, defaultBuckets)
	return &UserStore{rdb: rdb, prefix: o.Prefix, buckets: min(o.Buckets, maxBuckets), writing: make(chan struct{}, 1), epochs: make(map[string]partEpochs)}
}

// Apply implements adapter.UserStore.
func (s *UserStore) Apply(ctx context.Context, namespace string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
	outcomes, err := store.Apply(changes, func(batch []adapter.UserChange) ([]adapter.UserOutcome, error) { return s.apply(ctx, namespace, batch) })
	return outcomes, userFailure("change users", err)
}

func (s *UserStore) apply(ctx context.Context, namespace string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
	calls := make([]scriptCall, len(changes))
	for i, c := range changes {
		token, err := lifeToken(c.Life)
		if err != nil {
			return nil, err
		}
		if c.Op < adapter.UserHold || c.Op > adapter.UserForget {
			return nil, store.Misuse(fmt.Sprintf("unknown operation %d", c.Op))
		}
		calls[i] = scriptCall{s.bucketKey(namespace, s.bucketOf(c.User)), []any{c.User, int(c.Op), token}}
	}
	answers, err := s.run(ctx, s.writing, changeScript, calls)
	outcomes := make([]adapter.UserOutcome, 0, len(answers))
	for i, a := range answers {
		values, _ := a.([]any)
		if len(values) != 2 {
			return outcomes, fmt.Errorf("unexpected answer of a script: %v", a)
		}
		now, _ := values[0].(string)
		before, _ := values[1].(string)
		outcomes = append(outcomes, outcomeOf(changes[i], now, before))
	}
	return outcomes, err
}

// Lookup implements adapter.UserStore.
func (s *UserStore) Lookup(ctx context.Context, namespace, user string) (adapter.UserEntry, error) {
	bucket := s.bucketOf(user)
	var value, epoch *redis.StringCmd
	err := s.pipeline(ctx, func(p redis.Pipeliner) func() error {
		value = p.HGet(ctx, s.bucketKey(namespace, bucket), user)
		epoch = p.Get(ctx, s.epochKey(namespace, bucket%userParts))
		return func() error { return errors.Join(notNil(value.Err()), notNil(epoch.Err())) }
	})
	if err != nil {
		return adapter.UserEntry{}, userFailure("look a user up", err)
	}
	tokens := parseUser(value.Val())
	entry := adapter.UserEntry{Holders: tokens.others(""), Away: tokens.away}
	if entry.Epoch, err = s.epochOf(ctx, namespace, bucket%userParts, epoch.Val()); err != nil {
		return adapter.UserEntry{}, userFailure("look a user up", err)
	}
	return entry, nil
}

// Enrol implements adapter.UserStore.
func (s *UserStore) Enrol(ctx context.Context, namespace, life, node string) (string, error) {
	epoch, err := s.enrol(ctx, namespace, life, node)
	return epoch, userFailure("enrol", err)
}

func (s *UserStore) enrol(ctx context.Context, namespace, life, node string) (string, error) {
	if _, err := lifeToken(life); err != nil {
		return "", err
	}
	if strings.HasPrefix(life, "#") {
		return "", store.Misuse(fmt.Sprintf("illegal life %q", life))
	}
	var buckets *redis.StringCmd
	roll := s.rollKey(namespace)
	err := s.pipeline(ctx, func(p redis.Pipeliner) func() error {
		made := p.HSetNX(ctx, roll, bucketsField, s.buckets)
		buckets = p.HGet(ctx, roll, bucketsField)
		return func() error { return errors.Join(made.Err(), buckets.Err()) }
	})
	if err == nil {
		err = s.sameBuckets(buckets.Val())
	}
	if err != nil {
		return "", err
	}
	epochs, err := s.drawEpochs(ctx, namespace)
	if err != nil {
		return "", err
	}
	return epochs.all, s.pipeline(ctx, func(p redis.Pipeliner) func() error { return p.HSet(ctx, roll, life, node).Err })
}

// sameBuckets compares the number of buckets with that of the cluster.
func (s *UserStore) sameBuckets(theirs string) error {
	if theirs != "" && theirs != strconv.Itoa(s.buckets) {
		return store.Misuse(fmt.Sprintf("the cluster keeps its users in %s buckets, this node in %d", theirs, s.buckets))
	}
	return nil
}

// Roll implements adapter.UserStore.
func (s *UserStore) Roll(ctx context.Context, namespace string) (map[string]string, string, error) {
	var roll *redis.MapStringStringCmd
	err := s.pipeline(ctx, func(p redis.Pipeliner) func() error {
		roll = p.HGetAll(ctx, s.rollKey(namespace))
		return roll.Err
	})
	if err != nil {
		return nil, "", userFailure("read the roll", err)
	}
	lives := roll.Val()
	if err := s.sameBuckets(lives[bucketsField]); err != nil {
		return nil, "", userFailure("read the roll", err)
	}
	delete(lives, bucketsField)
	epochs, err := s.readEpochs(ctx, namespace)
	return lives, epochs.all, userFailure("read the roll", err)
}

// Claim implements adapter.UserStore.
func (s *UserStore) Claim(ctx context.Context, namespace, life, by string, ttl time.Duration) (bool, error) {
	call := scriptCall{s.claimKey(namespace, life), []any{by, max(ttl.Milliseconds(), 1)}}
	answers, err := s.run(ctx, nil, claimScript, []scriptCall{call})
	if err != nil {
		return false, userFailure("claim a life", err)
	}
	return answers[0] == int64(1), nil
}

func (s *UserStore) bucketOf(user string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(user))
	return int(h.Sum32() % uint32(s.buckets))
}

func (s *UserStore) base(namespace string) string { return s.prefix + "-users#" + namespace + "#" }

func (s *UserStore) bucketKey(namespace string, bucket int) string {
	return fmt.Sprintf("%s{%d}%d", s.base(namespace), bucket%userParts, bucket)
}

func (s *UserStore) epochKey(namespace string, part int) string {
	return fmt.Sprintf("%s{%d}epoch", s.base(namespace), part)
}

func (s *UserStore) rollKey(namespace string) string { return s.base(namespace) + "roll" }

func (s *UserStore) claimKey(namespace, life string) string {
	return s.base(namespace) + "claim:" + life
}

// partEpochs are the epochs of all parts of a namespace. Each is drawn on its own, so that the loss of one server of a Redis
// Cluster shows.
type partEpochs struct {
	parts []string
	all   string // stands for all of them; "" if one is missing
}

func newPartEpochs(parts []string) partEpochs {
	hash := sha256.New()
	for _, epoch := range parts {
		if epoch == "" {
			return partEpochs{parts: parts}
		}
		_, _ = hash.Write([]byte(epoch + ","))
	}
	return partEpochs{parts, hex.EncodeToString(hash.Sum(nil)[:8])}
}

// parts says how many parts there are.
func (s *UserStore) parts() int { return min(userParts, s.buckets) }

// readEpochs reads the epochs of all parts and remembers them: with one command, or on a Redis Cluster one for each.
func (s *UserStore) readEpochs(ctx context.Context, namespace string) (partEpochs, error) {
	keys := make([]string, s.parts())
	for part := range keys {
		keys[part] = s.epochKey(namespace, part)
	}
	perCommand := len(keys)
	if _, ok := s.rdb.(*redis.ClusterClient); ok {
		perCommand = 1
	}
	var cmds []*redis.SliceCmd
	err := s.pipeline(ctx, func(p redis.Pipeliner) func() error {
		for some := range slices.Chunk(keys, perCommand) {
			cmds = append(cmds, p.MGet(ctx, some...))
		}
		return func() error { return firstError(cmds) }
	})
	if err != nil {
		return partEpochs{}, err
	}
	var parts []string
	for _, cmd := range cmds {
		for _, epoch := range cmd.Val() {
			text, _ := epoch.(string)
			parts = append(parts, text)
		}
	}
	if len(parts) != len(keys) {
		return partEpochs{}, store.Misuse("redis answers with too few values")
	}
	epochs := newPartEpochs(parts)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epochs[namespace] = epochs
	return epochs, nil
}

// drawEpochs draws the epochs of the parts that have none.
func (s *UserStore) drawEpochs(ctx context.Context, namespace string) (partEpochs, error) {
	epochs, err := s.readEpochs(ctx, namespace)
	if err != nil || epochs.all != "" {
		return epochs, err
	}
	var cmds []*redis.BoolCmd
	err = s.pipeline(ctx, func(p redis.Pipeliner) func() error {
		for part, epoch := range epochs.parts {
			if epoch == "" {
				cmds = append(cmds, p.SetNX(ctx, s.epochKey(namespace, part), rand.Text()[:12], 0))
			}
		}
		return func() error { return firstError(cmds) }
	})
	if err != nil {
		return epochs, err
	}
	return s.readEpochs(ctx, namespace)
}

// epochOf returns the namespace's epoch, given that of one part.
func (s *UserStore) epochOf(ctx context.Context, namespace string, part int, epoch string) (string, error) {
	if epoch == "" {
		return "", nil
	}
	s.mu.Lock()
	known, ok := s.epochs[namespace]
	s.mu.Unlock()
	if ok && known.parts[part] == epoch {
		return known.all, nil
	}
	known, err := s.readEpochs(ctx, namespace)
	return known.all, err
}
