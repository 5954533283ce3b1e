package natsadapter

import (
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// takeReply takes what NATS says of messages that nobody hears.
func (h *hub) takeReply(m *nats.Msg) {
	if s := h.session(); s != nil {
		s.noteReply(m)
	}
}

// trouble is told by nats.go what goes wrong.
func (s *session) trouble(sub *nats.Subscription, err error) {
	h := s.hub
	switch {
	case trouble(err) == troublePermission:
		h.stats.Fail(trouble(err), 1)
		s.refused(err)
	case sub != nil && err == nats.ErrSlowConsumer:
		s.overrun(sub)
	case trouble(err) == troubleLimit:
		s.end(err)
	default:
		if held, ok := h.stats.WorthTelling("other"); ok {
			h.opts.Logger.Warn("nats reports trouble", "error", err, "notLogged", held)
		}
	}
}

// lookForOverruns counts what was lost after nats.go has told of the first message.
func (s *session) lookForOverruns() {
	s.mu.Lock()
	subs := slices.Collect(maps.Keys(s.dropped))
	s.mu.Unlock()
	for _, sub := range subs {
		s.overrun(sub)
	}
}

// overrun counts what came faster than it could be sorted.
func (s *session) overrun(sub *nats.Subscription) {
	h := s.hub
	n := s.newlyDropped(sub)
	if n == 0 {
		return
	}
	h.stats.overrun.Add(uint64(n))
	h.stats.losses.Add(1)
	h.overruns.Add(1)
	if held, ok := h.stats.WorthTelling("overrun"); ok {
		h.opts.Logger.Warn("messages of other nodes are lost: they come faster than they can be sorted", "subject", sub.Subject, "notLogged", held)
	}
}

// newlyDropped returns how many messages of a subscription were lost since the last call.
func (s *session) newlyDropped(sub *nats.Subscription) int {
	total, err := sub.Dropped()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // it is over
		delete(s.dropped, sub)
		return 0
	}
	n := max(total-s.dropped[sub], 0) // another call may have seen more
	s.dropped[sub] += n
	return n
}

// lookForRefusal takes note of the last thing that NATS has refused, before the goroutine that tells of it does.
func (s *session) lookForRefusal() {
	err := s.nc.LastError()
	if err == nil || trouble(err) != troublePermission {
		return
	}
	s.mu.Lock()
	known := s.refusal == err // nats.go remembers it
	s.mu.Unlock()
	if !known {
		s.refused(err)
	}
}

// refused notes what NATS does not let us do.
func (s *session) refused(err error) {
	h := s.hub
	s.mu.Lock()
	s.refusal = err
	s.mu.Unlock()
	verb, subject, ok := refusedOf(err.Error())
	if !ok {
		return
	}
	needed := false
	switch kept := h.jet.refused(subject, err); {
	case verb == "subscribe":
		needed = h.subs.refuse(subject, err)
	case kept: // it is told there
		return
	default:
		needed = h.queue.refused(subject, err)
	}
	if needed {
		h.review()
		return
	}
	if held, ok := h.stats.WorthTelling("optional"); ok {
		h.opts.Logger.Info("nats does not let this node do what it can do without", "error", err, "notLogged", held)
	}
}

// refusedOf reads what the server refuses: Permissions Violation for Publish to "subject", or for Subscription to "subject".
func refusedOf(text string) (verb, subject string, ok bool) {
	before, rest, ok := strings.Cut(text, `"`)
	subject, _, closed := strings.Cut(rest, `"`)
	switch {
	case !ok || !closed || subject == "":
		return "", "", false
	case strings.HasSuffix(before, "Subscription to "):
		return "subscribe", subject, true
	case strings.HasSuffix(before, "Publish to "), strings.HasSuffix(before, "Publish with Reply of "):
		return "publish", subject, true
	}
	return "", "", false
}
