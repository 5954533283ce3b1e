package adapter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	// maxTogether is how many clients share one reading of the log, and maxReaders how many readings there are at a time: when all clients
	// of a node come back at once the log is read a few times, not once for each.
	maxTogether = 128
	maxReaders  = 2
	// readTimeout bounds a reading.
	readTimeout = 15 * time.Second
)

// missedReads reads the log for clients that come back, for those together that wait at the same time. Its goroutines exist while
// somebody waits.
type missedReads struct {
	h        *clusterHistory // static
	readings atomic.Uint64   // how often the log was read

	mu sync.Mutex
	// Guarded by mu.
	waiting []*missedRead
	readers int
}

// missedRead is what one client wants.
type missedRead struct {
	ctx    context.Context
	offset string
	rooms  []string
	limits HistoryLimits

	// Owned by the reader, then by whoever has seen done.
	missed   Missed
	bytes    int
	exceeded bool
	passed   bool // a reading has come past the offset
	err      error
	done     chan struct{}
}

// read returns when the log was read for a client.
func (r *missedReads) read(ctx context.Context, offset string, rooms []string, limits HistoryLimits) (Missed, error) {
	q := &missedRead{ctx: ctx, offset: offset, rooms: rooms, limits: limits, done: make(chan struct{})}
	r.mu.Lock()
	r.waiting = append(r.waiting, q)
	if r.readers < maxReaders {
		r.readers++
		go r.work()
	}
	r.mu.Unlock()
	select {
	case <-q.done:
		return q.missed, q.err
	case <-ctx.Done():
		return Missed{}, context.Cause(ctx)
	}
}

// work reads until nobody waits.
func (r *missedReads) work() {
	for {
		r.mu.Lock()
		n := min(len(r.waiting), maxTogether)
		if n == 0 {
			r.readers--
			r.mu.Unlock()
			return
		}
		group := slices.Clone(r.waiting[:n])
		r.waiting = slices.Delete(r.waiting, 0, n)
		r.mu.Unlock()
		log := *r.h.log.Load()
		slices.SortFunc(group, func(a, b *missedRead) int { return log.Compare(a.offset, b.offset) })
		r.serve(log, group)
	}
}

// serve reads what came after the oldest offset of a group that is sorted by offset. If not all of that is known any more, or it is too
// much, the newer half may still get what it has missed. A reading tells of the offset at which it began and of those that it has
// passed that they belong to the log; others are asked about apart.
func (r *missedReads) serve(log Log, group []*missedRead) {
	group = slices.DeleteFunc(group, func(q *missedRead) bool { return q.ctx.Err() != nil })
	if len(group) == 0 {
		return
	}
	for _, q := range group { // what a reading has brought that came to nothing is not to come twice
		q.missed, q.bytes, q.exceeded, q.passed = Missed{}, 0, false, false
	}
	ctx, cancel := context.WithTimeout(r.h.c.ctx, readTimeout)
	defer cancel()
	err := r.h.strangers.none(ctx)
	if err == nil {
		err = log.Ready(ctx)
	}
	if err == nil {
		group = slices.DeleteFunc(group, r.h.recent.Load().serve)
	}
	if len(group) == 0 {
		return
	}
	end, first := "", group[0].offset
	if err == nil {
		r.readings.Add(1)
		end, err = log.After(ctx, first, func(m *Message) bool { return take(log, group, m) })
	}
	if half := len(group) / 2; group[len(group)-1].offset != first && (errors.Is(err, ErrHistoryGap) || errors.Is(err, ErrHistoryLimit)) {
		r.serve(log, group[half:])
		r.serve(log, group[:half])
		return
	}
	var apart []*missedRead
	for _, q := range group {
		if err == nil && q.offset != first && !q.passed {
			apart = append(apart, q)
			continue
		}
		q.finish(log, end, err)
	}
	for len(apart) > 0 {
		n := 1
		for n < len(apart) && apart[n].offset == apart[0].offset {
			n++
		}
		r.serve(log, apart[:n:n])
		apart = apart[n:]
	}
}

// take gives a broadcast to those who have missed it, and reports whether somebody still wants more.
func take(log Log, group []*missedRead, m *Message) bool {
	kept := Kept(m.Packet, m.Flags)
	var event *parser.Payload
	more := false
	for _, q := range group {
		q.passed = q.passed || q.offset == m.Offset
		if q.exceeded {
			continue
		}
		if kept && log.Compare(q.offset, m.Offset) < 0 && m.Selection.Selects(q.rooms) {
			if event == nil {
				event = &withOffset(m.Packet, m.Offset).Payload
			}
			q.add(*event)
		}
		more = more || !q.exceeded
	}
	return more
}

func (q *missedRead) add(event parser.Payload) {
	q.missed.Events = append(q.missed.Events, event)
	q.bytes += keptCost + len(event.JSON)
	for _, a := range event.Attachments {
		q.bytes += len(a)
	}
	if q.exceeded = q.bytes > q.limits.Bytes || len(q.missed.Events) > q.limits.Packets; q.exceeded {
		q.missed.Events = nil
	}
}

// finish tells a client what has become of its wish. end is up to where the log was read.
func (q *missedRead) finish(log Log, end string, err error) {
	switch {
	case err != nil:
		q.missed, q.err = Missed{}, err
	case q.exceeded:
		q.missed, q.err = Missed{}, ErrHistoryLimit
	default:
		q.missed.Had = func(offset string) bool { return log.Compare(offset, end) <= 0 }
	}
	close(q.done)
}
