package kafkaadapter

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

const (
	// windowBytes is how much of one partition is under way at most: enough for 30 MB/s when an answer takes 120 ms.
	windowBytes = 4 << 20
	// silentAfter is how long nothing is acknowledged until nothing more is handed to the client, if that usually takes less than
	// half: what waits here can still be dropped.
	silentAfter = 250 * time.Millisecond
	// overhead is about what a record takes beside its bytes: the client's form of it, ours, and its places in queues.
	overhead = 512
)

// place is a partition.
type place struct {
	topic     string
	partition int32
}

// post says what is to be done with a record.
type post struct {
	// passing says that the record is of no use later: it is refused while Kafka is away, and waits for two seconds at most.
	passing bool
	// member says that the membership speaks, reply that it is the answer to a question that has just come through Kafka. Both are
	// passing, but wait for their turn whatever is known of Kafka.
	member, reply bool
	// sent is told what has become of the record, if it was queued. It does not block; nil if nobody wants to know.
	sent func(adapter.Receipt)
}

// parcel is a record that is queued or under way.
type parcel struct {
	record *kgo.Record
	lane   *lane
	post
	size   int
	queued time.Time
}

// tooOld reports whether the parcel has waited for too long.
func (p *parcel) tooOld(now time.Time, limit time.Duration) bool {
	if p.passing {
		limit = min(limit, outflow.PassingAge)
	}
	return now.Sub(p.queued) > limit
}

// fail tells that the record was not taken, or may not have been.
func (p *parcel) fail(err error) {
	if p.sent != nil {
		p.sent(adapter.Receipt{Err: unavailable(err), Receivers: -1})
	}
}

// lane is what goes to one partition, in order. It is guarded by publisher.mu.
type lane struct {
	place   place
	waiting outflow.Queue[*parcel]
	flying  int // parcels that the client has
	size    int // of these, in bytes
	// heard is when something was last acknowledged, or nothing was under way; begun when the first parcel after a pause was handed
	// over, zero once it is acknowledged; trip how long that took the last time.
	heard, begun time.Time
	trip         time.Duration
	// refused is why Kafka did not let us write here, nil if it does; tried is when it was last asked.
	refused error
	tried   time.Time
}

// take moves what may go out now from those that wait to those under way, and appends it to list.
func (l *lane) take(list []*parcel, now time.Time) []*parcel {
	if l.waiting.Len() == 0 {
		return list
	}
	if l.flying == 0 {
		l.heard, l.begun = now, now
	} else if now.Sub(l.heard) > max(silentAfter, 2*l.trip) {
		return list
	}
	for l.waiting.Len() > 0 && (l.flying == 0 || l.size+l.waiting.First().size <= windowBytes) {
		p := l.waiting.Pop()
		l.flying++
		l.size += p.size
		list = append(list, p)
	}
	return list
}

// landed notes that a parcel is not under way any more. answered says that Kafka has said so.
func (l *lane) landed(p *parcel, answered bool, now time.Time) {
	l.flying--
	l.size -= p.size
	if !answered {
		return
	}
	if l.heard = now; !l.begun.IsZero() {
		l.trip, l.begun = now.Sub(l.begun), time.Time{}
	}
}

// owed is for how long Kafka has acknowledged nothing of what is under way.
func (l *lane) owed(now time.Time) time.Duration {
	if l.flying == 0 {
		return 0
	}
	return now.Sub(l.heard)
}
