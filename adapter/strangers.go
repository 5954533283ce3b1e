package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrHistoryForeign says that nodes of other implementations serve the namespace, of whose broadcasts there is no history.
var ErrHistoryForeign = errors.New("other nodes broadcast past the history")

const (
	// strangersEvery is how often a namespace is looked at for nodes that broadcast past its log.
	strangersEvery = 5 * time.Second
	// strangersSettle is how long what is counted must be more than the members: a node is counted before it has introduced itself.
	strangersSettle = time.Second
	// strangersAsk is how often it is counted meanwhile.
	strangersAsk = 100 * time.Millisecond
	// strangersFor is how long those who were found are believed to be there.
	strangersFor = time.Second
	// strangersAnswer is how long they have to answer. Of one that does not the broker has not noticed yet that it has gone, which may
	// take minutes: it broadcasts nothing. Questions wait for it again when it says something.
	strangersAnswer = 2 * time.Second
)

// strangers are the nodes of a namespace that broadcast past its log: what they say is heard by some nodes, or by none where rooms have
// channels of their own. The zero value knows of none and looks for none.
type strangers struct {
	c   *clustered // nil if they write to the log, too; static after begin
	log ExclusiveLog

	mu sync.Mutex
	// Guarded by mu.
	found time.Time // when there were some
	told  bool      // the log of this node says so
}

func (s *strangers) begin(c *clustered, log ExclusiveLog) { s.c, s.log = c, log }

// watch looks for them until the adapter closes.
func (s *strangers) watch() {
	tick := time.NewTicker(strangersEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = s.none(s.c.ctx)
		case <-s.c.ctx.Done():
			return
		}
	}
}

// none returns nil if there are none.
func (s *strangers) none(ctx context.Context) error {
	if s.c == nil {
		return nil
	}
	s.mu.Lock()
	lately := !s.found.IsZero() && time.Since(s.found) < strangersFor
	s.mu.Unlock()
	if lately {
		return ErrHistoryForeign
	}
	more, err := s.count(ctx)
	if err == nil && more > 0 {
		s.log.Break() // who answers, and who does not any more, has broadcast until now
		more, err = s.answering(ctx)
	}
	switch {
	case err != nil:
		return fmt.Errorf("look for other nodes: %w", err)
	case more <= 0:
		return nil
	}
	s.mu.Lock()
	s.found = time.Now()
	first := !s.told
	s.told = true
	s.mu.Unlock()
	if first {
		s.c.opts.Logger.Warn("clients that come back start anew: nodes serve the namespace that write nothing into its history, such as Node.js nodes",
			"namespace", s.c.local.Name(), "nodes", more)
	}
	return ErrHistoryForeign
}

// count returns how many the broker counts beyond the members and those that do not answer, if that does not settle.
func (s *strangers) count(ctx context.Context) (more int, err error) {
	for until := time.Now().Add(strangersSettle); ; {
		if more, err = s.more(ctx); err != nil || more <= 0 || time.Now().After(until) {
			return more, err
		}
		select {
		case <-time.After(strangersAsk):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// more is what the broker counts now beyond the members and those that do not answer.
func (s *strangers) more(ctx context.Context) (int, error) {
	n, err := s.c.countNodes(ctx)
	if err != nil {
		return 0, err
	}
	n -= 1 + len(s.c.present())
	_, listened := s.c.foreign.last()
	return n - s.c.foreign.saw(n, listened), nil
}

// answering asks everybody something to which there is a short answer, and returns how many are left without those who say nothing.
func (s *strangers) answering(ctx context.Context) (more int, err error) {
	asking, cancel := context.WithTimeout(ctx, strangersAnswer)
	defer cancel()
	nobody := Selection{Rooms: []string{string(s.c.members.Self().ID)}}
	if _, err = s.c.CountSockets(asking, nobody, Flags{}); err != nil && asking.Err() == nil || ctx.Err() != nil {
		return 0, cmp.Or(context.Cause(ctx), err)
	}
	return s.more(ctx)
}
