package adapter

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/question"
)

const (
	// checkDelay is how long a question waits before it finds out whether those it waits for still exist, checkInterval how long
	// from then on. A question with little time does so when half of it is over.
	checkDelay    = 250 * time.Millisecond
	checkInterval = 500 * time.Millisecond
	// listTime bounds how long the broker may take to tell which nodes there are.
	listTime = time.Second
	// newcomerTime is how long a question waits for a node that may have come after it.
	newcomerTime = time.Second
	// muteAfter is how long a question must have waited in vain for a node until later ones do not wait for it.
	muteAfter = time.Second
	// listeningTime is how long a question waits until its answers can be heard.
	listeningTime = time.Second
	// reassembleTime is how long the other nodes get to subscribe again after the broker was away, and recountInterval how often
	// they are counted meanwhile.
	reassembleTime  = time.Second
	recountInterval = 50 * time.Millisecond
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

// gather puts a question to all nodes, this one included, that each answers once; or to the one that the flags name.
func gather[T any](ctx context.Context, c *clustered, m *Message, local func() []T, values func(*Message) []T) (Result[T], error) {
	if c.closed.Load() {
		return Result[T]{}, ErrClosed
	}
	if m.Flags.Local || c.self(m.Flags.Node) {
		return Result[T]{Values: local()}, nil
	}
	if c.lost(m.Flags) {
		return Result[T]{Missing: []NodeID{m.Flags.Node}, Unanswered: 1}, ErrNodeUnreachable
	}
	ctx, cancel := c.limited(ctx, m.Flags)
	defer cancel()
	q, err := c.ask(ctx, m, nil)
	var result Result[T]
	if q == nil && m.Flags.Node == "" || q != nil && q.to == "" {
		result.Values = local()
	}
	if err != nil {
		result.Missing, result.Unanswered = c.unasked(m.Flags.Node, err)
		return result, err
	}
	end, err := c.wait(q)
	for _, a := range q.answers {
		result.Values = append(result.Values, values(a)...)
	}
	result.Missing, result.Unanswered = end.Missing, unheard(end.Unanswered, err)
	return result, err
}

// unasked tells who does not answer a question that could not be sent, as far as they are known.
func (c *clustered) unasked(to NodeID, err error) ([]NodeID, int) {
	missing := c.present()
	if to != "" {
		missing = []NodeID{to}
	}
	return missing, unheard(len(missing), err)
}

// unheard is how many nodes did not answer. While the broker is away there may be one that nobody can name.
func unheard(known int, err error) int {
	if errors.Is(err, ErrClusterUnavailable) {
		return max(known, 1)
	}
	return known
}

// ask sends a question. The caller must wait for it unless there is an error.
func (c *clustered) ask(ctx context.Context, m *Message, acks AckSink) (*openQuestion, error) {
	c.awaitListening(ctx)
	c.reassemble(ctx)
	if acks != nil {
		m.Flags.Timeout = patienceOfOthers(ctx)
	}
	q := &openQuestion{kind: m.Kind, before: c.foreign.before(), began: time.Now(), acks: acks, told: time.Now().Add(m.Flags.Timeout),
		losses: c.losses(), recount: make(chan struct{}, 1)}
	q.ctx, q.settle = context.WithCancelCause(ctx)
	asked, silent := c.members.Serving(c.local.Name())
	put := c.publish
	switch here := slices.Contains(asked, m.Flags.Node); {
	case here:
		q.to = m.Flags.Node
		asked, silent = []NodeID{q.to}, nil
		put = func(m *Message) error { return c.send(q.to, m) }
	case m.Flags.Only: // it has just gone
		q.settle(outcome{ErrNodeUnreachable})
		return nil, ErrNodeUnreachable
	}
	q.quiet, q.tally = silent, question.New(acks != nil, asked, silent)
	if err := c.questions.add(q); err != nil {
		return nil, err
	}
	m.Request, m.Sent = q.id, q.sent
	if err := put(m); err != nil {
		c.questions.remove(q)
		if c.closed.Load() { // the bus only knows that it sends nothing any more
			err = ErrClosed
		}
		return nil, err
	}
	return q, nil
}

// awaitListening waits, right after the namespace was opened, until answers are heard and this node is counted; for a second
// at most, and not at all while the broker is away.
func (c *clustered) awaitListening(ctx context.Context) {
	select {
	case <-c.listening:
		return
	default:
	}
	if _, err := c.countNodes(ctx); errors.Is(err, ErrClusterUnavailable) && c.losses() > 0 {
		return
	}
	timer := time.NewTimer(listeningTime)
	defer timer.Stop()
	select {
	case <-c.listening:
	case <-timer.C:
	case <-c.ctx.Done():
	case <-ctx.Done():
	}
}

// reassemble waits, once after the bus was cut off from the broker, until as many nodes are counted as there were before: they
// have to subscribe again too, and would miss the question. Half of the time is left for the question.
func (c *clustered) reassemble(ctx context.Context) {
	losses := c.losses()
	if c.gathered.Load() == losses {
		return
	}
	foreign, _ := c.foreign.last()
	want := 1 + len(c.present()) + foreign
	deadline, _ := ctx.Deadline()
	over := time.NewTimer(min(reassembleTime, time.Until(deadline)/2))
	defer over.Stop()
	recount := time.NewTicker(recountInterval)
	defer recount.Stop()
	for waiting := true; waiting; {
		count, err := c.countNodes(ctx)
		if errors.Is(err, ErrClusterUnavailable) {
			return // nobody can be back
		}
		if count >= want {
			break
		}
		select {
		case <-recount.C:
		case <-over.C:
			_ = c.members.Probe(ctx, c.present()) // no other question waits for those who are not back
			waiting = false
		case <-c.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
	}
	c.gathered.Store(losses)
}

// countNodes is Bus.Count, listOthers Bus.Nodes without this one and sorted, with the members in place of what a broker cannot
// tell.
func (c *clustered) countNodes(ctx context.Context) (int, error) {
	n, err := c.bus.Count(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return 1 + len(c.present()), nil
	}
	return n, err
}

func (c *clustered) listOthers(ctx context.Context) ([]NodeID, error) {
	names, err := c.bus.Nodes(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return c.present(), nil
	}
	self := c.members.Self().ID
	others := slices.DeleteFunc(slices.Clone(names), func(id NodeID) bool { return id == self })
	slices.Sort(others)
	return others, err
}

// present returns the members that serve the namespace and that the broker counts, sorted; silent ones are among them.
func (c *clustered) present() []NodeID {
	alive, silent := c.members.Serving(c.local.Name())
	if len(silent) == 0 {
		return alive
	}
	all := append(alive, silent...)
	slices.Sort(all)
	return all
}

// wait returns when the question is settled: because every node that exists has answered, with nil, or else with the
// context's error, ErrClosed or ErrClusterUnavailable. Nothing reaches the question's sink afterwards, and its results
// may be read. It runs on the goroutine of the call.
func (c *clustered) wait(q *openQuestion) (question.Outcome[NodeID], error) {
	defer c.questions.remove(q)
	c.count(q)
	deadline, _ := q.ctx.Deadline()
	timer := time.NewTimer(min(checkDelay, time.Until(deadline)/2))
	defer timer.Stop()
	for q.ctx.Err() == nil {
		select {
		case <-q.ctx.Done():
		case <-q.recount:
			c.count(q)
		case <-timer.C:
			c.check(q)
			timer.Reset(checkInterval)
		}
	}
	return c.conclude(q)
}

// count tells a question how many foreign nodes there are.
func (c *clustered) count(q *openQuestion) {
	if q.to != "" {
		q.tell(func(t *tally) { t.Counted(0, 0, []NodeID{q.to}) })
		return
	}
	c.probe(q, q.quiet)
	_, listened := c.foreign.last()
	c.census(q, listened)
}

// check finds out whether the nodes that a question waits for still exist, and gives the question up if answers may have been
// lost.
func (c *clustered) check(q *openQuestion) {
	if q.broken(c.losses()) {
		q.settle(outcome{ErrClusterUnavailable})
		return
	}
	members, foreign := q.outstanding()
	c.probe(q, members)
	if foreign {
		c.census(q, true)
	}
}

// probe finds out which members nobody is any more, or serve the namespace no longer: a change may have come between the list of
// those that are asked and the question, and is told late while a watcher is at work.
func (c *clustered) probe(q *openQuestion, members []NodeID) {
	if len(members) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(q.ctx, listTime)
	defer cancel()
	if err := c.members.Probe(ctx, members); errors.Is(err, ErrClusterUnavailable) {
		q.settle(outcome{ErrClusterUnavailable})
		return
	}
	present := c.present()
	for _, id := range members {
		if _, ok := slices.BinarySearch(present, id); !ok {
			q.gone(id)
		}
	}
}

// census asks the broker for the number of nodes, and for their names too if names is set, which tell what listens without being a
// node. If the broker does not answer in time, the next check asks again.
func (c *clustered) census(q *openQuestion, names bool) {
	ctx, cancel := context.WithTimeout(q.ctx, listTime)
	defer cancel()
	count, err := c.countNodes(ctx)
	var others []NodeID
	if err == nil && names {
		others, err = c.listOthers(ctx)
	}
	if err != nil {
		if errors.Is(err, ErrClusterUnavailable) || !names && ctx.Err() == nil {
			q.settle(outcome{err})
		}
		return
	}
	count--
	members := c.present()
	mute := c.foreign.saw(count-len(members), names && count > len(others))
	q.tell(func(t *tally) {
		if names {
			t.Listed(others, mute, members)
		} else {
			t.Counted(count, mute, members)
		}
	})
}

// conclude sums a question up, and remembers who did not answer.
func (c *clustered) conclude(q *openQuestion) (question.Outcome[NodeID], error) {
	err := endOf(q.ctx)
	timeIsOver := err == nil || errors.Is(err, context.DeadlineExceeded)
	if timeIsOver && q.broken(c.losses()) {
		err, timeIsOver = ErrClusterUnavailable, false
	}
	end := q.finish()
	if !end.Counted {
		return end, cmp.Or(err, ErrClusterUnavailable) // the broker has not even counted the nodes in all that time
	}
	// A handler of a server-side event may have nothing to say; everything else is answered by every node that works.
	inVain := timeIsOver && q.kind != KindServerSide && time.Since(q.began) >= muteAfter
	if q.to == "" {
		c.foreign.ended(end, inVain)
	}
	if inVain {
		for _, id := range end.Silent {
			c.members.Unanswered(id, q.began)
		}
	}
	return end, err
}
