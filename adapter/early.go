package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// maxEarly is how many broadcasts are remembered that are not in the log yet.
	maxEarly = 100_000
	// earlyPatience is how long a client that comes back waits for them.
	earlyPatience = time.Second
)

var errNotPlaced = errors.New("broadcasts of this node are not in the log yet")

// early is what clusterHistory knows of broadcasts that this node has delivered before they were in the log, because that was slow. A
// client that was away then and comes back here would not get them: they are not in what it reads, and when they come from the log they
// are not delivered again. So it waits until they have come. If they never do, it starts anew. It is guarded by clusterHistory.mu.
type early struct {
	seqs    []uint64      // ascending
	drained chan struct{} // closed when none is left; nil if nobody waits
	missing bool          // one will never be in the log, and nothing has come from there since
	lost    string        // offset of what came first after such a one
}

// note takes the number of a broadcast.
func (e *early) note(seq uint64) {
	i, _ := slices.BinarySearch(e.seqs, seq)
	e.seqs = slices.Insert(e.seqs, i, seq)
	if len(e.seqs) > maxEarly {
		e.seqs, e.missing = e.seqs[1:], true
	}
}

// never takes the number of a broadcast that will never be in the log.
func (e *early) never(seq uint64) {
	e.missing = true
	if i, found := slices.BinarySearch(e.seqs, seq); found {
		e.seqs = slices.Delete(e.seqs, i, i+1)
	}
	e.wake()
}

// wake tells those who wait when none is left.
func (e *early) wake() {
	if len(e.seqs) == 0 && e.drained != nil {
		close(e.drained)
		e.drained = nil
	}
}

// arrived takes a message of this node that has come from the log. It has those in it that were sent before, or they will never come.
func (e *early) arrived(m *Message) {
	n := 0
	for n < len(e.seqs) && e.seqs[n] <= m.Seq {
		e.missing = e.missing || e.seqs[n] < m.Seq
		n++
	}
	e.seqs = e.seqs[n:]
	e.passed(m.Offset)
	e.wake()
}

// passed takes the offset of anything that has come from the log.
func (e *early) passed(offset string) {
	if e.missing {
		e.missing, e.lost = false, offset
	}
}

// placed waits until everything that was delivered here is in the log. It returns ErrHistoryGap if something behind an offset is not.
func (h *clusterHistory) placed(ctx context.Context, offset string) error {
	h.mu.Lock()
	if len(h.early.seqs) > 0 && h.early.drained == nil {
		h.early.drained = make(chan struct{})
	}
	drained := h.early.drained
	h.mu.Unlock()
	if drained != nil {
		timer := time.NewTimer(earlyPatience)
		defer timer.Stop()
		select {
		case <-drained:
		case <-timer.C:
			return fmt.Errorf("%w: %w", ErrClusterUnavailable, errNotPlaced)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.early.missing || h.early.lost != "" && h.Compare(offset, h.early.lost) < 0 {
		return ErrHistoryGap
	}
	return nil
}
