package adapter

import (
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
	switch {
	case err != nil:
		return fmt.Errorf("look for other nodes: %w", err)
	case more <= 0:
		return nil
	}
	s.log.Break()
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

// count returns how many the broker counts beyond the members, if that does not settle.
func (s *strangers) count(ctx context.Context) (more int, err error) {
	for until := time.Now().Add(strangersSettle); ; {
		n, err := s.c.countNodes(ctx)
		if err != nil {
			return 0, err
		}
		if more = n - 1 - len(s.c.present()); more <= 0 || time.Now().After(until) {
			return more, nil
		}
		select {
		case <-time.After(strangersAsk):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
