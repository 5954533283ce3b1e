package kafkaadapter

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

const (
	// recordOverhead is what a record may take in its batch beside key, value and headers, with the batch's own.
	recordOverhead = 128
)

// unavailable wraps the reason why the other nodes could not be reached.
func unavailable(err error) error { return fmt.Errorf("%w: %w", adapter.ErrClusterUnavailable, err) }

// publisher has the queue of records, a lane for each partition. One goroutine hands them to the client, which sends those of a
// partition in order, each once. What waits here can still be dropped; what the client has cannot. All that is queued or under way
// has one budget of bytes.
//
// A request costs a hundred times what a record does. So records that come within gatherTime go out together once there are more
// than a few hundred requests a second, see pace; below nothing waits.
type publisher struct {
	// Static after construction.
	client *kgo.Client
	stats  *counters
	opts   Options
	status *brokerstate.Status
	clock  *clock
	losses *outflow.Losses
	wake   chan struct{} // capacity 1

	// Owned by run.
	batch []*parcel
	pace  pace

	// Guarded by mu.
	mu      sync.Mutex
	open    bool // the topics are as they should be
	lanes   map[place]*lane
	longest map[string]int // by topic: the longest message, in bytes
	bytes   int
	records int
	closing bool
	closeBy time.Time
}

func newPublisher(client *kgo.Client, stats *counters, opts Options, status *brokerstate.Status, clock *clock) *publisher {
	p := &publisher{
		client: client, stats: stats, opts: opts, status: status, clock: clock, wake: make(chan struct{}, 1),
		lanes: make(map[place]*lane), longest: make(map[string]int), pace: pace{gap: gatherTime},
	}
	p.losses = outflow.NewLosses("kafka", opts.Logger, p.figures)
	return p
}

// send queues a letter. The error, which wraps adapter.ErrClusterUnavailable, says that it will not be sent: because Kafka has
// refused the last one, because it is of no use later and Kafka is away, because it is too long, or because the queue is full.
func (p *publisher) send(l letter, to place, how post) error {
	how.passing = how.passing || how.member || how.reply
	if how.passing {
		if l.at = p.clock.now(); l.at == 0 {
			l.at = -1 // the broker's clock is not known: the record's own time counts
		}
	}
	if how.member {
		l.sent = max(p.clock.elapsed(), 1)
	}
	parcel := &parcel{record: l.record(to.topic, to.partition), post: how, queued: time.Now()}
	parcel.size = overhead + sizeOf(parcel.record)
	p.mu.Lock()
	if reason, err := p.refuseLocked(parcel, to); err != nil {
		p.mu.Unlock()
		p.stats.Drop(reason, 1)
		if reason == outflow.Full {
			p.losses.Add(reason, 1)
		}
		return err
	}
	parcel.lane = p.laneLocked(to)
	parcel.lane.waiting.Push(parcel)
	p.bytes += parcel.size
	p.records++
	p.mu.Unlock()
	p.poke()
	return nil
}

// sizeOf is how many bytes are in a record.
func sizeOf(r *kgo.Record) int {
	size := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		size += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 4
	}
	return size
}

func (p *publisher) laneLocked(to place) *lane {
	l := p.lanes[to]
	if l == nil {
		l = &lane{place: to}
		p.lanes[to] = l
	}
	return l
}

// refuseLocked returns why a parcel is not queued.
func (p *publisher) refuseLocked(parcel *parcel, to place) (reason string, err error) {
	longest := p.longest[to.topic]
	size := parcel.size - overhead + recordOverhead
	switch {
	case p.closing:
		return outflow.Closed, unavailable(errClosed)
	case longest > 0 && size > longest:
		return outflow.TooLarge, unavailable(fmt.Errorf("%w: %d of %d bytes", errTooLarge, size, longest))
	case p.bytes+parcel.size > p.opts.QueueLimit && p.bytes > 0:
		return outflow.Full, adapter.ErrQueueFull
	case parcel.passing && !parcel.member && !parcel.reply:
		if state, reason := p.status.Current(); state == Down {
			return outflow.Down, unavailable(reason)
		}
	}
	l := p.lanes[to]
	if l == nil || l.refused == nil {
		return "", nil
	}
	if parcel.queued.Sub(l.tried) >= outflow.TryRefused {
		l.tried = parcel.queued
		return "", nil
	}
	return outflow.Refused, unavailable(l.refused)
}

func (p *publisher) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// begin lets what waits go out. longest are the longest messages of topics; of those that are not in it the client's own limit counts.
func (p *publisher) begin(longest map[string]int) {
	p.mu.Lock()
	p.open = true
	for name, n := range longest {
		p.longest[name] = n
	}
	p.mu.Unlock()
	p.poke()
}

// close lets run send what is queued and end, within outflow.CloseWithin.
func (p *publisher) close() {
	p.mu.Lock()
	p.closing, p.closeBy = true, time.Now().Add(outflow.CloseWithin)
	p.mu.Unlock()
	p.poke()
}

// run sends what is queued until close.
func (p *publisher) run(ctx context.Context) {
	look := time.NewTicker(outflow.LookAfter)
	defer look.Stop()
	later := time.NewTimer(time.Hour)
	defer later.Stop()
	for !p.ended(time.Now()) {
		if wait := p.pace.wait(time.Now()); wait > 0 {
			later.Reset(wait)
		} else if p.handOver(ctx) {
			p.pace.spend(time.Now())
			continue
		}
		select {
		case <-p.wake:
		case <-later.C:
		case <-look.C:
			p.dropOld(time.Now())
		}
	}
	p.forget()
}

// ended reports whether nothing is left to do after close.
func (p *publisher) ended(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing && (p.records == 0 || now.After(p.closeBy))
}

// handOver gives the client what may go out, and reports whether there was something.
func (p *publisher) handOver(ctx context.Context) bool {
	now := time.Now()
	p.mu.Lock()
	if p.open {
		for _, l := range p.lanes {
			p.batch = l.take(p.batch, now)
		}
	}
	p.mu.Unlock()
	some := len(p.batch) > 0
	for _, parcel := range p.batch {
		p.client.TryProduce(ctx, parcel.record, func(r *kgo.Record, err error) { p.landed(parcel, r, err) })
	}
	clear(p.batch)
	p.batch = p.batch[:0]
	return some
}

// landed takes what has become of a parcel. The client calls it, for one parcel at a time.
func (p *publisher) landed(parcel *parcel, r *kgo.Record, err error) {
	kind := ""
	if err != nil {
		kind = trouble(err)
	}
	now := time.Now()
	p.mu.Lock()
	l := parcel.lane
	l.landed(parcel, err == nil, now)
	p.bytes -= parcel.size
	p.records--
	switch kind {
	case "":
		l.refused = nil
	case "noperm", "auth":
		l.refused, l.tried = fmt.Errorf("kafka refuses to write to %s: %w", l.place.topic, err), now
	}
	lost := err != nil && !p.closing
	more := l.waiting.Len() > 0 || p.closing
	p.mu.Unlock()
	if more {
		p.poke()
	}
	if err == nil {
		p.stats.Sent.Add(1)
		if parcel.sent != nil {
			parcel.sent(adapter.Receipt{Receivers: -1, Offset: strconv.FormatInt(r.Offset, 10)})
		}
		return
	}
	p.stats.Fail(kind, 1)
	parcel.fail(err)
	if lost {
		p.losses.Add(outflow.Failed, 1, "topic", l.place.topic, "partition", l.place.partition, "error", err)
	}
}

// dropOld ends what has waited for too long, and forgets what Kafka refused long ago.
func (p *publisher) dropOld(now time.Time) {
	old := func(c *parcel) bool { return c.tooOld(now, p.opts.QueueAge) }
	var list []*parcel
	p.mu.Lock()
	for _, l := range p.lanes {
		list = l.waiting.TakeIf(list, old)
		if l.refused != nil && now.Sub(l.tried) > outflow.TryRefusedFor {
			l.refused = nil
		}
	}
	kept := 0
	for _, c := range list {
		p.bytes -= c.size
		p.records--
		if !c.passing {
			kept++
		}
	}
	p.mu.Unlock()
	p.stats.Drop(outflow.Stale, len(list))
	for _, c := range list {
		c.fail(errTooOld)
	}
	p.losses.Add(outflow.Stale, kept)
	p.losses.Settle()
}

// forget ends all that is left when the publisher closes. What the client has it ends itself.
func (p *publisher) forget() {
	var list []*parcel
	p.mu.Lock()
	for _, l := range p.lanes {
		list = l.waiting.TakeIf(list, func(*parcel) bool { return true })
	}
	for _, c := range list {
		p.bytes -= c.size
		p.records--
	}
	p.mu.Unlock()
	p.stats.Drop(outflow.Closed, len(list))
	for _, c := range list {
		c.fail(errClosed)
	}
}

// failure says what is wrong with the writing, nil if nothing is.
func (p *publisher) failure(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		switch {
		case l.refused != nil:
			return l.refused
		case l.owed(now) > p.opts.AnswerTimeout:
			return fmt.Errorf("partition %d of %s: %w", l.place.partition, l.place.topic, errNoAnswer)
		}
	}
	return nil
}

// figures returns what is queued or under way.
func (p *publisher) figures() (records, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records, p.bytes
}
