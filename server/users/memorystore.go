package users

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// NewMemoryStore returns a store for servers of one process, which all get the same one. It never fails, but for calls whose context
// has ended.
func NewMemoryStore() adapter.UserStore {
	return &memoryStore{namespaces: make(map[string]*memoryNamespace)}
}

// memoryStore is a store in memory. The fields are guarded by mu.
type memoryStore struct {
	mu         sync.Mutex
	namespaces map[string]*memoryNamespace
}

type memoryNamespace struct {
	users  map[string]*memoryUser
	roll   map[string]string // life -> name of its node
	claims map[string]claim  // by life
	epoch  string            // "" until somebody enrols
}

// memoryUser is somebody who is held, or away.
type memoryUser struct {
	holders []string
	first   string // the life that found nobody, while it is one of the holders
	away    string
}

type claim struct {
	by    string
	until time.Time
}

func (m *memoryStore) in(namespace string) *memoryNamespace {
	n := m.namespaces[namespace]
	if n == nil {
		n = &memoryNamespace{users: make(map[string]*memoryUser), roll: make(map[string]string), claims: make(map[string]claim)}
		m.namespaces[namespace] = n
	}
	return n
}

func (m *memoryStore) Apply(ctx context.Context, namespace string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
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
func (n *memoryNamespace) apply(c adapter.UserChange) adapter.UserOutcome {
	var o adapter.UserOutcome
	u := n.users[c.User]
	if u == nil {
		u = &memoryUser{}
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

func (u *memoryUser) nobody() bool { return len(u.holders) == 0 && u.away == "" }

func (u *memoryUser) hold(life string) {
	if u.nobody() {
		u.first = life
	}
	u.away = ""
	if !slices.Contains(u.holders, life) {
		u.holders = append(u.holders, life)
	}
}

// drop takes a life from the holders and reports whether it was one.
func (u *memoryUser) drop(life string) bool {
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

func (m *memoryStore) Lookup(ctx context.Context, namespace, user string) (adapter.UserEntry, error) {
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

func (m *memoryStore) Enrol(ctx context.Context, namespace, life, node string) (string, error) {
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

func (m *memoryStore) Roll(ctx context.Context, namespace string) (map[string]string, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", failed("read the roll", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.in(namespace)
	return maps.Clone(n.roll), n.epoch, nil
}

func (m *memoryStore) Claim(ctx context.Context, namespace, life, by string, ttl time.Duration) (bool, error) {
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
func (m *memoryStore) Sweep(ctx context.Context, namespace, life string, last func(user string)) error {
	for _, user := range m.usersOf(namespace, life) {
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
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.in(namespace).roll, life)
	return nil
}

// usersOf returns who is held by a life, or away in its care.
func (m *memoryStore) usersOf(namespace, life string) (users []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for user, u := range m.in(namespace).users {
		if u.away == life || slices.Contains(u.holders, life) {
			users = append(users, user)
		}
	}
	return users
}
