package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// maxEarly is how many broadcasts are remembered that are not in the log yet.
	maxEarly = 100_000
	// earlyPatience is how long a client that comes back waits for them.
	earlyPatience = 20 * time.Second // JetStream may take that long to choose a leader
)

var errNotPlaced = errors.New("broadcasts of this node are not in the log yet")

// early is what clusterHistory knows of broadcasts that this node has delivered before they were in the log, because that was slow. A
// client that was away then and comes back here would not get them: they are not in what it reads, and when they come from the log they
// are not delivered again. So it waits until they have come. If they never do, it starts anew. It is guarded by clusterHistory.mu.
type early struct {
	list    []earlyOne // by seq
	waiting []placeWaiter
	missing bool   // one will never be in the log, and nothing has come from there since
	lost    string // offset of what came first after such a one
}

// earlyOne is a broadcast that was delivered.
type earlyOne struct {
	seq   uint64
	place *Place // of those who have got it
}

// placeWaiter waits until nothing up to a number is still to come from the log.
type placeWaiter struct {
	seq  uint64
	done chan struct{}
}

// find returns where the number of a broadcast is in the list, or would be.
func (e *early) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(e.list, seq, func(o earlyOne, seq uint64) int { return cmp.Compare(o.seq, seq) })
}

// note takes the number of a broadcast, and its place when that is known.
func (e *early) note(seq uint64, place *Place) {
	i, _ := e.find(seq)
	e.list = slices.Insert(e.list, i, earlyOne{seq, place})
	if len(e.list) > maxEarly {
		e.list, e.missing = e.list[1:], true
	}
}

// never takes the number of a broadcast that will never be in the log.
func (e *early) never(seq uint64) {
	e.missing = true
	if i, found := e.find(seq); found {
		e.list = slices.Delete(e.list, i, i+1)
	}
}

// arrived takes a message of this node that has come from the log. It has those in it that were sent before, or they will never come.
func (e *early) arrived(m *Message) {
	n := 0
	for ; n < len(e.list) && e.list[n].seq <= m.Seq; n++ {
		if e.list[n].seq == m.Seq {
			e.list[n].place.Set(m.Offset)
		} else {
			e.missing = true
		}
	}
	e.list = e.list[n:]
	e.passed(m.Offset)
}

// passed takes the offset of anything that has come from the log.
func (e *early) passed(offset string) {
	if e.missing {
		e.missing, e.lost = false, offset
	}
}

// wakeLocked tells those who wait for nothing any more.
func (h *clusterHistory) wakeLocked() {
	if len(h.early.waiting) == 0 {
		return
	}
	first := uint64(math.MaxUint64) // that is to come from the log
	if len(h.early.list) > 0 {
		first = h.early.list[0].seq
	}
	for _, t := range h.pending {
		if t.seq != 0 {
			first = min(first, t.seq)
			break // they are in their order
		}
	}
	h.early.waiting = slices.DeleteFunc(h.early.waiting, func(w placeWaiter) bool {
		over := w.seq < first
		if over {
			close(w.done)
		}
		return over
	})
}

// placed waits until everything that was delivered here is in the log. It returns ErrHistoryGap if something behind an offset is not.
func (h *clusterHistory) placed(ctx context.Context, offset string) error {
	if err := h.await(ctx, func() (last uint64) {
		if n := len(h.early.list); n > 0 {
			last = h.early.list[n-1].seq
		}
		return last
	}); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.early.missing || h.early.lost != "" && h.Compare(offset, h.early.lost) < 0 {
		return ErrHistoryGap
	}
	return nil
}

// allPlaced waits until everything that this node has broadcast has come from the log: a reading that has ended by now may have it.
func (h *clusterHistory) allPlaced(ctx context.Context) error {
	return h.await(ctx, func() (last uint64) {
		if n := len(h.early.list); n > 0 {
			last = h.early.list[n-1].seq
		}
		for _, t := range h.pending {
			last = max(last, t.seq)
		}
		return last
	})
}

// await waits until nothing up to a number is still to come from the log; 0 is none. It returns ErrClusterUnavailable if that takes too long.
func (h *clusterHistory) await(ctx context.Context, numberLocked func() uint64) error {
	h.mu.Lock()
	w := placeWaiter{numberLocked(), make(chan struct{})}
	if w.seq > 0 {
		h.early.waiting = append(h.early.waiting, w)
	}
	h.mu.Unlock()
	if w.seq == 0 {
		return nil
	}
	timer := time.NewTimer(earlyPatience)
	defer timer.Stop()
	select {
	case <-w.done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.early.waiting = slices.DeleteFunc(h.early.waiting, func(o placeWaiter) bool { return o.done == w.done })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", ErrClusterUnavailable, errNotPlaced)
}
