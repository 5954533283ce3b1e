package forward

import (
	"context"
	"net/http"
	"sync"

	"github.com/sockeye-io/sockeye/server/engine"
)

// polls are those that wait for the answers of other nodes. A node that ends has them answered: the clients poll again through another
// one, and their sessions go on. The zero value is ready.
type polls struct {
	mu sync.Mutex
	// Guarded by mu.
	waiting map[*call]context.CancelFunc
	closed  bool
	drained chan struct{} // closed when none waits any more; made by close
}

// add notes a poll; left takes it away. After close it is not let wait.
func (p *polls) add(c *call, cancel context.CancelFunc) (left func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		cancel()
		return func() {}
	}
	if p.waiting == nil {
		p.waiting = make(map[*call]context.CancelFunc)
	}
	p.waiting[c] = cancel
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiting, c)
		if p.closed && len(p.waiting) == 0 {
			close(p.drained)
		}
	}
}

// close returns those that wait, and what is closed when none does.
func (p *polls) close() (waiting []*call, drained <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.drained = true, make(chan struct{})
	if len(p.waiting) == 0 {
		close(p.drained)
	}
	for c := range p.waiting {
		waiting = append(waiting, c)
	}
	return waiting, p.drained
}

// cancel breaks those off that wait still: their sessions end, as if their clients had gone.
func (p *polls) cancel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cancel := range p.waiting {
		cancel()
	}
}

// maxAsking is how many polls are asked about at the same time.
const maxAsking = 32

// endPolls has the polls answered that wait, and breaks off what is left when ctx ends.
func (f *Forwarder) endPolls(ctx context.Context) {
	waiting, drained := f.polls.close()
	next := make(chan *call, len(waiting))
	for _, c := range waiting {
		next <- c
	}
	close(next)
	var asking sync.WaitGroup
	for range min(maxAsking, len(waiting)) {
		asking.Go(func() {
			for c := range next {
				if resp, err := f.askFor(ctx, c, passAnswer, engine.Peer{}); err == nil {
					_ = resp.Body.Close()
				}
			}
		})
	}
	asking.Wait()
	select {
	case <-drained:
	case <-ctx.Done():
		f.polls.cancel()
	}
}

// serveAnswer has the poll of a session answered that waits here for a client of the node that asks.
func (f *Forwarder) serveAnswer(w http.ResponseWriter, p *pass) {
	if !f.engine.AnswerPoll(p.SID) {
		w.WriteHeader(http.StatusNotFound)
	}
}
