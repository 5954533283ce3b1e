package load

import (
	"math/rand/v2"
	"time"
)

// Defaults of the npm client: reconnectionDelay, reconnectionDelayMax, randomizationFactor.
const (
	reconnectionDelay    = time.Second
	reconnectionDelayMax = 5 * time.Second
	randomizationFactor  = 0.5
)

// backoff is how long the npm client waits before one attempt to connect after the other.
type backoff struct{ attempts int }

// next returns the next wait: it doubles, and is up to half longer or shorter, but never longer than the maximum.
func (b *backoff) next() time.Duration {
	wait := float64(reconnectionDelay)
	for range b.attempts {
		wait = min(2*wait, float64(2*reconnectionDelayMax)) // beyond which the deviation makes no difference
	}
	b.attempts++
	wait *= 1 + randomizationFactor*(2*rand.Float64()-1)
	return min(time.Duration(wait), reconnectionDelayMax)
}

// attempt returns when a client whose connection was lost tries again, if there is no way to the server until back: each attempt before
// that has failed at once.
func (b *backoff) attempt(lost, back time.Time) time.Time {
	at := lost.Add(b.next())
	for at.Before(back) {
		at = at.Add(b.next())
	}
	return at
}
