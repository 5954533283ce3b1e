package natsadapter

import (
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

const (
	// overhead is about what a message takes beside its subject and its body.
	overhead = 256
)

// post says what is to be done with a message.
type post struct {
	// namespace is the one that speaks; "" is the membership.
	namespace string
	// passing says that the message is of no use later: it is refused while NATS is away, and waits for two seconds at most. What the
	// membership says is of use as long as it is on its way.
	passing bool
	// reply says that it answers a question that has just come through NATS: it waits for its turn whatever is known of NATS.
	reply bool
	// single says that it goes to one node, so that NATS can tell whether nobody listens.
	single bool
	// from is what else the receiver is told of the sender: the subject on which that speaks to all. "" tells nothing.
	from string
	// sent is told what has become of the message, if it was queued. It does not block; nil if nobody wants to know.
	sent func(adapter.Receipt)
}

// postOf returns what is to be done with a message: questions and volatile messages are of no use later.
func postOf(namespace string, m *adapter.Message) post {
	return post{namespace: namespace, passing: m.Request != "" || m.Flags.Volatile, sent: m.Sent}
}

// answerOf is the post of answers: who asked does not wait for long.
func answerOf(namespace string) post { return post{namespace: namespace, passing: true, reply: true} }

// outgoing is a message that is queued or was written.
type outgoing struct {
	post
	subject string
	body    []byte
	queued  time.Time
}

func (o *outgoing) size() int { return overhead + len(o.subject) + len(o.body) }

// tooOld reports whether the message has waited for too long.
func (o *outgoing) tooOld(now time.Time, limit time.Duration) bool {
	if o.passing && o.namespace != "" {
		limit = min(limit, outflow.PassingAge)
	}
	return now.Sub(o.queued) > limit
}

// fail tells that the message was not sent, or may not have been.
func (o *outgoing) fail(err error) {
	if o.sent != nil {
		o.sent(adapter.Receipt{Err: fmt.Errorf("%w: %w", adapter.ErrClusterUnavailable, err), Receivers: -1})
	}
}

func failAll(list []*outgoing, err error) {
	for _, o := range list {
		o.fail(err)
	}
}

// queue has what waits to be written. All methods may be called concurrently, and none blocks.
type queue struct {
	// Static after construction.
	opts   Options
	stats  *counters
	wake   chan struct{} // capacity 1
	losses *outflow.Losses

	// Guarded by mu.
	mu       sync.Mutex
	waiting  outflow.Queue[*outgoing]
	bytes    int
	largest  int64               // what the server takes, 0 if it is not known
	refusals map[string]*refusal // by subject
	closing  bool
	closeBy  time.Time
}

// refusal is what NATS does not let us publish.
type refusal struct {
	err          error
	since, tried time.Time
	last         time.Time // when it was said last
}

func newQueue(opts Options, stats *counters) *queue {
	q := &queue{opts: opts, stats: stats, wake: make(chan struct{}, 1), refusals: make(map[string]*refusal)}
	q.losses = outflow.NewLosses("nats", opts.Logger, q.figures)
	return q
}

// put queues a message. away is the reason why NATS cannot be reached at the moment, if it cannot. The error, which wraps
// adapter.ErrClusterUnavailable, says that the message will not be sent.
func (q *queue) put(o *outgoing, away error) error {
	q.mu.Lock()
	reason, err := q.refuseLocked(o, away)
	if err != nil {
		q.mu.Unlock()
		q.stats.Drop(reason, 1)
		switch reason {
		case outflow.Full:
			q.losses.Add(reason, 1)
		case outflow.TooLarge:
			q.tellLarge(o, err)
		}
		return err
	}
	q.bytes += o.size()
	q.waiting.Push(o)
	q.mu.Unlock()
	q.poke()
	return nil
}

// refuseLocked returns why a message is not queued.
func (q *queue) refuseLocked(o *outgoing, away error) (reason string, err error) {
	switch {
	case q.closing:
		return outflow.Closed, fmt.Errorf("%w: %w", adapter.ErrClusterUnavailable, errClosed)
	case away != nil && o.passing && !o.reply:
		return outflow.Down, fmt.Errorf("%w: %w", adapter.ErrClusterUnavailable, away)
	case q.largest > 0 && int64(len(o.body)) > q.largest:
		return outflow.TooLarge, q.tooLargeLocked(len(o.body), o.subject)
	case q.bytes+o.size() > q.opts.QueueLimit && q.bytes > 0:
		return outflow.Full, adapter.ErrQueueFull
	}
	r := q.refusals[o.subject]
	if r == nil {
		return "", nil
	}
	if o.queued.Sub(r.tried) >= outflow.TryRefused {
		r.tried = o.queued
		return "", nil
	}
	return outflow.Refused, fmt.Errorf("%w: %w", adapter.ErrClusterUnavailable, r.err)
}

// most returns how many bytes the server takes at once, or a bound if that is less.
func (q *queue) most(bound int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.largest > 0 {
		bound = min(bound, int(q.largest))
	}
	return bound
}

// fits returns an error if the server does not take as many bytes at once.
func (q *queue) fits(bytes int, subject string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.largest > 0 && int64(bytes) > q.largest {
		q.stats.Drop(outflow.TooLarge, 1)
		return q.tooLargeLocked(bytes, subject)
	}
	return nil
}

func (q *queue) tooLargeLocked(bytes int, subject string) error {
	return fmt.Errorf("%w: message of %d bytes on %s is larger than the nats server's max_payload of %d: %w, %w",
		adapter.ErrClusterUnavailable, bytes, subject, q.largest, adapter.ErrTooLarge, nats.ErrMaxPayload)
}

func (q *queue) tellLarge(o *outgoing, err error) {
	if held, ok := q.stats.WorthTelling(outflow.TooLarge); ok {
		q.opts.Logger.Error("message for other nodes is too large", "error", err, "namespace", o.namespace, "notLogged", held)
	}
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take appends what is to be written next to batch, until that is full. What is too old or too large is dropped.
func (q *queue) take(batch []*outgoing) []*outgoing {
	now := time.Now()
	var old, large []*outgoing
	q.mu.Lock()
	for q.waiting.Len() > 0 && len(batch) < cap(batch) {
		o := q.waiting.Pop()
		q.bytes -= o.size()
		switch {
		case o.tooOld(now, q.opts.QueueAge):
			old = append(old, o)
		case q.largest > 0 && int64(len(o.body)) > q.largest:
			large = append(large, o)
		default:
			batch = append(batch, o)
		}
	}
	q.mu.Unlock()
	q.ended(old, outflow.Stale, errTooOld)
	for _, o := range large {
		q.mu.Lock()
		err := q.tooLargeLocked(len(o.body), o.subject)
		q.mu.Unlock()
		q.ended([]*outgoing{o}, outflow.TooLarge, err)
		q.tellLarge(o, err)
	}
	return batch
}

// putBack puts what could not be written in front of what waits.
func (q *queue) putBack(list []*outgoing) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting.PutBack(list)
	for _, o := range list {
		q.bytes += o.size()
	}
}

// dropOld ends what has waited for too long, and forgets what NATS refused long ago.
func (q *queue) dropOld(now time.Time) {
	q.mu.Lock()
	old := q.waiting.TakeIf(nil, func(o *outgoing) bool { return o.tooOld(now, q.opts.QueueAge) })
	for _, o := range old {
		q.bytes -= o.size()
	}
	for subject, r := range q.refusals {
		if now.Sub(r.last) > outflow.TryRefusedFor {
			delete(q.refusals, subject)
		}
	}
	q.mu.Unlock()
	q.ended(old, outflow.Stale, errTooOld)
	q.losses.Settle()
}

// ended counts and ends what was not sent.
func (q *queue) ended(list []*outgoing, reason string, err error) {
	q.stats.Drop(reason, len(list))
	kept := 0
	for _, o := range list {
		if !o.passing {
			kept++
		}
	}
	failAll(list, err)
	if reason == outflow.Stale {
		q.losses.Add(reason, kept)
	}
}

// limit notes what the server takes.
func (q *queue) limit(largest int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.largest = largest
}

// refused notes that NATS does not let us publish on a subject, and reports whether the node cannot do without it.
func (q *queue) refused(subject string, err error) (needed bool) {
	if subject == commonSubject {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	r := q.refusals[subject]
	if r == nil {
		r = &refusal{since: now, tried: now}
		q.refusals[subject] = r
	}
	r.err, r.last = err, now
	return true
}

// refusedOn returns what NATS has refused on a subject, nil if there is nothing.
func (q *queue) refusedOn(subject string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r := q.refusals[subject]; r != nil {
		return r.err
	}
	return nil
}

// refusal returns what NATS has refused for longest, nil if there is nothing.
func (q *queue) refusal() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var first *refusal
	for _, r := range q.refusals {
		if first == nil || r.since.Before(first.since) {
			first = r
		}
	}
	if first == nil {
		return nil
	}
	return first.err
}

// close has nothing more come in.
func (q *queue) close() {
	q.mu.Lock()
	q.closing, q.closeBy = true, time.Now().Add(outflow.CloseWithin)
	q.mu.Unlock()
	q.poke()
}

// ending reports whether nothing more comes in.
func (q *queue) ending() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closing
}

// over reports whether nothing is left to do after close.
func (q *queue) over() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closing && (q.waiting.Len() == 0 || time.Now().After(q.closeBy))
}

// forget ends all that is left.
func (q *queue) forget() {
	q.mu.Lock()
	list := q.waiting.TakeAll()
	q.bytes = 0
	q.mu.Unlock()
	q.ended(list, outflow.Closed, errClosed)
}

// figures returns what waits.
func (q *queue) figures() (messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len(), q.bytes
}
