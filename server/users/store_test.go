package users_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// faultyStore is a store that can fail in the ways that storage does.
type faultyStore struct {
	mu sync.Mutex
	// Guarded by mu.
	inner    adapter.UserStore
	down     bool // nobody answers
	refuse   bool // changes are refused, questions are answered
	forget   bool // changes are made, the answer is lost
	delay    time.Duration
	slow     time.Duration // the answers of Lookup are old by so much
	lookups  int
	sweepers int
}

func (f *faultyStore) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// flush replaces what there is by an empty storage.
func (f *faultyStore) flush() { f.set(func() { f.inner = newStore() }) }

func (f *faultyStore) enter(ctx context.Context) (adapter.UserStore, error) {
	f.mu.Lock()
	inner, down, delay := f.inner, f.down, f.delay
	f.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, errors.Join(server.ErrClusterUnavailable, ctx.Err())
		}
	}
	if down {
		return nil, server.ErrClusterUnavailable
	}
	return inner, nil
}

func (f *faultyStore) Apply(ctx context.Context, namespace string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
	s, err := f.enter(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	refuse, forget := f.refuse, f.forget
	f.mu.Unlock()
	if refuse {
		return nil, errors.New("READONLY")
	}
	outcomes, err := s.Apply(ctx, namespace, changes)
	if forget {
		return nil, server.ErrClusterUnavailable
	}
	return outcomes, err
}

func (f *faultyStore) Lookup(ctx context.Context, namespace, user string) (adapter.UserEntry, error) {
	f.set(func() { f.lookups++ })
	s, err := f.enter(ctx)
	if err != nil {
		return adapter.UserEntry{}, err
	}
	entry, err := s.Lookup(ctx, namespace, user)
	f.mu.Lock()
	slow := f.slow
	f.slow = 0
	f.mu.Unlock()
	time.Sleep(slow)
	return entry, err
}

func (f *faultyStore) Enrol(ctx context.Context, namespace, life, node string) (string, error) {
	s, err := f.enter(ctx)
	if err != nil {
		return "", err
	}
	return s.Enrol(ctx, namespace, life, node)
}

func (f *faultyStore) Roll(ctx context.Context, namespace string) (map[string]string, string, error) {
	s, err := f.enter(ctx)
	if err != nil {
		return nil, "", err
	}
	return s.Roll(ctx, namespace)
}

func (f *faultyStore) Claim(ctx context.Context, namespace, life, by string, ttl time.Duration) (bool, error) {
	s, err := f.enter(ctx)
	if err != nil {
		return false, err
	}
	return s.Claim(ctx, namespace, life, by, ttl)
}

func (f *faultyStore) Sweep(ctx context.Context, namespace, life string, last func(user string)) error {
	s, err := f.enter(ctx)
	if err != nil {
		return err
	}
	f.set(func() { f.sweepers++ })
	return s.Sweep(ctx, namespace, life, last)
}

// plainStore is a store of one namespace without any faults.
type plainStore struct {
	mu sync.Mutex
	// Guarded by mu.
	epoch  string
	lives  map[string]string
	claims map[string]claim
	users  map[string]*entry
}

type claim struct {
	by    string
	until time.Time
}

type entry struct {
	first map[string]bool // by life that holds the user: it found nobody
	away  string
}

var epochs int

func newStore() adapter.UserStore {
	return &plainStore{lives: make(map[string]string), claims: make(map[string]claim), users: make(map[string]*entry)}
}

func (p *plainStore) Apply(_ context.Context, _ string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var outcomes []adapter.UserOutcome
	for _, c := range changes {
		outcomes = append(outcomes, p.applyLocked(c))
	}
	return outcomes, nil
}

func (p *plainStore) applyLocked(c adapter.UserChange) (o adapter.UserOutcome) {
	e := p.users[c.User]
	if e == nil {
		e = &entry{first: make(map[string]bool)}
		p.users[c.User] = e
	}
	first, held := e.first[c.Life]
	switch c.Op {
	case adapter.UserHold:
		if !held {
			first = len(e.first) == 0 && e.away == ""
			e.first[c.Life] = first
		}
		o.First, o.Away, e.away = first, e.away, ""
	case adapter.UserRelease:
		delete(e.first, c.Life)
		if len(e.first) == 0 {
			e.away = c.Life
			o.Away = c.Life
		}
	case adapter.UserForget:
		delete(e.first, c.Life)
		if e.away == c.Life {
			e.away = ""
		}
		o.Last = len(e.first) == 0 && e.away == ""
	}
	for life := range e.first {
		if life != c.Life {
			o.Holders = append(o.Holders, life)
		}
	}
	if len(e.first) == 0 && e.away == "" {
		delete(p.users, c.User)
	}
	return o
}

func (p *plainStore) Lookup(_ context.Context, _, user string) (adapter.UserEntry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := adapter.UserEntry{Epoch: p.epoch}
	if e := p.users[user]; e != nil {
		found.Holders, found.Away = slices.Collect(maps.Keys(e.first)), e.away
	}
	return found, nil
}

func (p *plainStore) Enrol(_ context.Context, _, life, node string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch == "" {
		epochs++
		p.epoch = time.Now().String() + string(rune('a'+epochs%26))
	}
	p.lives[life] = node
	return p.epoch, nil
}

func (p *plainStore) Roll(context.Context, string) (map[string]string, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.lives), p.epoch, nil
}

func (p *plainStore) Claim(_ context.Context, _, life, by string, ttl time.Duration) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.claims[life]; c.by != "" && c.by != by && time.Now().Before(c.until) {
		return false, nil
	}
	p.claims[life] = claim{by, time.Now().Add(ttl)}
	return true, nil
}

func (p *plainStore) Sweep(_ context.Context, _, life string, last func(user string)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, e := range p.users {
		_, held := e.first[life]
		if !held && e.away != life {
			continue
		}
		delete(e.first, life)
		if e.away == life {
			e.away = ""
		}
		if len(e.first) == 0 && e.away == "" {
			delete(p.users, id)
			last(id)
		}
	}
	delete(p.lives, life)
	return nil
}
