package natsadapter

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	// reachEvery is the least time between two rounds, reachWithin how long the others may take.
	reachEvery  = 10 * time.Millisecond
	reachWithin = 250 * time.Millisecond
)

// reach is a round of questions: a server of NATS that confirms a subscription has not told the other servers yet, but what this
// node sends after it reaches them after it. So when a node on each of them has answered a question, what is published there arrives here.
type reach struct {
	number  string
	waiting map[adapter.NodeID]bool // guarded by session.mu
	done    chan struct{}           // closed when nobody owes an answer
}

// reach waits until the other servers know our subscriptions. A node that does not answer is not asked again until it is heard.
func (s *session) reach() {
	others := s.hub.peers.elsewhere(token(s.hub.at()))
	if len(others) == 0 {
		return
	}
	if wait := time.Until(s.reached.Add(reachEvery)); wait > 0 && !s.pause(wait) {
		return
	}
	_, number := s.nextReply()
	r := &reach{number: number, waiting: make(map[adapter.NodeID]bool), done: make(chan struct{})}
	for _, id := range others {
		r.waiting[id] = true
	}
	s.mu.Lock()
	s.reaching, s.reached = r, time.Now()
	s.mu.Unlock()
	question := []byte("?" + string(s.hub.subjects.id) + " " + number)
	for _, id := range others {
		_ = s.hub.publish(s.hub.subjects.sync(id), question, post{passing: true}) // who is not asked does not answer
	}
	timer := time.NewTimer(reachWithin)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
	case <-s.closed:
		return
	}
	s.mu.Lock()
	s.reaching = nil
	silent := r.waiting
	s.mu.Unlock()
	for id := range silent {
		s.hub.peers.mute(id)
	}
}

// answered notes the answer of a node.
func (s *session) answered(id adapter.NodeID, number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reaching
	if r == nil || r.number != number || !r.waiting[id] {
		return
	}
	if delete(r.waiting, id); len(r.waiting) == 0 {
		close(r.done)
	}
}

// maxSync bounds what is read of a question or an answer, in bytes.
const maxSync = 512

// takeSync takes such questions, which it answers, and answers.
func (h *hub) takeSync(m *nats.Msg) {
	if len(m.Data) < 2 || len(m.Data) > maxSync {
		return
	}
	from, number, ok := strings.Cut(string(m.Data[1:]), " ")
	if !ok {
		return
	}
	switch m.Data[0] {
	case '?':
		answer := []byte("!" + string(h.subjects.id) + " " + number)
		_ = h.publish(h.subjects.sync(adapter.NodeID(from)), answer, post{passing: true, reply: true})
	case '!':
		if s := h.session(); s != nil {
			s.answered(adapter.NodeID(from), number)
		}
	}
}
