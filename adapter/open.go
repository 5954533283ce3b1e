package adapter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/question"
)

// tally counts the answers of nodes.
type tally = question.Tally[NodeID]

// questions are those of this node that are not settled.
type questions struct {
	mu sync.Mutex
	// Guarded by mu.
	open map[string]*openQuestion // by id; nil after close
}

// add gives the question an id: 16 hexadecimal digits, as the reference's.
func (t *questions) add(q *openQuestion) error {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	q.id = hex.EncodeToString(b[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
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

// answer takes an answer. It reports false for one that comes when the question is over.
func (t *questions) answer(m *Message) bool {
	t.mu.Lock()
	q := t.open[m.Request]
	t.mu.Unlock()
	return q != nil && q.take(m)
}

// each tells all questions something.
func (t *questions) each(tell func(*openQuestion)) {
	t.mu.Lock()
	open := slices.Collect(maps.Values(t.open))
	t.mu.Unlock()
	for _, q := range open {
		tell(q)
	}
}

func (t *questions) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.open {
		q.settle(outcome{ErrClosed})
	}
	t.open = nil
}

// openQuestion is one that this node has put to the others: its tally, and what it waits for.
type openQuestion struct {
	// Static after construction.
	id      string
	kind    Kind
	to      NodeID   // the only node that was asked, if not ""
	quiet   []NodeID // members that were silent before
	before  []NodeID // foreign nodes that have answered the question before by name
	began   time.Time
	acks    AckSink   // of a broadcast; nil for other questions
	told    time.Time // until when the other nodes wait for acknowledgements
	losses  uint64    // of the bus, when the question began
	ctx     context.Context
	settle  context.CancelCauseFunc // ends ctx
	recount chan struct{}           // capacity 1; told when the foreign nodes have to be counted again

	mu sync.Mutex
	// Guarded by mu.
	tally   *tally
	over    bool       // answers do not count any more
	receipt Receipt    // what the broker has said of the question
	answers []*Message // of questions that are answered once
}

// take counts an answer. It reports false for one that comes when the question is over.
func (q *openQuestion) take(m *Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.over:
		return false
	case m.Kind == KindAck && q.acks != nil:
		if !q.tally.Settle(m.From, 1) {
			return true
		}
		q.acks.Ack(m.From, m.SocketID, m.Payload)
	case m.Kind == KindGone && q.acks != nil:
		if !q.tally.Settle(m.From, len(m.SocketIDs)) {
			return true
		}
		for _, sid := range m.SocketIDs {
			q.acks.Gone(m.From, sid)
		}
		if !time.Now().Before(q.told) {
			q.tally.Late()
		}
	case m.Kind != q.kind.answer() || m.Count < 0 || !q.tally.Report(m.From, m.Count):
		return true
	case q.acks != nil:
		q.acks.Expected(m.Count)
	default:
		q.answers = append(q.answers, m)
	}
	q.checkLocked()
	return true
}

// answer is the kind of answer that each node gives once to a question.
func (k Kind) answer() Kind {
	switch k {
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
	q.receipt = r
	q.mu.Unlock()
}

// tell tells the tally something.
func (q *openQuestion) tell(something func(*tally)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.over {
		something(q.tally)
		q.checkLocked()
	}
}

// checkLocked settles the question if no node and no socket is left to wait for.
func (q *openQuestion) checkLocked() {
	if !q.over && q.tally.Done() {
		q.over = true
		q.settle(outcome{})
	}
}

// gone says that a member does not serve the namespace any more.
func (q *openQuestion) gone(id NodeID) {
	q.tell(func(t *tally) {
		if !t.Gone(id) {
			return
		}
		select {
		case q.recount <- struct{}{}:
		default:
		}
	})
}

// outstanding tells for which members the question waits, and whether it waits for foreign nodes. After a second it does not wait
// for those that it may not have reached.
func (q *openQuestion) outstanding() (members []NodeID, foreign bool) {
	q.tell(func(t *tally) {
		if time.Since(q.began) >= newcomerTime {
			handed := -1
			if q.receipt.Receivers > 0 && q.to == "" {
				handed = q.receipt.Receivers - 1 // without this node
			}
			t.Overdue(handed, q.before)
		}
		members, foreign = t.Outstanding()
	})
	return members, foreign
}

// broken reports whether answers may have been lost, or the question, if nobody has answered it.
func (q *openQuestion) broken(losses uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.over && (losses != q.losses || q.receipt.Err != nil && !q.tally.Heard())
}

// finish ends the question and sums it up. Nothing reaches the sink afterwards.
func (q *openQuestion) finish() question.Outcome[NodeID] {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	end := q.tally.End()
	for id, sockets := range end.Lost {
		for range sockets {
			q.acks.Gone(id, "")
		}
	}
	return end
}
