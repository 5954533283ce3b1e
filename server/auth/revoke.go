package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	// readInterval is how often the store is read for what nobody has told.
	readInterval = 5 * time.Second
	storeTimeout = 5 * time.Second
	// readPatience is how long a token waits for the first reading.
	readPatience = 2 * time.Second
	// noticeEvent tells the other nodes of a revocation, or whom to disconnect.
	noticeEvent = "sockeye:auth"
)

// revoked knows all revocations, so that letting somebody in asks no storage.
type revoked struct {
	// Static after construction.
	opts    *Options
	enforce func(users map[string]int64)
	cancel  context.CancelFunc
	running sync.WaitGroup
	read    chan struct{} // closed when the store has been read once

	mu sync.RWMutex
	// Guarded by mu.
	before map[string]revocation // by user
	pruned int                   // how many there were when the ancient ones were dropped
}

// revocation is what is known of a user's tokens. Times are in milliseconds since 1970.
type revocation struct {
	before int64 // those are void that were issued before
	until  int64 // none of them lives any longer
}

func (t *revoked) start(o *Options, enforce func(map[string]int64)) {
	t.opts, t.enforce, t.read, t.before = o, enforce, make(chan struct{}), make(map[string]revocation)
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	t.running.Go(func() { t.follow(ctx) })
}

func (t *revoked) close() {
	t.cancel()
	t.running.Wait()
}

// follow reads the store until ctx ends.
func (t *revoked) follow(ctx context.Context) {
	tick := time.NewTicker(readInterval)
	defer tick.Stop()
	cursor, away := "", false
	for {
		next, err := t.catchUp(ctx, cursor)
		cursor = next
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			t.opts.Logger.Warn("revoked tokens cannot be read; what is known goes on", "error", err, "known", t.isRead())
		case err == nil && away:
			t.opts.Logger.Info("revoked tokens can be read again")
		}
		if away = err != nil; !away && !t.isRead() {
			close(t.read)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *revoked) isRead() bool {
	select {
	case <-t.read:
		return true
	default:
		return false
	}
}

// catchUp reads what has come since the last time.
func (t *revoked) catchUp(ctx context.Context, cursor string) (string, error) {
	for {
		limited, cancel := context.WithTimeout(ctx, storeTimeout)
		list, next, err := t.opts.Revocations.Revocations(limited, cursor)
		cancel()
		if err != nil || len(list) == 0 {
			return cursor, err
		}
		t.add(list...)
		cursor = next
	}
}

// add notes revocations, and ends the sessions that they concern.
func (t *revoked) add(list ...adapter.Revocation) {
	news := make(map[string]int64)
	t.mu.Lock()
	for _, r := range list {
		known := t.before[r.User]
		if ms := r.Before.UnixMilli(); ms > known.before {
			known.before, news[r.User] = ms, ms
		}
		known.until = max(known.until, time.Now().Add(t.opts.keep(r.Before)).UnixMilli())
		t.before[r.User] = known
	}
	t.pruneLocked()
	t.mu.Unlock()
	if len(news) > 0 {
		t.enforce(news)
	}
}

// keep is how long a revocation is to be kept: a token that does not tell when it was issued may have been until now, and one of
// before, which may be still to come, lives for MaxLifetime from then.
func (o *Options) keep(before time.Time) time.Duration {
	return max(0, time.Until(before)) + o.MaxLifetime + o.Leeway
}

// pruneLocked drops, each time that twice as many have come, what concerns no token any more.
func (t *revoked) pruneLocked() {
	if len(t.before) < max(1024, 2*t.pruned) {
		return
	}
	now := time.Now().UnixMilli()
	maps.DeleteFunc(t.before, func(_ string, r revocation) bool { return r.until < now })
	t.pruned = len(t.before)
}

// has reports whether a token is revoked.
func (t *revoked) has(c *Claims) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.before[c.Subject]
	return ok && isBefore(c, r.before)
}

// isBefore reports whether a token was issued before a time. One that does not tell when was.
func isBefore(c *Claims, ms int64) bool { return c.IssuedAt.IsZero() || c.IssuedAt.UnixMilli() < ms }

// check refuses a token that is revoked, and all tokens while nobody knows which ones are.
func (t *revoked) check(ctx context.Context, c *Claims) *Refusal {
	if !t.isRead() && !t.opts.ServeUnread {
		patience := time.NewTimer(readPatience)
		defer patience.Stop()
		select {
		case <-t.read:
		case <-ctx.Done():
			return refuse(CodeUnavailable, ctx.Err())
		case <-patience.C:
			return refuse(CodeUnavailable, errors.New("the revoked tokens have not been read yet"))
		}
	}
	if t.has(c) {
		return refuse(CodeRevoked, nil)
	}
	return nil
}

// notice is what nodes tell each other.
type notice struct {
	User   string `json:"user"`
	Before int64  `json:"before,omitempty"` // milliseconds since 1970
	Kick   bool   `json:"kick,omitempty"`   // disconnect the user, whatever tokens it has
}

// Notice is the event, and its argument, by which the nodes of a cluster hear of a revocation at once that another program has given to
// their store: sent with ServerSideEmit in a protected namespace.
func Notice(r adapter.Revocation) (event string, arg any) {
	return noticeEvent, notice{User: r.User, Before: r.Before.UnixMilli()}
}

// noticed hears of a revocation, or whom to disconnect, from another node.
func (a *Auth) noticed(_ context.Context, n notice) error {
	if n.Kick {
		a.kick(n.User)
	}
	if n.Before > 0 {
		a.revoked.add(adapter.Revocation{User: n.User, Before: time.UnixMilli(n.Before)})
	}
	return nil
}

// enforce ends the sessions that revocations concern.
func (a *Auth) enforce(before map[string]int64) {
	for _, s := range a.subjects.of(before) {
		if c := s.claims.Load(); isBefore(c, before[c.Subject]) {
			a.revoke(s)
		}
	}
}

// revoke ends a session whose token is revoked.
func (a *Auth) revoke(s *session) {
	if s.revoked.Swap(true) {
		return
	}
	a.counts.revoked.Add(1)
	_ = s.socket.Emit(EventRevoked, RefusalData{Code: CodeRevoked}) // it may have gone
	s.socket.Disconnect()
}

// kick disconnects the sockets of a user on this node.
func (a *Auth) kick(user string) {
	for _, s := range a.subjects.kick(user) {
		s.socket.Disconnect()
	}
}

// DisconnectUser disconnects the sockets of a user from all protected namespaces, on all nodes of the cluster; on those of Node.js from
// namespaces whose directory was given to Protect, if they are in the user's room. Who has a token may come back: see RevokeBefore.
// The error says that other nodes could not be told, or that nobody knows, see ProtectParent; those of this node are gone.
func (a *Auth) DisconnectUser(ctx context.Context, user string) error {
	a.kick(user)
	if err := a.tell(ctx, notice{User: user, Kick: true}); err != nil {
		return fmt.Errorf("disconnect user: %w", err)
	}
	return nil
}

// RevokeBefore makes the tokens of a user void that were issued before a time, and those that do not tell when. Clients that have one
// get EventRevoked and are disconnected, on all nodes; new attempts are refused as CodeRevoked as long as such a token could live. Tokens
// tell their time in seconds as a rule, so that one of the same second counts as issued before. The time of the token is the issuer's:
// if its clock may be ahead of that which before was read from, add by how much; who signs in meanwhile has to do so again. When the store cannot be written the
// error says so, and nothing has happened; when other nodes cannot be told they read it within 5 s.
func (a *Auth) RevokeBefore(ctx context.Context, user string, before time.Time) error {
	r := adapter.Revocation{User: user, Before: before.Truncate(time.Millisecond)}
	if err := a.opts.Revocations.Revoke(ctx, r, a.opts.keep(r.Before)); err != nil {
		return fmt.Errorf("revoke tokens: %w", err)
	}
	a.revoked.add(r)
	if err := a.tell(ctx, notice{User: user, Before: r.Before.UnixMilli()}); err != nil {
		a.opts.Logger.Warn("other nodes are not told of revoked tokens, and will read it", "error", err)
	}
	return nil
}
