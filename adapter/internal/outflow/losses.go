package outflow

import (
	"log/slog"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
)

// Reasons for which messages are not sent, in the Dropped of an adapter's Stats.
const (
	Down     = "down"     // of no use later, and the broker is away
	Full     = "full"     // the queue
	Stale    = "stale"    // it has waited for too long
	Closed   = "closed"   // the server
	Refused  = "refused"  // the broker has just refused another one of the kind
	TooLarge = "toolarge" // for the broker
)

// Failed is none of the reasons: what has failed, or may have, after it went out is in the Failed of an adapter's Stats.
const Failed = "failed"

// Losses are those since nothing was waiting, and what the log says of them: at most one line in ten seconds while messages are
// lost, and their sums in the end. All methods may be called concurrently, but with no lock held that waiting needs.
type Losses struct {
	// Static after construction.
	broker  string
	log     *slog.Logger
	waiting func() (messages, bytes int)

	// Guarded by mu.
	mu                  sync.Mutex
	full, stale, failed uint64
	told                time.Time // zero if nothing was lost
}

// NewLosses returns an account without losses. broker is how the log calls it, waiting tells what is in the queue.
func NewLosses(broker string, log *slog.Logger, waiting func() (messages, bytes int)) *Losses {
	return &Losses{broker: broker, log: log, waiting: waiting}
}

// Add counts n losses for a reason, Full, Stale or Failed. what is logged with them.
func (l *Losses) Add(reason string, n int, what ...any) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	switch reason {
	case Full:
		l.full += uint64(n)
	case Stale:
		l.stale += uint64(n)
	case Failed:
		l.failed += uint64(n)
	}
	now := time.Now()
	if now.Sub(l.told) < inflow.TellEvery {
		l.mu.Unlock()
		return
	}
	l.told = now
	sums := l.sumsLocked()
	l.mu.Unlock()
	messages, bytes := l.waiting()
	sums = append(append(sums, "waiting", messages, "waitingBytes", bytes), what...)
	l.log.Warn("messages for other nodes are lost: the broker does not take them as fast as they come, or not at all", sums...)
}

// Settle logs the sums when nothing waits any more, once, and begins anew.
func (l *Losses) Settle() {
	l.mu.Lock()
	lost := !l.told.IsZero()
	l.mu.Unlock()
	if !lost {
		return
	}
	if messages, _ := l.waiting(); messages > 0 {
		return
	}
	l.mu.Lock()
	sums := l.sumsLocked()
	l.full, l.stale, l.failed, l.told = 0, 0, 0, time.Time{}
	l.mu.Unlock()
	l.log.Info("the queue to the broker has been sent; of what came before, messages were lost", sums...)
}

func (l *Losses) sumsLocked() []any {
	sums := []any{"broker", l.broker, "refusedAsFull", l.full, "tooOld", l.stale}
	if l.failed > 0 {
		sums = append(sums, "failed", l.failed)
	}
	return sums
}
