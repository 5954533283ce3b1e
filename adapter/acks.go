package adapter

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/question"
	"github.com/sockeye-io/sockeye/server/parser"
)

// BroadcastWithAck waits for the other nodes and for its own sockets, which are served at once.
func (c *clustered) BroadcastWithAck(ctx context.Context, p *parser.Packet, sel Selection, flags Flags, acks AckSink) (AckSummary, error) {
	if c.closed.Load() {
		return AckSummary{}, ErrClosed
	}
	if c.lost(flags) {
		return AckSummary{Missing: []NodeID{flags.Node}, Unanswered: 1}, ErrNodeUnreachable
	}
	ctx, cancel := c.limited(ctx, flags)
	defer cancel()
	var own *localAcks
	if flags.Local || !c.reaches(flags.Node) { // else the sockets of that node alone are meant
		var err error
		if own, err = c.deliverWithAck(ctx, p, sel, flags, acks); err != nil {
			return AckSummary{}, err
		}
	}
	var summary AckSummary
	var err error
	if !flags.Local && !c.self(flags.Node) {
		var q *openQuestion
		q, err = c.ask(ctx, &Message{Kind: KindBroadcast, Packet: p, Selection: sel, Flags: flags}, acks)
		if q == nil {
			summary.Missing, summary.Unanswered = c.unasked(flags.Node, err)
		} else {
			var end question.Outcome[NodeID]
			end, err = c.wait(q)
			summary = AckSummary{Missing: end.Missing, Unanswered: unheard(end.Unanswered, err)}
		}
	}
	if own != nil {
		if ownErr := own.wait(ctx, c.ctx.Done()); err == nil {
			err = ownErr
		}
	}
	return summary, err
}

// deliverWithAck delivers a packet to this node's sockets, in its turn.
func (c *clustered) deliverWithAck(ctx context.Context, p *parser.Packet, sel Selection, flags Flags, acks AckSink) (*localAcks, error) {
	h := c.history.Load()
	if h == nil {
		return deliverWithAck(c.local, p, sel, flags, acks), nil
	}
	return deliverInTurn(ctx, h.Turn, func() *localAcks { return deliverWithAck(c.local, p, sel, flags, acks) })
}

// deliverInTurn delivers when it is its turn, or not at all if ctx ends before that.
func deliverInTurn(ctx context.Context, turn func(func()), deliver func() *localAcks) (*localAcks, error) {
	var begun atomic.Bool
	own := make(chan *localAcks, 1)
	turn(func() {
		if begun.CompareAndSwap(false, true) {
			own <- deliver()
		}
	})
	select {
	case w := <-own:
		return w, nil
	case <-ctx.Done():
	}
	if begun.CompareAndSwap(false, true) {
		return nil, endOf(ctx)
	}
	return <-own, nil
}

// patienceOfOthers returns how long other nodes are to wait for their sockets: a little less than the call does, so
// that it still hears which ones stayed silent.
func patienceOfOthers(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	return max(left-min(left/10, 50*time.Millisecond), time.Millisecond)
}

// localAcks counts the answers of this node's sockets; they may come before their number is known.
type localAcks struct {
	// Static after construction.
	sink   AckSink
	all    chan struct{}   // closed when every socket has answered or gone
	cancel func() []string // set before wait

	mu sync.Mutex
	// Guarded by mu.
	answered, expected int
	known, stopped     bool
}

// deliverWithAck delivers a packet to this node's sockets. The caller must wait for their answers.
func deliverWithAck(l Local, p *parser.Packet, sel Selection, flags Flags, sink AckSink) *localAcks {
	w := &localAcks{sink: sink, all: make(chan struct{})}
	var n int
	n, w.cancel = l.DeliverWithAck(p, sel, flags, w.ack, w.gone)
	w.expect(n)
	return w
}

// wait returns when all sockets have answered or gone, or with an error when ctx or done has ended. The sink is not
// called any more afterwards.
func (w *localAcks) wait(ctx context.Context, done <-chan struct{}) error {
	var err error
	select {
	case <-w.all:
		return nil
	case <-ctx.Done():
		err = endOf(ctx)
	case <-done:
		err = ErrClosed
	}
	for _, sid := range w.cancel() {
		w.gone(sid)
	}
	w.stop()
	return err
}

func (w *localAcks) expect(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sink.Expected(n)
	w.expected, w.known = n, true
	w.checkLocked()
}

func (w *localAcks) ack(sid string, value parser.Payload) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.sink.Ack("", sid, value)
		w.answered++
		w.checkLocked()
	}
}

func (w *localAcks) gone(sid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.sink.Gone("", sid)
		w.answered++
		w.checkLocked()
	}
}

func (w *localAcks) checkLocked() {
	if w.known && w.answered == w.expected {
		w.stopped = true
		close(w.all)
	}
}

// stop ends the counting, so that nothing reaches the sink afterwards.
func (w *localAcks) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
}
