// Package question counts the answers to one question that a node has put to a cluster.
//
// A [Tally] is pure: it has no clock, no lock, no context and no bus. Whoever asks tells it what happens, and asks it
// whether there is anything left to wait for. It is not safe for concurrent use.
//
// # How a question ends
//
// Nodes are members, which are known by name, or foreign, which are only counted: Node.js nodes, Go nodes of former versions,
// and what merely listens. A question is over when each line is done with.
//
//	who                   is done with when
//	a member, asked       it has reported and its sockets have settled; or it is silent, absent or has left; or it has not
//	                      reported and was cut off from the broker since
//	a member that was     always; it is missing in the result, unless it answers all the same
//	silent before
//	foreign nodes         as many have reported as are counted, without those that are mute, and their sockets have settled
//	whoever was not       its second is over: a member that the broker counted right after the question, which is missing then;
//	asked, perhaps        a foreign node in the place of one that has vanished; any foreign node if as many nodes have reported
//	                      as the broker has handed the question to
//
// To settle is to acknowledge or to go. Only broadcasts with acknowledgements have sockets. Reports and settled sockets count
// in whatever order they come: on a Redis Cluster the acknowledgement of a Node.js node can overtake its count.
//
// The foreign ones are what the broker counts beyond the members. That number is wrong for a moment when a member has left
// and the broker does not count it any more: [Tally.Gone] then wants another count. When the names of all nodes are known
// ([Tally.Listed]), foreign nodes that have vanished take their sockets with them. Answers without a name can be from any of
// them, so that nameless sockets are given up only when no node is left that they can be on.
//
// At the end whoever has not reported or still owes sockets is missing, by name if it has one.
package question

import (
	"cmp"
	"slices"
)

const (
	// maxReports is how many foreign nodes are heard, unless more are counted: whoever can publish can answer in the names of
	// nodes that do not exist.
	maxReports = 4096
	// maxOpen is for how many sockets a question waits at once: more than a cluster has. A report that goes beyond is not believed.
	maxOpen = 1 << 24
	// maxEarly is how many sockets may settle before their node has reported.
	maxEarly = 1 << 16
)

// Tally counts the answers to one question. It begins to count when it is made. The zero ID stands for all nodes without a name.
type Tally[ID cmp.Ordered] struct {
	sockets bool // nodes report a number of sockets, which then settle

	nodes   map[ID]*node // members that may have been asked, and whoever has answered
	foreign int          // how many foreign nodes there are; -1 when they have to be counted
	reports int          // how many of them have reported, as far as it is not known that they have vanished
	mute    int          // for how many of them the question does not wait
	unknown int          // how many the first count had beyond the members above; -1 before it
	late    bool         // a node has stopped waiting for its sockets
	handed  int          // how many nodes have got the question, once that matters; else -1
	before  []ID         // foreign nodes that have answered a question before, sorted, once that matters
}

// node is what is known of one node, or of all those without a name.
type node struct {
	asked   bool // a member
	state   state
	reports int
	open    int // sockets that have been reported and have not settled; less than 0 when they settle first
}

type state uint8

const (
	waiting  state = iota
	newcomer       // the question waits for it, but not for long: it may not have been asked
	silent         // the question does not wait for it until it says something
	gone           // does not exist any more
)

// owes reports whether the question waits for something of a node: the answer of a member, or sockets.
func (n *node) owes() bool {
	return n.state <= newcomer && (n.asked && n.reports == 0 || n.open > 0)
}

func (n *node) answers() int { return n.reports }
func (n *node) owed() int    { return max(n.open, 0) }
func (n *node) early() int   { return max(-n.open, 0) }

// New returns the tally of a question to these members. It waits for those that were asked, and not for quiet ones, which were silent before.
// sockets says that each node reports how many sockets it has and then what comes of each.
func New[ID cmp.Ordered](sockets bool, asked, quiet []ID) *Tally[ID] {
	t := &Tally[ID]{sockets: sockets, nodes: make(map[ID]*node, len(asked)+len(quiet)+1), foreign: -1, unknown: -1, handed: -1}
	for _, id := range asked {
		t.nodes[id] = &node{asked: true}
	}
	for _, id := range quiet {
		t.nodes[id] = &node{asked: true, state: silent}
	}
	return t
}

// Report takes a node's answer, and the number of its sockets if each is to settle. It reports false for one that does not count.
func (t *Tally[ID]) Report(from ID, sockets int) bool {
	n := t.nodes[from]
	if !t.sockets {
		sockets = 0
	}
	switch {
	case sockets < 0 || sockets > 0 && sockets > maxOpen-t.sum((*node).owed):
		return false
	case n != nil && named(from) && (n.reports > 0 || n.state == gone && t.sockets):
		return false
	case (n == nil || !n.asked) && t.reports >= max(maxReports, t.foreign):
		return false
	}
	n = t.node(from)
	if n.state != gone || !named(from) {
		n.state = waiting
	}
	n.reports++
	n.open += sockets
	if !n.asked {
		t.reports++
	}
	return true
}

// Settle takes note that sockets of a node have acknowledged or gone. It reports false if they do not count.
func (t *Tally[ID]) Settle(from ID, sockets int) bool {
	var known node
	if n := t.nodes[from]; n != nil {
		known = *n
	}
	switch {
	case sockets <= 0 || known.state == gone:
		return false
	case known.open >= sockets:
	case named(from) && known.reports > 0: // more than it has
		return false
	case sockets > maxEarly-t.sum((*node).early):
		return false
	}
	t.node(from).open -= sockets
	return true
}

// Late says that a node has stopped waiting for its sockets: there is no complete answer any more.
func (t *Tally[ID]) Late() { t.late = true }

// Silent says that the question is not to wait for a member. What is heard from it still counts.
func (t *Tally[ID]) Silent(id ID) {
	if n := t.nodes[id]; n != nil && n.asked && n.state < silent {
		n.state = silent
	}
}

// Missed says that a member may not have heard the question, which does not wait for it unless it has reported.
func (t *Tally[ID]) Missed(id ID) {
	if n := t.nodes[id]; n != nil && n.reports == 0 {
		t.Silent(id)
	}
}

// Gone says that a member does not exist any more. It reports whether the foreign nodes have to be counted again: the broker may
// still count the member, or not any more.
func (t *Tally[ID]) Gone(id ID) (recount bool) {
	n := t.nodes[id]
	if n == nil || !n.asked || n.state == gone {
		return false
	}
	n.state = gone
	if n.reports == 0 {
		t.foreign = -1
	}
	return n.reports == 0
}

// Counted says how many other nodes the broker counts, how many of them are mute if they are foreign, and which nodes are members
// by now.
func (t *Tally[ID]) Counted(others, mute int, members []ID) {
	t.know(others, max(others-len(members), 0), mute, members)
}

// Listed is Counted with the names of all other nodes. Both lists are sorted.
func (t *Tally[ID]) Listed(others []ID, mute int, members []ID) {
	told, nameless, fresh := 0, 0, 0 // foreign nodes that have reported by name; that have not; that never have
	for _, id := range others {
		switch n := t.nodes[id]; {
		case has(members, id) || n != nil && n.asked:
		case n != nil && n.reports > 0:
			told++
		default:
			nameless++
			if !has(t.before, id) {
				fresh++
			}
		}
	}
	for id, n := range t.nodes {
		if !has(others, id) && (named(id) || nameless == 0) {
			n.state = gone
		}
	}
	vanished := 0
	for _, id := range t.before {
		if !has(others, id) {
			vanished++
		}
	}
	t.know(len(others), told+nameless, mute+min(fresh, vanished), members)
}

// know takes what a count tells. Members that were counted right after the question, and known only now, may have been asked.
func (t *Tally[ID]) know(others, foreign, mute int, members []ID) {
	if t.unknown < 0 {
		t.unknown = others
		for _, n := range t.nodes {
			if n.asked && n.state != gone {
				t.unknown = max(t.unknown-1, 0)
			}
		}
	}
	t.foreign, t.mute, t.reports = foreign, min(mute, foreign), 0
	for _, id := range members {
		if n := t.nodes[id]; n != nil && !n.asked {
			n.asked = true
			t.unknown = max(t.unknown-1, 0)
		}
	}
	for _, n := range t.nodes {
		if !n.asked && n.state != gone {
			t.reports += n.reports
		}
	}
	for _, id := range members {
		if t.nodes[id] == nil && t.unknown > foreign {
			t.nodes[id] = &node{asked: true, state: newcomer}
			t.unknown--
		}
	}
}

// Overdue ends the time of those that may not have been asked. handed is how many other nodes the broker has handed the question
// to, -1 if it does not say; before are the foreign nodes that had answered the question before by name, sorted: the next list
// of the nodes tells which of them have been replaced.
func (t *Tally[ID]) Overdue(handed int, before []ID) {
	t.handed, t.before = handed, before
	t.unknown = min(t.unknown, 0)
	for id, n := range t.nodes {
		if n.state == newcomer {
			t.Silent(id)
		}
	}
}

// Outstanding returns the members for which the question waits, and whether it waits for foreign nodes or their sockets.
func (t *Tally[ID]) Outstanding() (members []ID, foreign bool) {
	foreign = t.foreign < 0 || t.unheard() > t.mute
	for id, n := range t.nodes {
		if n.owes() && n.asked {
			members = append(members, id)
		}
		foreign = foreign || n.owes() && !n.asked
	}
	return members, foreign
}

// Done reports whether there is nothing left to wait for. Once sockets have been silent for too long it never does, so that the
// question ends with its time.
func (t *Tally[ID]) Done() bool {
	if t.late || t.foreign < 0 || t.unheard() > t.mute {
		return false
	}
	for _, n := range t.nodes {
		if n.owes() {
			return false
		}
	}
	return true
}

// Heard reports whether anybody has answered.
func (t *Tally[ID]) Heard() bool { return t.sum((*node).answers) > 0 }

// unheard is how many foreign nodes have not reported.
func (t *Tally[ID]) unheard() int {
	missing := t.foreign - t.reports
	if t.handed >= 0 {
		missing = min(missing, t.handed-t.sum((*node).answers))
	}
	return max(missing, 0)
}

func (t *Tally[ID]) sum(of func(*node) int) (sum int) {
	for _, n := range t.nodes {
		sum += of(n)
	}
	return sum
}

// Outcome is the end of a question.
type Outcome[ID cmp.Ordered] struct {
	Counted    bool       // the broker has told how many nodes there are
	Missing    []ID       // nodes, sorted, that have not answered or not to the end
	Unanswered int        // all of them, those without a name included
	Silent     []ID       // those of Missing for which the question has waited, and that have said nothing
	Mute       int        // how many foreign nodes have not answered
	Named      []ID       // foreign nodes that have answered with their names, sorted
	Lost       map[ID]int // sockets that have not settled
}

// End sums up.
func (t *Tally[ID]) End() Outcome[ID] {
	o := Outcome[ID]{Counted: t.foreign >= 0, Mute: t.unheard(), Lost: make(map[ID]int)}
	o.Unanswered = o.Mute
	for id, n := range t.nodes {
		unreported := n.asked && n.reports == 0 && n.state != gone
		if unreported || n.open > 0 {
			o.Unanswered++
			if named(id) {
				o.Missing = append(o.Missing, id)
			}
		}
		if n.open > 0 {
			o.Lost[id] = n.open
		}
		if unreported && n.state == waiting {
			o.Silent = append(o.Silent, id)
		}
		if named(id) && n.reports > 0 && !n.asked && n.state != gone {
			o.Named = append(o.Named, id)
		}
	}
	slices.Sort(o.Missing)
	slices.Sort(o.Named)
	return o
}

func (t *Tally[ID]) node(id ID) *node {
	n := t.nodes[id]
	if n == nil {
		n = new(node)
		t.nodes[id] = n
	}
	return n
}

func named[ID cmp.Ordered](id ID) bool { return id != *new(ID) }

func has[ID cmp.Ordered](sorted []ID, id ID) bool {
	_, found := slices.BinarySearch(sorted, id)
	return found
}
