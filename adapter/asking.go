package adapter

import (
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
	ctx, cancel := c.limited(ctx, m.Flags)
	defer cancel()
	q, err := c.ask(ctx, m, nil)
	var result Result[T]
	if q == nil && m.Flags.Node == "" || q != nil && q.to == "" {
		result.Values = local()
	}
	if err != nil {
		return result, err
	}
	end, err := c.wait(q)
	for _, a := range q.answers {
		result.Values = append(result.Values, values(a)...)
	}
	result.Missing, result.Unanswered = ids(end.Missing), end.Unanswered
	return result, err
}

// ask sends a question. It must be waited for unless there is an error.
func (c *clustered) ask(ctx context.Context, m *Message, acks AckSink) (*openQuestion, error) {
	c.awaitListening(ctx)
	c.reassemble(ctx)
	if acks != nil {
		m.Flags.Timeout = patienceOfOthers(ctx)
	}
	q := &openQuestion{kind: m.Kind, began: time.Now(), acks: acks, told: time.Now().Add(m.Flags.Timeout), losses: c.losses()}
	q.ctx, q.settle = context.WithCancelCause(ctx)
	asked, silent := c.members.Serving(c.local.Name())
	if slices.Contains(asked, m.Flags.Node) {
		q.to = m.Flags.Node
		asked, silent = []NodeID{q.to}, nil
	}
	q.begin(asked, silent)
	q.tally.Before(c.foreign.before())
	q.quiet = silent
	if err := c.questions.add(q); err != nil {
		return nil, err
	}
	m.Request, m.Sent = q.id, q.sent
	err := c.put(q, m)
	if err != nil {
		c.questions.remove(q)
		if c.closed.Load() { // the bus only knows that it sends nothing any more
			err = ErrClosed
		}
		return nil, err
	}
	return q, nil
}

func (c *clustered) put(q *openQuestion, m *Message) error {
	if q.to != "" {
		return c.send(q.to, m)
	}
	return c.publish(m)
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
	case <-c.done:
	case <-ctx.Done():
	}
}

// reassemble waits, once after the bus was cut off from the broker, until as many nodes are counted as there were before: they
// have to subscribe again too, and would miss the question. Half of the time is left for the question.
func (c *clustered) reassemble(ctx context.Context) {
	losses := c.losses()
	if !c.foreign.scattered(losses) {
		return
	}
	want := 1 + len(c.present()) + c.foreign.last()
	limit := reassembleTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	over := time.NewTimer(limit)
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
			_ = c.members.Probe(ctx, c.present()) // those who are not back are not waited for again
			waiting = false
		case <-c.done:
			return
		case <-ctx.Done():
			return
		}
	}
	c.foreign.gathered(losses)
}

// countNodes is Bus.Count, listNodes Bus.Nodes, with the members in place of what a broker cannot tell.
func (c *clustered) countNodes(ctx context.Context) (int, error) {
	n, err := c.bus.Count(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return 1 + len(c.present()), nil
	}
	return n, err
}

func (c *clustered) listNodes(ctx context.Context) ([]NodeID, error) {
	names, err := c.bus.Nodes(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return append(c.present(), c.members.Self().ID), nil
	}
	return names, err
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
func (c *clustered) wait(q *openQuestion) (question.Outcome, error) {
	defer c.questions.remove(q)
	c.count(q)
	deadline, _ := q.ctx.Deadline()
	timer := time.NewTimer(min(checkDelay, time.Until(deadline)/2))
	defer timer.Stop()
	for q.ctx.Err() == nil {
		select {
		case <-q.ctx.Done():
		case <-q.uncounted:
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
		q.counted(0, 0, []NodeID{q.to})
		return
	}
	c.probe(q, q.quiet)
	if c.foreign.listenedTo() { // a number would mislead
		c.list(q)
		return
	}
	nodes, err := c.countNodes(q.ctx)
	if err != nil {
		q.settle(outcome{err})
		return
	}
	members := c.present()
	q.counted(nodes-1, c.foreign.saw(nodes-1-len(members)), members)
}

// check finds out whether the nodes that a question waits for still exist, and gives the question up if answers may have been
// lost.
func (c *clustered) check(q *openQuestion) {
	if c.losses() != q.losses || q.unheard() {
		q.settle(outcome{ErrClusterUnavailable})
		return
	}
	members, foreign := q.outstanding(time.Since(q.began) >= newcomerTime)
	c.probe(q, members)
	if foreign && q.to == "" {
		c.list(q)
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

// list tells a question which nodes there are, and learns how many listen without being nodes.
func (c *clustered) list(q *openQuestion) {
	ctx, cancel := context.WithTimeout(q.ctx, listTime)
	defer cancel()
	count, err := c.countNodes(ctx)
	var names []NodeID
	if err == nil {
		names, err = c.listNodes(ctx)
	}
	switch {
	case errors.Is(err, ErrClusterUnavailable):
		q.settle(outcome{err})
	case err == nil:
		self := c.members.Self().ID
		others := slices.DeleteFunc(slices.Clone(names), func(id NodeID) bool { return id == self })
		slices.Sort(others)
		c.foreign.listened(count - 1 - len(others))
		members := c.present()
		foreign := slices.DeleteFunc(slices.Clone(others), func(id NodeID) bool {
			_, member := slices.BinarySearch(members, id)
			return member
		})
		q.listed(others, c.foreign.saw(len(foreign)), members)
	}
}

// conclude sums a question up, and remembers who did not answer.
func (c *clustered) conclude(q *openQuestion) (question.Outcome, error) {
	err := endOf(q.ctx)
	timeIsOver := err == nil || errors.Is(err, context.DeadlineExceeded)
	if timeIsOver && !q.isOver() && (c.losses() != q.losses || q.unheard()) {
		err, timeIsOver = ErrClusterUnavailable, false
	}
	end := q.finish()
	if end.Foreign < 0 {
		if err == nil {
			err = ErrClusterUnavailable // the broker has not even counted the nodes in all that time
		}
		return end, err
	}
	if end.Unanswered == 0 && q.to == "" {
		c.foreign.answered(end.Named)
	}
	// A handler of a server-side event may have nothing to say; everything else is answered by every node that works.
	inVain := timeIsOver && q.kind != KindServerSide && time.Since(q.began) >= muteAfter
	if inVain {
		if q.to == "" {
			c.foreign.silent(end.Mute)
		}
		for _, id := range end.Silent {
			c.members.Unanswered(NodeID(id), q.began)
		}
	}
	return end, err
}
