package adapter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"time"
)

// questions are those of this node that are not settled.
type questions struct {
	mu sync.Mutex
	// Guarded by mu.
	open   map[string]*question // by id
	closed bool
}

// add gives the question an id: 16 hexadecimal digits, as the reference's.
func (t *questions) add(q *question) error {
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

func (t *questions) remove(q *question) {
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

// answer takes an answer. One that comes too late has no question any more.
func (t *questions) answer(m *Message) {
	t.mu.Lock()
	q := t.open[m.Request]
	t.mu.Unlock()
	if q != nil {
		q.take(m)
	}
}

func (t *questions) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, q := range t.open {
		q.settle(outcome{ErrClosed})
	}
}

// question is one that this node has put to the others.
//
// Nodes are counted at first: answers are complete when there are as many as the broker counts. Once a list of the nodes
// has been seen, those in it are awaited by name. An answer without a name can be from any node in the list that has
// not answered by name, so that such nodes are still only counted: when some of them vanish while their sockets are waited
// for, it cannot be told which acknowledgements will not come any more.
//
// A node that starts while the question is open has not been asked, and is not waited for: it is in a later list and not in
// the first one, or it is there although as many have answered as were counted. Only one that starts just before it is
// counted, or before the first list while another one vanishes or something listens that is no node, cannot be told from one
// that started a little before the question. None is waited for for more than suspectAfter if as many have answered as the broker
// had handed the question to, or if one of those has vanished that were there before: who was, is known from the last complete
// answer.
type question struct {
	// Static after construction.
	id     string
	kind   Kind
	began  time.Time
	acks   AckSink   // of a broadcast; nil for other questions
	told   time.Time // until when the other nodes wait for acknowledgements
	losses uint64    // of the bus, when the question began
	ctx    context.Context
	settle context.CancelCauseFunc // ends ctx

	mu sync.Mutex
	// Guarded by mu.
	before    roll     // who was there a little earlier
	over      bool     // answers do not count any more
	lost      bool     // the broker may not have got the question
	receivers int      // how many listeners have got the question, this node included; 0 or less if not known
	late      bool     // a node has stopped waiting for its sockets, so that there is no complete answer
	expected  int      // how many nodes the broker counts besides this one; -1 if not known
	listed    bool     // asked, others and awaited are known
	asked     []NodeID // those of the first list
	others    []NodeID // those of asked that still exist
	awaited   []NodeID // the others without those that are suspected to be silent
	overdue   bool     // suspectAfter has passed: nodes that may not have been asked are not waited for any more
	parts     map[NodeID]*part
	reports   int        // sum over parts
	open      int        // sum over parts
	vanished  []NodeID   // nodes that are gone before all their sockets had answered
	answers   []*Message // of questions that are answered once

	// Set by finish.
	missing    []NodeID
	unanswered int
	silent     []NodeID // those of missing that have not said anything
}

// part is what a node contributes; all nodes without a name share one.
type part struct {
	reports int // answers, or counts of sockets: one from each node
	open    int // sockets that have neither acknowledged nor gone
}

// take counts an answer.
func (q *question) take(m *Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over || m.Kind != q.answerKind() && (q.acks == nil || m.Kind != KindAck && m.Kind != KindGone) {
		return
	}
	p := q.parts[m.From]
	switch m.Kind {
	case KindAck:
		if p == nil || p.open < 1 { // of a node that was given up, or more than there can be
			return
		}
		q.acks.Ack(m.From, m.SocketID, m.Payload)
		q.count(p, 0, -1)
	case KindGone:
		if p == nil || p.open < len(m.SocketIDs) {
			return
		}
		for _, sid := range m.SocketIDs {
			q.acks.Gone(m.From, sid)
		}
		q.count(p, 0, -len(m.SocketIDs))
		q.late = q.late || !time.Now().Before(q.told)
	default:
		if m.Count < 0 || m.Count > maxOpen-q.open || q.reports >= max(maxAnswers, q.expected) || p != nil && p.reports > 0 && m.From != "" {
			return
		}
		if p == nil {
			p = new(part)
			q.parts[m.From] = p
		}
		if q.acks != nil {
			q.acks.Expected(m.Count)
			q.count(p, 1, m.Count)
		} else {
			q.answers = append(q.answers, m)
			q.count(p, 1, 0)
		}
	}
	q.checkLocked()
}

// answerKind is the kind of answer that each node gives once.
func (q *question) answerKind() Kind {
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

func (q *question) count(p *part, reports, open int) {
	p.reports += reports
	p.open += open
	q.reports += reports
	q.open += open
}

// counted says how many other nodes there were when the question was sent.
func (q *question) counted(n int) {
	q.mu.Lock()
	q.expected = max(n, 0)
	q.mu.Unlock()
}

// expect does the same, and says that this is all there is to wait for; a list of them is worth more.
func (q *question) expect(n int) {
	q.counted(n)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.checkLocked()
}

// compare says which other nodes there are, both lists sorted. Sockets of nodes that are gone will not answer any more.
func (q *question) compare(others, awaited []NodeID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.listed {
		q.listed, q.asked = true, others
	}
	q.others, q.awaited = common(others, q.asked), common(awaited, q.asked)
	q.overdue = time.Since(q.began) >= suspectAfter
	unnamed := len(q.unreportedLocked())
	for id, p := range q.parts {
		_, exists := slices.BinarySearch(others, id)
		if id == "" {
			exists = unnamed > 0
		}
		if !exists && p.open > 0 {
			q.vanished = append(q.vanished, id)
			q.giveUpLocked(id, p)
		}
	}
	q.checkLocked()
}

// vanishedLocked reports whether a node is gone that was there before the question.
func (q *question) vanishedLocked() bool {
	q.before.resolve()
	return len(common(q.before.named, q.others)) < len(q.before.named)
}

// sent takes what the broker says of the question.
func (q *question) sent(receivers int, err error) {
	q.mu.Lock()
	q.lost, q.receivers = err != nil, receivers
	q.mu.Unlock()
}

// heardLocked reports whether as many nodes have answered as the broker had handed the question to.
func (q *question) heardLocked() bool { return q.receivers > 0 && q.reports >= q.receivers-1 }

// settled reports whether there is nothing more to wait for.
func (q *question) settled() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.over
}

// unheard reports whether the question may not have been sent, and nobody has answered it.
func (q *question) unheard() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost && q.reports == 0
}

// common returns what is in both of two sorted lists.
func common(a, b []NodeID) (list []NodeID) {
	for _, id := range a {
		if _, found := slices.BinarySearch(b, id); found {
			list = append(list, id)
		}
	}
	return list
}

// giveUpLocked counts the sockets of a node that have not answered as gone.
func (q *question) giveUpLocked(id NodeID, p *part) {
	for range p.open {
		q.acks.Gone(id, "")
	}
	q.count(p, 0, -p.open)
}

// unreportedLocked returns the existing nodes of which nothing is known by name.
func (q *question) unreportedLocked() (list []NodeID) {
	for _, id := range q.others {
		if !q.reportedLocked(id) {
			list = append(list, id)
		}
	}
	return list
}

func (q *question) reportedLocked(id NodeID) bool {
	p := q.parts[id]
	return p != nil && p.reports > 0
}

// awaitedLocked returns how many nodes are waited for by name, or at least some that answer without.
func (q *question) awaitedLocked() int {
	nameless := q.namelessLocked()
	switch {
	case q.overdue && q.heardLocked():
		return 0
	case !q.overdue || !q.vanishedLocked():
		return q.silentLocked(q.awaited) - nameless
	}
	old := q.silentLocked(common(q.awaited, q.before.named))
	if q.before.listed == nil {
		return min(old+max(0, q.before.unnamed-nameless), q.silentLocked(q.awaited)-nameless)
	}
	// An answer without a name may be that of a new node.
	return old - max(0, nameless-(q.silentLocked(q.awaited)-old))
}

// silentLocked counts those of nodes of which nothing is known by name.
func (q *question) silentLocked(nodes []NodeID) (n int) {
	for _, id := range nodes {
		if !q.reportedLocked(id) {
			n++
		}
	}
	return n
}

// checkLocked settles the question if no node and no socket is left to wait for. Once sockets have been silent for too long
// it is left to the context, so that the error says so.
func (q *question) checkLocked() {
	if q.open > 0 || q.late {
		return
	}
	waiting := q.expected - q.reports
	if q.listed && (q.expected < 0 || waiting > 0) {
		waiting = q.awaitedLocked()
	} else if q.expected < 0 {
		return
	}
	if waiting <= 0 {
		q.over = true
		q.settle(outcome{})
	}
}

// namelessLocked returns how many nodes have answered without a name.
func (q *question) namelessLocked() int {
	if p := q.parts[""]; p != nil {
		return p.reports
	}
	return 0
}

// finish ends the question and sums it up. It reports false if not even the number of nodes is known.
func (q *question) finish(c *census) (known bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	nameless := q.namelessLocked()
	if nameless > 0 {
		c.learn(q.parts)
	}
	switch {
	case q.expected >= 0 && q.reports >= q.expected: // whoever else there is has come later
	case q.listed:
		unreported := q.unreportedLocked()
		q.silent = unreported
		if nameless > 0 {
			q.silent = c.speaking(unreported)
		}
		q.missing = slices.Clone(q.silent)
		switch { // those that may not have been asked are not to be suspected
		case q.heardLocked():
			q.silent = nil
		case q.vanishedLocked():
			q.silent = common(q.silent, q.before.named)
		}
		q.unanswered = max(len(unreported)-nameless, len(q.silent))
	case q.expected >= 0:
		q.unanswered = q.expected - q.reports
	}
	if q.unanswered == 0 && len(q.vanished) == 0 && (q.listed || q.expected >= 0) {
		c.complete(q.began, q.parts)
	}
	for id, p := range q.parts {
		if p.open > 0 {
			q.vanished = append(q.vanished, id)
			q.giveUpLocked(id, p)
		}
	}
	for _, id := range q.vanished {
		q.unanswered++
		if id != "" {
			q.missing = append(q.missing, id)
		}
	}
	return q.listed || q.expected >= 0
}
