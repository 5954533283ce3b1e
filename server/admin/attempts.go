package admin

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Bounds of attempts to log in with a password. An attempt that succeeds does not count.
const (
	attemptBurst    = 10              // at once, for one address
	attemptInterval = 6 * time.Second // until one more is allowed
	maxAddresses    = 10_000          // that are told apart; all others together count as one
	maxCheckers     = 16              // attempts that wait until a password before them has been checked
)

// attempts limits logins: for each address so that nobody guesses, and for all so that checking, which is slow on purpose, takes one
// core at most.
type attempts struct {
	checking chan struct{} // holds a value while a password is being checked
	waiting  chan struct{} // holds a value for each attempt that waits or is being checked

	mu sync.Mutex
	// Guarded by mu.
	spent map[netip.Prefix]time.Time // when the last attempt of an address will have been forgotten
	swept time.Time                  // when those were last looked for that can be forgotten
}

func newAttempts() *attempts {
	return &attempts{
		checking: make(chan struct{}, 1), waiting: make(chan struct{}, maxCheckers), spent: make(map[netip.Prefix]time.Time),
	}
}

// sourceOf is who counts as one: an IPv4 address, the network of an IPv6 address, or whoever has no address.
func sourceOf(address string) netip.Prefix {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	source, _ := addr.Prefix(bits) // bits fit
	return source
}

// take counts an attempt and reports whether it is allowed.
func (t *attempts) take(address string) bool {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	source := t.sourceLocked(address, now)
	until := t.spent[source]
	if until.Before(now) {
		until = now
	}
	if until.Sub(now) > (attemptBurst-1)*attemptInterval {
		return false
	}
	t.spent[source] = until.Add(attemptInterval)
	return true
}

// refund takes back an attempt that has succeeded.
func (t *attempts) refund(address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	source := t.sourceLocked(address, time.Now())
	if until, ok := t.spent[source]; ok {
		t.spent[source] = until.Add(-attemptInterval)
	}
}

// sourceLocked is sourceOf, but for a newcomer when there are too many.
func (t *attempts) sourceLocked(address string, now time.Time) netip.Prefix {
	source := sourceOf(address)
	if _, known := t.spent[source]; known || len(t.spent) < maxAddresses {
		return source
	}
	if now.Sub(t.swept) >= attemptInterval { // all of them are looked at, which newcomers must not cause at will
		t.swept = now
		for s, until := range t.spent {
			if until.Before(now) {
				delete(t.spent, s)
			}
		}
	}
	if len(t.spent) < maxAddresses {
		return source
	}
	return netip.Prefix{}
}

// enter waits for the turn to check a password. It reports false if too many wait, or ctx ends.
func (t *attempts) enter(ctx context.Context) (leave func(), ok bool) {
	select {
	case t.waiting <- struct{}{}:
	default:
		return nil, false
	}
	select {
	case t.checking <- struct{}{}:
	case <-ctx.Done():
		<-t.waiting
		return nil, false
	}
	return func() { <-t.checking; <-t.waiting }, true
}
