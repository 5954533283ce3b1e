package adapter

import (
	"context"
	"errors"
	"time"
)

const (
	// censusDelay is how long a question waits before it finds out which nodes exist at all, censusInterval how long from
	// then on. A question with little time asks when half of it is over.
	censusDelay    = 250 * time.Millisecond
	censusInterval = 500 * time.Millisecond
	// censusAge is how old the list of the nodes may be that questions share.
	censusAge = 100 * time.Millisecond
	// suspectAfter is how long a node must have been silent before later questions do not wait for it, and the question itself
	// does not if the node may have taken the place of another one.
	suspectAfter = time.Second
	// maxAnswers is how many nodes a question hears, unless the broker counts more: whoever can publish can answer in the
	// names of nodes that do not exist.
	maxAnswers = 4096
	// maxOpen is how many sockets a question waits for at once, each of which takes memory when it stays silent: more than a
	// cluster has. The count of a node that goes beyond it is not believed.
	maxOpen = 1 << 24
)

// outcome is the cause that ends the context of a settled question. Any other cause is the application's.
type outcome struct{ err error }

func (outcome) Error() string { return "question is settled" }

// endOf returns why the context of a question has ended: nil if it was answered or had no deadline but our own.
func endOf(ctx context.Context) error {
	var o outcome
	if errors.As(context.Cause(ctx), &o) {
		return o.err
	}
	return ctx.Err()
}

// limited returns a context with a deadline.
func (c *clustered) limited(ctx context.Context, flags Flags) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	timeout := flags.Timeout
	if timeout <= 0 {
		timeout = c.opts.Timeout
	}
	return context.WithTimeoutCause(ctx, timeout, outcome{})
}

// gather puts a question to all nodes, this one included, that each answers once.
func gather[T any](ctx context.Context, c *clustered, m *Message, local func() []T, values func(*Message) []T) (Result[T], error) {
	if c.closed.Load() {
		return Result[T]{}, ErrClosed
	}
	if m.Flags.Local {
		return Result[T]{Values: local()}, nil
	}
	ctx, cancel := c.limited(ctx, m.Flags)
	defer cancel()
	q, err := c.ask(ctx, m, nil)
	result := Result[T]{Values: local()}
	if err != nil {
		return result, err
	}
	err = c.wait(q)
	for _, a := range q.answers {
		result.Values = append(result.Values, values(a)...)
	}
	result.Missing, result.Unanswered = q.missing, q.unanswered
	return result, err
}

// ask sends a question. It must be waited for unless there is an error.
func (c *clustered) ask(ctx context.Context, m *Message, acks AckSink) (*question, error) {
	c.bus.Listening(ctx)
	c.reassemble(ctx)
	if acks != nil {
		m.Flags.Timeout = patienceOfOthers(ctx)
	}
	now := time.Now()
	q := &question{kind: m.Kind, began: now, acks: acks, told: now.Add(m.Flags.Timeout), expected: -1, parts: make(map[NodeID]*part),
		losses: c.losses(), before: c.census.recent(now)}
	q.ctx, q.settle = context.WithCancelCause(ctx)
	if err := c.questions.add(q); err != nil {
		return nil, err
	}
	m.Request, m.Sent = q.id, q.sent
	if err := c.bus.Publish(m); err != nil {
		c.questions.remove(q)
		if c.closed.Load() { // the bus only knows that it sends nothing any more
			err = ErrClosed
		}
		return nil, err
	}
	return q, nil
}

// reassemble waits, once after the bus was cut off from the broker, until as many nodes are counted as there were before: they
// have to subscribe again too, and would miss the question. Half of the time is left for the question.
func (c *clustered) reassemble(ctx context.Context) {
	losses := c.losses()
	want, scattered := c.census.scattered(losses)
	if !scattered {
		return
	}
	limit := reassembleTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	over := time.NewTimer(limit)
	defer over.Stop()
	recount := time.NewTicker(recountInterval)
	defer recount.Stop()
	for waiting := true; waiting; {
		count, err := c.bus.Count(ctx)
		if errors.Is(err, ErrClusterUnavailable) {
			return // nobody can be back
		}
		if count >= want {
			break
		}
		select {
		case <-recount.C:
		case <-over.C:
			waiting = false
		case <-c.done:
			return
		case <-ctx.Done():
			return
		}
	}
	c.census.gathered(losses)
}

// wait returns when the question is settled: because every node that exists has answered, with nil, or else with the
// context's error, ErrClosed or ErrClusterUnavailable. Nothing reaches the question's sink afterwards, and its results
// may be read. It runs on the goroutine of the call.
func (c *clustered) wait(q *question) error {
	defer c.questions.remove(q)
	count, err := c.bus.Count(q.ctx)
	switch {
	case err != nil:
		q.settle(outcome{err})
	case c.census.doubtful():
		q.counted(count - 1)
		c.compare(q, count, q.began)
	default:
		q.expect(count - 1)
	}
	deadline, _ := q.ctx.Deadline()
	timer := time.NewTimer(min(censusDelay, time.Until(deadline)/2))
	defer timer.Stop()
	for q.ctx.Err() == nil {
		select {
		case <-q.ctx.Done():
		case <-timer.C:
			since := time.Now().Add(-censusAge)
			if since.Before(q.began) {
				since = q.began
			}
			c.compare(q, count, since)
			timer.Reset(censusInterval)
		}
	}
	err = endOf(q.ctx)
	timeIsOver := err == nil || errors.Is(err, context.DeadlineExceeded)
	if timeIsOver && !q.settled() && (c.losses() != q.losses || q.unheard()) {
		err, timeIsOver = ErrClusterUnavailable, false
	}
	known := q.finish(&c.census)
	if err == nil && !known {
		err = ErrClusterUnavailable // the broker has not even counted the nodes in all that time
	}
	// A handler of a server-side event may have nothing to say; everything else is answered by every node that works.
	if timeIsOver && q.kind != KindServerSide && time.Since(q.began) >= suspectAfter {
		c.census.suspect(q.silent)
	}
	return err
}

// compare holds the answers against a list of the nodes that is not older than since. It gives the question up if answers
// may have been lost.
func (c *clustered) compare(q *question, count int, since time.Time) {
	nodes, err := c.census.nodes(q.ctx, since)
	switch {
	case c.losses() != q.losses || q.unheard():
		q.settle(outcome{ErrClusterUnavailable})
	case err == nil:
		q.compare(c.census.others(count, nodes))
	case errors.Is(err, ErrClusterUnavailable):
		q.settle(outcome{err})
	default:
		q.expect(count - 1)
	}
}
