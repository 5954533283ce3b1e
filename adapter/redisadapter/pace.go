package redisadapter

import (
	"sync"
	"time"
)

const (
	// paceAfter is how long this node's reader of a stream may stand still until writers wait for it no longer.
	paceAfter = 2 * time.Second
	// followAfter is the same of a reader of which no more is known than that it is busy: one of npm reads 100 entries in a round trip.
	followAfter = 15 * time.Second
	// blindFor is how long Redis is not asked for the readers again when it has not told them.
	blindFor = 10 * time.Second
)

// pace keeps the writer of a stream from running away from its readers: what is trimmed before it is read is lost. This node reads
// what it has written itself, which tells much of others like it. Of others, npm's among them, Redis tells who waits for entries, and has
// thus read all that there were. All methods may be called concurrently.
type pace struct {
	// Static after construction.
	limit int           // how many entries of this node it may not have read itself
	lead  int           // how many entries the stream may have got, from whomever, that a reader may not have read
	poke  func()        // called when the writer, which was held up, may go on
	look  chan struct{} // capacity 1; tells the watch that the readers are to be looked at

	mu sync.Mutex
	// Guarded by mu.
	under     int       // entries under way
	unread    []entryID // entries that were written and not read here
	read      int       // how many entries were read here, whoever wrote them
	moved     time.Time // when the reader was last seen to move, or had nothing to read
	held      bool      // the writer waits
	watches   int       // how many look at the readers when they are to
	slowest   int       // how many entries the slowest of them had read at the last look, at least
	blind     time.Time // until then Redis is not asked
	followers map[string]follower
}

// follower is a connection that reads.
type follower struct {
	read int       // how many entries there were when it had read all
	busy time.Time // since when it has not been seen to wait for more; zero if it waited when it was last looked at
	lost bool      // it was busy for too long: it does not get anywhere, or reads something else
}

// entryID is the id of an entry of a stream.
type entryID struct{ ms, seq uint64 }

func idOf(text string) entryID {
	ms, seq := splitID(text)
	return entryID{ms, seq}
}

// newPace returns the pace of a stream of which Redis keeps at least maxLen entries. A quarter of them may be unread here, which holds for
// every node that writes, and five eighths elsewhere.
func newPace(maxLen int, poke func()) *pace {
	return &pace{limit: max(maxLen/4, 1), lead: max(5*maxLen/8, 1), poke: poke, look: make(chan struct{}, 1)}
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
	if p.aheadLocked(now) {
		p.held = true
		return false
	}
	p.under++
	return true
}

// aheadLocked reports whether a reader may be too far behind, and asks for a look long before it is: the more often readers are looked at,
// the more likely they are seen to wait.
func (p *pace) aheadLocked(now time.Time) bool {
	if p.watches == 0 || now.Before(p.blind) {
		return false
	}
	far := p.writtenLocked() + p.under - p.slowest
	if far >= p.lead/4 {
		select {
		case p.look <- struct{}{}:
		default:
		}
	}
	return far >= p.lead
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

// reached tells how far this node has read, and that n more entries have come.
func (p *pace) reached(id entryID, n int) {
	p.mu.Lock()
	own := 0
	for own < len(p.unread) && !id.before(p.unread[own]) {
		own++
	}
	p.unread = p.unread[own:]
	p.read += n
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

// watch tells that there is one more, or one less, who looks at the readers when look says so.
func (p *pace) watch(n int) {
	p.mu.Lock()
	p.watches += n
	p.slowest, p.followers = p.writtenLocked(), nil
	p.mu.Unlock()
	p.poke()
}

// written returns how many entries there are at least.
func (p *pace) written() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writtenLocked()
}

func (p *pace) writtenLocked() int { return p.read + len(p.unread) }

// looked tells what a look has found that began when so many entries were written: which connections read, and whether they waited for
// entries. nil means that Redis does not tell.
func (p *pace) looked(written int, readers map[string]bool, now time.Time) {
	p.mu.Lock()
	p.held, p.slowest = false, written
	before := p.followers
	p.followers = make(map[string]follower, len(readers))
	for id, waits := range readers {
		f, known := before[id]
		switch {
		case waits:
			f = follower{read: written}
		case !known:
			f = follower{read: written, busy: now}
		case f.busy.IsZero():
			f.busy = now
		case now.Sub(f.busy) > followAfter:
			f.lost = true
		}
		p.followers[id] = f
		if !f.lost {
			p.slowest = min(p.slowest, f.read)
		}
	}
	if readers == nil {
		p.blind = now.Add(blindFor)
	}
	p.mu.Unlock()
	p.poke()
}

func (a entryID) before(b entryID) bool { return a.ms < b.ms || a.ms == b.ms && a.seq < b.seq }
