package kafkatest

import (
	"os"
	"sync"
	"testing"
)

// shared is the broker of Shared.
var shared struct {
	mu sync.Mutex
	// Guarded by mu.
	process *process
}

// Shared returns the one broker that the tests of a package share. It has no options, starts when the first test wants it, and again
// if a test has ended it; a package whose tests use it ends with Exit. Tests take topics whose names no other test has, and make no
// trouble for it: who does takes a Single.
func Shared(t testing.TB) *Broker {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.process == nil {
		b := single(t, nil)
		shared.process = b.process
	}
	b := &Broker{t: t, process: shared.process}
	if !b.Running() {
		b.Start()
	}
	return b
}

// Exit ends the shared broker, removes its folder, and ends the process. It is the last call of a TestMain, see goleak.Cleanup.
func Exit(code int) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.process != nil {
		shared.process.discard()
	}
	os.Exit(code)
}
