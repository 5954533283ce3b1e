package adapter

import (
	"sync"

	"github.com/sockeye-io/sockeye/adapter/internal/question"
)

// foreign is what is known of the nodes of a namespace that are no members: how many there are, as far as the broker's count
// tells. All methods may be called concurrently.
type foreign struct {
	mu sync.Mutex
	// Guarded by mu.
	counted  int      // how many the broker counted beyond the members at the last question
	listened bool     // some of them were no nodes, such as monitoring tools: a number would mislead
	mute     int      // how many of them have let a question's time run out
	named    []NodeID // those that have answered the last complete question by name, sorted; never changed
}

// saw notes how many the broker counts beyond the members, and returns for how many of them no question waits. Of those that have
// gone since the last time as many were mute as can be: it is better to wait in vain than not to wait.
func (f *foreign) saw(counted int, listened bool) (mute int) {
	counted = max(counted, 0) // a member that has just been killed is not counted any more
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = max(f.mute-max(f.counted-counted, 0), 0)
	f.counted, f.listened = counted, listened
	return f.mute
}

// last returns what saw has noted.
func (f *foreign) last() (counted int, listened bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counted, f.listened
}

// ended notes what has come of a question. inVain says that those who have not answered it had enough time.
func (f *foreign) ended(end question.Outcome[NodeID], inVain bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if inVain || end.Mute < f.mute {
		f.mute = end.Mute
	}
	if end.Unanswered == 0 {
		f.named = end.Named
	}
}

// heard notes that one has answered late: questions wait for all of them again.
func (f *foreign) heard() {
	f.mu.Lock()
	f.mute = 0
	f.mu.Unlock()
}

// before returns who has answered the last complete question by name.
func (f *foreign) before() []NodeID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.named
}
