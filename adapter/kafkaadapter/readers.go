package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

// readers read the partitions that this node needs. One goroutine takes what the client has fetched and only sorts it; each partition
// has a worker while there is something to handle. All methods may be called concurrently.
type readers struct {
	// Static after construction.
	client *kgo.Client
	stats  *counters
	opts   Options
	self   adapter.NodeID
	clock  *clock
	handle func(a *arrived)            // on the worker of the partition
	own    func(namespace string) bool // whether records of this node are needed here
	wake   func()                      // tells the monitor that a place has to be found
	gap    func(at place)              // told of a partition of which records were lost, or that is another one
	gaps   atomic.Uint64               // how often that was so

	complaints seldom.Counted
	names      names // owned by run

	// Guarded by mu.
	mu   sync.Mutex
	list map[place]*reader
	ids  map[string]kadm.TopicID // by topic, as far as they are known
	left []*reader               // nobody wants them any more, but the client still reads them
}

// want has a partition read from its present end on. The channel is closed when that is known: what is written from then on will be
// handed over.
func (rs *readers) want(at place) (located <-chan struct{}) {
	rs.mu.Lock()
	r := rs.list[at]
	fresh := r == nil
	if fresh {
		r = rs.newReader(at)
		rs.list[at] = r
	}
	r.users++
	rs.mu.Unlock()
	if fresh {
		rs.wake()
	}
	return r.located
}

func (rs *readers) newReader(at place) *reader {
	r := &reader{place: at, located: make(chan struct{}), epoch: -1}
	r.feed = inflow.NewFeed(math.MaxInt, &rs.stats.inflow.Dropped, func(a arrival) {
		r.behind(a.gaps)
		for i := range a.letters {
			l := &a.letters[i]
			rs.handle(l)
			r.reached(position{l.topic, l.epoch, l.offset + 1})
		}
		r.reached(a.end)
		if r.feed.Waiting()-a.size < rs.opts.FeedLimit/2 { // what was just handled still counts
			r.flow.resume(rs.client, at)
		}
	})
	return r
}

// leave undoes want.
func (rs *readers) leave(at place) {
	rs.mu.Lock()
	r := rs.list[at]
	if r == nil {
		rs.mu.Unlock()
		return
	}
	r.users--
	over := r.users == 0
	if over {
		delete(rs.list, at)
		r.feed.Close()
		if r.known {
			rs.left = append(rs.left, r)
		}
	}
	rs.mu.Unlock()
	if over {
		rs.wake()
	}
}

// run takes what the client has fetched until ctx ends or the client is closed.
func (rs *readers) run(ctx context.Context) {
	pace := pace{gap: fetchTime}
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		if wait := pace.wait(time.Now()); wait > 0 {
			pause.Reset(wait)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
		}
		fetches := rs.client.PollFetches(ctx)
		pace.spend(time.Now())
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) { rs.take(place{p.Topic, p.Partition}, &p.FetchPartition) })
	}
}

// take sorts what was fetched of a partition.
func (rs *readers) take(at place, p *kgo.FetchPartition) {
	rs.mu.Lock()
	r := rs.list[at]
	if r == nil || !r.known || r.renewed {
		rs.mu.Unlock()
		return
	}
	var gap step
	if p.Err != nil {
		gap = r.troubledLocked(p.Err)
	}
	records := p.Records
	for len(records) > 0 && records[0].Offset < r.next { // it was told already
		records = records[1:]
	}
	if n := len(records); n > 0 {
		r.next, r.epoch, r.moved, r.err = records[n-1].Offset+1, records[n-1].LeaderEpoch, time.Now(), nil
	}
	end, gaps := position{r.topic, r.epoch, r.next}, r.gaps
	rs.mu.Unlock()
	rs.lose(gap)
	if p.Err != nil {
		rs.wake()
	}
	switch a := rs.sort(at, end, records); {
	case len(a.letters) == 0 && r.feed.Waiting() == 0:
		r.reached(end)
	case len(records) > 0:
		a.gaps = gaps
		r.feed.Push(a)
		if r.feed.Waiting() > rs.opts.FeedLimit {
			r.flow.stop(rs.client, at)
		}
	}
}

// relieve has partitions read again whose worker was done just before the reading was stopped.
func (rs *readers) relieve() {
	rs.mu.Lock()
	list := slices.Collect(maps.Values(rs.list))
	rs.mu.Unlock()
	for _, r := range list {
		if r.feed.Waiting() < rs.opts.FeedLimit/2 {
			r.flow.resume(rs.client, r.place)
		}
	}
}

// troubledLocked notes that a partition cannot be read, and returns what is known to be lost.
func (r *reader) troubledLocked(err error) (gap step) {
	var loss *kgo.ErrDataLoss
	if errors.As(err, &loss) { // the client goes on by itself
		r.gaps++
		r.next, r.goal, r.epoch = loss.ResetTo, 0, -1
		r.recede(position{r.topic, -1, loss.ResetTo})
		return step{place: r.place, was: loss.ConsumedTo, to: loss.ResetTo, lost: loss.ConsumedTo - loss.ResetTo, why: err}
	}
	r.err = fmt.Errorf("read partition %d of %s: %w", r.place.partition, r.place.topic, err)
	r.lost = true
	return step{}
}

// sort opens records on the outside, and leaves out what this node does not need.
func (rs *readers) sort(at place, end position, records []*kgo.Record) arrival {
	a := arrival{end: end}
	direct, log := at.topic == rs.opts.directTopic(), at.topic == rs.opts.logTopic()
	for i, r := range records {
		if r.Attrs.IsControl() {
			continue
		}
		rs.stats.received.Add(1)
		rs.stats.receivedBytes.Add(uint64(len(r.Value)))
		l, err := rs.names.open(r)
		if err != nil {
			rs.stats.inflow.BadFrames.Add(1)
			rs.complain(err, r)
			continue
		}
		byBroker := r.Attrs.TimestampType() == 1
		own := l.from == rs.self
		if own && byBroker && l.sent > 0 {
			rs.clock.learn(l.sent, r.Timestamp)
		}
		switch {
		case direct && l.to != rs.self:
			rs.stats.inflow.Foreign.Add(1)
			continue
		case log && own && !rs.own(l.namespace):
			continue
		}
		if a.letters == nil {
			a.letters = make([]arrived, 0, len(records)-i)
		}
		a.letters = append(a.letters, arrived{
			letter: l, place: at, offset: r.Offset, topic: end.topic, epoch: r.LeaderEpoch, stamp: r.Timestamp, byBroker: byBroker,
		})
		a.size += overhead + len(r.Value)
	}
	return a
}

// complain logs a record that is none of ours, seldom.
func (rs *readers) complain(err error, r *kgo.Record) {
	if held, ok := rs.complaints.Pass(inflow.TellEvery); ok {
		rs.opts.Logger.Warn("kafka record that cannot be used", "error", err, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "notLogged", held)
	}
}

// places lists the partitions, and which of them have to be found.
func (rs *readers) places() (all, unknown []place) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for at, r := range rs.list {
		all = append(all, at)
		r.before = r.next
		if !r.known || r.lost || r.renewed {
			unknown = append(unknown, at)
		}
	}
	return all, unknown
}

// awaited returns what is closed when all partitions that are wanted now have been found.
func (rs *readers) awaited() []<-chan struct{} {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	list := make([]<-chan struct{}, 0, len(rs.list))
	for _, r := range rs.list {
		list = append(list, r.located)
	}
	return list
}

// step is what the client has to be told of a partition: to read from an offset on, or not any more.
type step struct {
	place  place
	flow   *flow
	remove bool
	from   kgo.Offset
	add    bool
	// Of a gap.
	was, to, lost int64
	why           error
}

// departed takes note that those partitions are read no more that nobody wants.
func (rs *readers) departed() (steps []step) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.left {
		steps = append(steps, step{place: r.place, flow: &r.flow, remove: true})
	}
	rs.left = nil
	return steps
}

// found takes the bounds of a partition, as they are now: reading begins at its end, or goes on where it was, or where it can,
// or at the start of a topic that is another one than before. The monitor alone calls it.
func (rs *readers) found(at place, b bounds) (s step, some bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.list[at]
	if r == nil {
		return step{}, false
	}
	now := time.Now()
	switch {
	case !r.known:
		r.next, r.epoch, r.moved = b.end, b.epoch, now
		r.known, r.topic = true, rs.ids[at.topic]
		r.restart(position{r.topic, r.epoch, r.next})
		close(r.located)
		r.lost = rs.succeedLocked(at)
		return r.readLocked(now), true
	case r.renewed:
		r.renewed, r.topic = false, rs.ids[at.topic]
		return r.gapLocked(now, b.start, 1, errNewTopic), true
	case r.lost && r.next < b.start: // time has passed
		return r.gapLocked(now, b.start, b.start-r.next, kerr.OffsetOutOfRange), true
	case r.lost && r.before > b.end: // the broker has lost what was at the end; more may have been read since it was asked for that
		return r.gapLocked(now, b.end, r.next-b.end, kerr.OffsetOutOfRange), true
	case r.lost:
		return r.readLocked(now), true
	case b.end > r.goal && r.next >= r.goal:
		r.goal, r.since = b.end, now
	}
	if r.err != nil && now.Sub(r.tried) > 2*fetchWait {
		r.err = nil
	}
	return step{}, false
}

// succeedLocked reports whether the client still reads a partition for a former reader, which is not removed by itself any more: that
// would stop the reading for the present one.
func (rs *readers) succeedLocked(at place) bool {
	n := len(rs.left)
	rs.left = slices.DeleteFunc(rs.left, func(old *reader) bool { return old.place == at })
	return len(rs.left) < n
}

// position returns what is known of how far a partition was handed over.
func (rs *readers) position(at place) (position, bool) {
	rs.mu.Lock()
	r := rs.list[at]
	known := r != nil && r.known && !r.renewed
	rs.mu.Unlock()
	if !known {
		return position{}, false
	}
	r.handed.Lock()
	defer r.handed.Unlock()
	return r.stand, true
}

// breaks changes with every gap in a partition: when it is found, and when what is behind it is handed over.
func (rs *readers) breaks(at place) uint64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.list[at]
	if r == nil {
		return 0
	}
	r.handed.Lock()
	defer r.handed.Unlock()
	return r.gaps + r.holes
}

// misses reports whether what came after a position in a partition was read here once, and is not there any more.
func (rs *readers) misses(at place, from position) bool {
	rs.mu.Lock()
	r := rs.list[at]
	rs.mu.Unlock()
	return r != nil && r.misses(from)
}

// identify notes the id of a topic.
func (rs *readers) identify(topic string, id kadm.TopicID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.ids[topic] = id
}

// renew notes that a topic is another one than before, of which nothing was read.
func (rs *readers) renew(topic string) {
	rs.stats.newTopics.Add(1)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for at, r := range rs.list {
		r.renewed = r.renewed || at.topic == topic && r.known
	}
}

// suspicious reports whether a topic may have been deleted and made anew: where a partition ends before what was read of it, or the
// client does not know the topic any more.
func (rs *readers) suspicious(ends map[place]answer) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for at, r := range rs.list {
		if end, asked := ends[at]; asked && end.err == nil && end.offset < r.before || r.err != nil && missing(r.err) {
			return true
		}
	}
	return false
}

// tell tells the client. The monitor alone calls it.
func (rs *readers) tell(steps []step) {
	for _, s := range steps {
		rs.lose(s)
		if s.remove {
			s.flow.reset(rs.client, s.place)
			rs.client.RemoveConsumePartitions(map[string][]int32{s.place.topic: {s.place.partition}})
		}
		if s.add {
			rs.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.place.topic: {s.place.partition: s.from}})
		}
	}
}

// lose counts and logs a gap, if a step has one.
func (rs *readers) lose(s step) {
	if s.why == nil {
		return
	}
	rs.gaps.Add(1)
	rs.gap(s.place)
	rs.stats.lose(s.lost)
	rs.opts.Logger.Error("kafka partition cannot be read on from where it was: messages are lost",
		"topic", s.place.topic, "partition", s.place.partition, "from", s.was, "to", s.to, "at_least", s.lost, "reason", s.why)
}

// failure says what is wrong with the reading, nil if nothing is.
func (rs *readers) failure(now time.Time) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for at, r := range rs.list {
		switch {
		case r.err != nil:
			return r.err
		case r.known && r.next < r.goal && now.Sub(r.since) > rs.opts.AnswerTimeout && now.Sub(r.moved) > rs.opts.AnswerTimeout && !r.flow.is():
			return fmt.Errorf("partition %d of %s: %w", at.partition, at.topic, errNotRead)
		}
	}
	return nil
}

// figures returns how many partitions are read, and how many records in them are known to wait.
func (rs *readers) figures() (partitions int, lag int64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.list {
		lag += max(r.goal-r.next, 0)
	}
	return len(rs.list), lag
}

// close ends the workers.
func (rs *readers) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.list {
		r.feed.Close()
	}
}
