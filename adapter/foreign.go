package adapter

import "sync"

// foreign is what is known of the nodes of a namespace that are no members: how many there are, as far as the broker's count
// tells. All methods may be called concurrently.
type foreign struct {
	mu sync.Mutex
	// Guarded by mu.
	listeners int      // how many are counted that are no nodes at all, such as monitoring tools
	mute      int      // how many have let a question's time run out
	seen      int      // how many there were at the last question
	names     []string // of those that have answered the last complete question, sorted; never changed
	whole     uint64   // the losses of the bus after which the nodes have been waited for
}

// listened notes how many are counted that are no nodes.
func (f *foreign) listened(n int) {
	f.mu.Lock()
	f.listeners = max(n, 0)
	f.mu.Unlock()
}

// listenedTo reports whether some of those that the broker counts are no nodes.
func (f *foreign) listenedTo() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listeners > 0
}

// saw notes how many foreign nodes there are, and returns how many of them are not waited for. Of those that have gone since the
// last time as many were mute as can be: it is better to wait in vain than not to wait.
func (f *foreign) saw(n int) (mute int) {
	n = max(n, 0) // a member that has just been killed is not counted any more
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = max(f.mute-max(f.seen-n, 0), 0)
	f.seen = n
	return f.mute
}

// silent notes how many of them have not answered in all the time they had.
func (f *foreign) silent(n int) {
	f.mu.Lock()
	f.mute = n
	f.mu.Unlock()
}

// answered notes who has answered a complete question with its name, before returns that.
func (f *foreign) answered(names []string) {
	f.mu.Lock()
	f.names = names
	f.mu.Unlock()
}

func (f *foreign) before() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names
}

// heard notes that one has answered late, or that more have answered than were expected to: all are waited for again.
func (f *foreign) heard() { f.silent(0) }

// last returns how many the broker counted besides the members.
func (f *foreign) last() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen + f.listeners
}

// scattered reports whether the bus has lost the broker since the other nodes were last waited for, gathered that they have been.
func (f *foreign) scattered(losses uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return losses != f.whole
}

func (f *foreign) gathered(losses uint64) {
	f.mu.Lock()
	f.whole = losses
	f.mu.Unlock()
}
