package kafkatest

import (
	"os"
	"sync"
	"testing"
)

// packageBroker is a broker that the tests of a package share.
type packageBroker struct {
	mu sync.Mutex
	// Guarded by mu.
	process *process // nil before the first use
}

// shared is the broker of Shared, victim that of Victim.
var shared, victim packageBroker

// use returns the broker, which is started if it does not run.
func (p *packageBroker) use(t testing.TB) *Broker {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		p.process = single(t, nil).process
	}
	b := &Broker{t: t, process: p.process}
	if !b.Running() {
		b.Start()
	}
	return b
}

func (p *packageBroker) discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil {
		p.process.discard()
		p.process = nil
	}
}

// Shared returns the one broker that the tests of a package share. It has no options, starts when the first test wants it, and again
// if a test has ended it; a package whose tests use it ends with Exit. Tests take topics whose names no other test has, and make no
// trouble for it: who does takes the Victim, or a Single.
func Shared(t testing.TB) *Broker {
	t.Helper()
	return shared.use(t)
}

// Victim returns the one broker that those tests of a package share which kill, stop or freeze it, one test at a time. It is as Shared
// otherwise. What a failed test has left of it is not used again.
func Victim(t testing.TB) *Broker {
	t.Helper()
	b := victim.use(t)
	t.Cleanup(func() {
		if t.Failed() || b.frozen.Load() {
			victim.discard()
		}
	})
	return b
}

// Exit ends the brokers that are shared, removes their folders, and ends the process. It is the last call of a TestMain, see
// goleak.Cleanup.
func Exit(code int) {
	shared.discard()
	victim.discard()
	os.Exit(code)
}
