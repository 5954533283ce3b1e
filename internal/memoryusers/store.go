// Package memoryusers keeps the users of a cluster in memory.
package memoryusers

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// Store is an adapter.UserStore. It never fails, but for calls whose context has ended.
type Store struct {
	mu sync.Mutex
	// Guarded by mu.
	namespaces map[string]*space
}

var _ adapter.UserStore = (*Store)(nil)

// New returns a store without users.
func New() *Store { return &Store{namespaces: make(map[string]*space)} }

type space struct {
	users  map[string]*holding
	roll   map[string]string // life -> name of its node
	claims map[string]claim  // by life
	epoch  string            // "" until somebody enrols
}

// holding is somebody who is held, or away.
type holding struct {
	holders []string
	first   string // the life that found nobody, while it is one of the holders
	away    string
}

type claim struct {
	by    string
	until time.Time
}

func (m *Store) in(namespace string) *space {
	n := m.namespaces[namespace]
	if n == nil {
		n = &space{users: make(map[string]*holding), roll: make(map[string]string), claims: make(map[string]claim)}
		m.namespaces[namespace] = n
	}
	return n
}

// Apply implements adapter.UserStore, as do the methods below.
func (m *Store) Apply(ctx context.Context, namespace string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("change users", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.in(namespace)
	outcomes := make([]adapter.UserOutcome, len(changes))
	for i, c := range changes {
		outcomes[i] = n.apply(c)
	}
	return outcomes, nil
}

// apply makes one change.
func (n *space) apply(c adapter.UserChange) adapter.UserOutcome {
	var o adapter.UserOutcome
	u := n.users[c.User]
	if u == nil {
		u = &holding{}
	}
	switch c.Op {
	case adapter.UserHold:
		o.Away = u.away
		u.hold(c.Life)
		o.First = u.first == c.Life
	case adapter.UserRelease:
		if u.drop(c.Life) && len(u.holders) == 0 {
			u.away = c.Life
		}
		o.Away = u.away
	case adapter.UserForget:
		u.drop(c.Life)
		if u.away == c.Life {
			u.away = ""
		}
		o.Last = u.nobody()
	}
	if u.nobody() {
		delete(n.users, c.User)
	} else {
		n.users[c.User] = u
	}
	o.Holders = slices.DeleteFunc(slices.Clone(u.holders), func(life string) bool { return life == c.Life })
	return o
}

func (u *holding) nobody() bool { return len(u.holders) == 0 && u.away == "" }

func (u *holding) hold(life string) {
	if u.nobody() {
		u.first = life
	}
	u.away = ""
	if !slices.Contains(u.holders, life) {
		u.holders = append(u.holders, life)
	}
}

// drop takes a life from the holders and reports whether it was one.
func (u *holding) drop(life string) bool {
	i := slices.Index(u.holders, life)
	if i < 0 {
		return false
	}
	u.holders = slices.Delete(u.holders, i, i+1)
	if u.first == life {
		u.first = ""
	}
	return true
}

// Lookup implements adapter.UserStore.
func (m *Store) Lookup(ctx context.Context, namespace, user string) (adapter.UserEntry, error) {
	if err := ctx.Err(); err != nil {
		return adapter.UserEntry{}, failed("look a user up", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.in(namespace)
	entry := adapter.UserEntry{Epoch: n.epoch}
	if u := n.users[user]; u != nil {
		entry.Holders, entry.Away = slices.Clone(u.holders), u.away
	}
	return entry, nil
}

// Enrol implements adapter.UserStore.
func (m *Store) Enrol(ctx context.Context, namespace, life, node string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", failed("enrol", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.in(namespace)
	if n.epoch == "" {
		n.epoch = rand.Text()
	}
	n.roll[life] = node
	return n.epoch, nil
}

// Roll implements adapter.UserStore.
func (m *Store) Roll(ctx context.Context, namespace string) (map[string]string, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", failed("read the roll", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.in(namespace)
	return maps.Clone(n.roll), n.epoch, nil
}

// Claim implements adapter.UserStore.
func (m *Store) Claim(ctx context.Context, namespace, life, by string, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, failed("claim a life", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, now := m.in(namespace), time.Now()
	maps.DeleteFunc(n.claims, func(_ string, c claim) bool { return !c.until.After(now) })
	if c, ok := n.claims[life]; ok && c.by != by {
		return false, nil
	}
	n.claims[life] = claim{by, now.Add(ttl)}
	return true, nil
}

// Sweep holds the lock for one user at a time, but for the search, so that there is no pace to keep.
func (m *Store) Sweep(ctx context.Context, namespace, life string, last func(user string)) error {
	for _, user := range m.Held(namespace, life, math.MaxInt) {
		outcomes, err := m.Apply(ctx, namespace, []adapter.UserChange{{Op: adapter.UserForget, User: user, Life: life}})
		if err != nil {
			return failed("sweep a life", err)
		}
		if outcomes[0].Last {
			last(user)
		}
	}
	if err := ctx.Err(); err != nil {
		return failed("sweep a life", err)
	}
	m.Strike(namespace, life)
	return nil
}

// Held returns users that are held by a life, or away in its care, until their names have size bytes together.
func (m *Store) Held(namespace, life string, size int) (users []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for user, u := range m.in(namespace).users {
		if size <= 0 {
			break
		}
		if u.away == life || slices.Contains(u.holders, life) {
			users = append(users, user)
			size -= len(user) + 1
		}
	}
	return users
}

// Strike takes a life off the roll.
func (m *Store) Strike(namespace, life string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.in(namespace).roll, life)
}

func failed(what string, err error) error { return fmt.Errorf("%s: %w", what, err) }
