package adapter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/question"
)

// questions are those of this node that are not settled.
type questions struct {
	mu sync.Mutex
	// Guarded by mu.
	open   map[string]*openQuestion // by id
	closed bool
}

// add gives the question an id: 16 hexadecimal digits, as the reference's.
func (t *questions) add(q *openQuestion) error {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	q.id = hex.EncodeToString(b[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		q.settle(nil)
		return ErrClosed
	}
	t.open[q.id] = q
	return nil
}

func (t *questions) remove(q *openQuestion) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, q.id)
	q.settle(nil)
}

func (t *questions) pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// answer takes an answer. It reports false for one that comes too late, or beyond what was expected.
func (t *questions) answer(m *Message) bool {
	t.mu.Lock()
	q := t.open[m.Request]
	t.mu.Unlock()
	return q != nil && q.take(m)
}

// gone, silent and missed tell all questions what has become of a node.
func (t *questions) gone(id NodeID) {
	for _, q := range t.all() {
		q.gone(id)
	}
}

func (t *questions) silent(id NodeID) {
	for _, q := range t.all() {
		q.silent(id)
	}
}

func (t *questions) missed(id NodeID, before time.Time) {
	for _, q := range t.all() {
		q.missed(id, before)
	}
}

func (t *questions) all() []*openQuestion {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*openQuestion, 0, len(t.open))
	for _, q := range t.open {
		list = append(list, q)
	}
	return list
}

func (t *questions) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, q := range t.open {
		q.settle(outcome{ErrClosed})
	}
}

// openQuestion is one that this node has put to the others: its tally, and what it waits for.
type openQuestion struct {
	// Static after construction.
	id        string
	kind      Kind
	to        NodeID   // the only node that was asked, if not ""
	quiet     []NodeID // members that were silent before
	began     time.Time
	acks      AckSink   // of a broadcast; nil for other questions
	told      time.Time // until when the other nodes wait for acknowledgements
	losses    uint64    // of the bus, when the question began
	ctx       context.Context
	settle    context.CancelCauseFunc // ends ctx
	uncounted chan struct{}           // capacity 1; told when the foreign nodes have to be counted again

	mu sync.Mutex
	// Guarded by mu.
	tally   *question.Tally
	over    bool       // answers do not count any more
	lost    bool       // the broker may not have got the question
	answers []*Message // of questions that are answered once
}

func (q *openQuestion) begin(asked, silent []NodeID) {
	q.uncounted = make(chan struct{}, 1)
	q.tally = question.New(q.acks != nil, texts(asked), texts(silent))
}

// take counts an answer. It reports false for one that does not count, or that came from one more foreign node than was waited
// for.
func (q *openQuestion) take(m *Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	from := string(m.From)
	switch {
	case q.over:
		return false
	case m.Kind == KindAck && q.acks != nil:
		if !q.tally.Settle(from, 1) {
			return true
		}
		q.acks.Ack(m.From, m.SocketID, m.Payload)
	case m.Kind == KindGone && q.acks != nil:
		if !q.tally.Settle(from, len(m.SocketIDs)) {
			return true
		}
		for _, sid := range m.SocketIDs {
			q.acks.Gone(m.From, sid)
		}
		if !time.Now().Before(q.told) {
			q.tally.Late()
		}
	case m.Kind != q.answerKind() || m.Count < 0 || !q.tally.Report(from, q.owed(m)):
		return true
	case q.acks != nil:
		q.acks.Expected(m.Count)
	default:
		q.answers = append(q.answers, m)
	}
	surplus := q.tally.Surplus()
	q.checkLocked()
	return !surplus
}

// owed is how many sockets are to settle after an answer.
func (q *openQuestion) owed(m *Message) int {
	if q.acks == nil {
		return 0
	}
	return m.Count
}

// answerKind is the kind of answer that each node gives once.
func (q *openQuestion) answerKind() Kind {
	switch q.kind {
	case KindFetch:
		return KindSockets
	case KindListRooms:
		return KindRooms
	case KindServerSide:
		return KindServerReply
	default:
		return KindCount
	}
}

// sent takes what the broker says of the question.
func (q *openQuestion) sent(r Receipt) {
	q.mu.Lock()
	q.lost = r.Err != nil
	if r.Receivers > 0 && q.to == "" {
		q.tally.Handed(r.Receivers - 1)
	}
	q.mu.Unlock()
}

func (q *openQuestion) counted(nodes, mute int, members []NodeID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tally.Counted(nodes, mute, texts(members))
	q.checkLocked()
}

func (q *openQuestion) listed(names []NodeID, mute int, members []NodeID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, loss := range q.tally.Listed(texts(names), mute, texts(members)) {
		q.loseLocked(loss.Node, loss.Sockets)
	}
	q.checkLocked()
}

func (q *openQuestion) gone(id NodeID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.over {
		q.loseLocked(string(id), q.tally.Gone(string(id)))
		q.checkLocked()
	}
}

func (q *openQuestion) silent(id NodeID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tally.Silent(string(id))
	q.checkLocked()
}

// missed says that a node may have lost what was sent to it before that time.
func (q *openQuestion) missed(id NodeID, before time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.began.Before(before) {
		q.tally.Missed(string(id))
		q.checkLocked()
	}
}

// loseLocked tells the sink of sockets that will not answer any more.
func (q *openQuestion) loseLocked(from string, sockets int) {
	for range sockets {
		q.acks.Gone(NodeID(from), "")
	}
}

// checkLocked settles the question if no node and no socket is left to wait for.
func (q *openQuestion) checkLocked() {
	switch {
	case q.over:
	case q.tally.Done():
		q.over = true
		q.settle(outcome{})
	case q.tally.Uncounted():
		select {
		case q.uncounted <- struct{}{}:
		default:
		}
	}
}

// outstanding tells which members are waited for, and whether foreign nodes are. Once it is overdue newcomers are not.
func (q *openQuestion) outstanding(overdue bool) (members []NodeID, foreign bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if overdue {
		q.tally.Overdue()
		q.checkLocked()
	}
	return ids(q.tally.Outstanding()), q.tally.ForeignOutstanding()
}

// isOver reports whether there is nothing more to wait for.
func (q *openQuestion) isOver() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.over
}

// unheard reports whether the question may not have been sent, and nobody has answered it.
func (q *openQuestion) unheard() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost && !q.tally.Heard()
}

// finish ends the question and sums it up. Nothing reaches the sink afterwards.
func (q *openQuestion) finish() question.Outcome {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	o := q.tally.End()
	for _, loss := range o.Lost {
		q.loseLocked(loss.Node, loss.Sockets)
	}
	return o
}

// ids returns what texts has changed.
func ids(names []string) []NodeID {
	var list []NodeID
	for _, name := range names {
		list = append(list, NodeID(name))
	}
	return list
}

// texts returns ids as the tally knows them.
func texts(ids []NodeID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	return list
}
