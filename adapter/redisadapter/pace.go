package redisadapter

import (
	"sync"
	"time"
)

// paceAfter is how long the reader of a stream may stand still until it is not waited for any more.
const paceAfter = 2 * time.Second

// pace keeps the writer of a stream from running away from its readers: what is trimmed before it is read is lost. How far the
// other nodes have read is not known, but that this node reads what it has written itself, in the same steps as they do. All
// methods may be called concurrently.
type pace struct {
	// Static after construction.
	limit int
	poke  func() // called when the writer, which was held up, may go on

	mu sync.Mutex
	// Guarded by mu.
	under  int       // entries under way
	unread []entryID // entries that were written and not read
	moved  time.Time // when the reader was last seen to move, or had nothing to read
	held   bool      // the writer waits
}

// entryID is the id of an entry of a stream.
type entryID struct{ ms, seq uint64 }

func idOf(text string) entryID {
	ms, seq := splitID(text)
	return entryID{ms, seq}
}

// begin reports whether one more entry may be written.
func (p *pace) begin(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unread) == 0 {
		p.moved = now
	}
	if p.under+len(p.unread) >= p.limit {
		if p.under >= p.limit || now.Sub(p.moved) < paceAfter {
			p.held = true
			return false
		}
		p.unread = nil // nobody reads here
	}
	p.under++
	return true
}

// end tells what has become of an entry; "" is one that was not written, or may not have been.
func (p *pace) end(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.under--
	if id != "" && len(p.unread) < p.limit {
		p.unread = append(p.unread, idOf(id))
	}
}

// reached tells how far this node has read.
func (p *pace) reached(id entryID) {
	p.mu.Lock()
	n := 0
	for n < len(p.unread) && !id.before(p.unread[n]) {
		n++
	}
	p.unread = p.unread[n:]
	p.moved = time.Now()
	held := p.held && p.under+len(p.unread) < p.limit
	if held {
		p.held = false
	}
	p.mu.Unlock()
	if held {
		p.poke()
	}
}

func (a entryID) before(b entryID) bool { return a.ms < b.ms || a.ms == b.ms && a.seq < b.seq }
