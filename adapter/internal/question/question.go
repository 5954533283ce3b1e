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
//	who                      is done with when
//	member, asked            it has reported and its sockets have settled; or it is silent, absent or has left; or it has
//	                         not reported and was cut off from the broker since
//	member, silent before    always; it is missing in the result, unless it answers all the same
//	member, came later       it has reported or its second is over, if the broker counted it right after the question; else always
//	foreign nodes            as many have reported as are counted, without those that are mute, and their sockets have settled;
//	                         those that may not have been asked, when their second is over: they are in the place of vanished
//	                         ones, or as many have reported as the broker has handed the question to
//
// To settle is to acknowledge or to go. Only broadcasts with acknowledgements have sockets. Reports and settled sockets count
// in whatever order they come: on a Redis Cluster the acknowledgement of a Node.js node can overtake its count.
//
// The foreign ones are what the broker counts beyond the members. That number is wrong for a moment when a member has left
// and the broker does not count it any more: [Tally.Uncounted] then wants another count. When the names of all nodes are known
// ([Tally.Listed]), foreign nodes that have vanished take their sockets with them. Answers without a name can be from any of
// them, so that nameless sockets are given up only when no node is left that they can be on.
//
// When time is over, who has not reported and who still owes sockets is missing, by name if it has one.
package question

import (
	"cmp"
	"slices"
)

const (
	// maxReports is how many foreign nodes are heard, unless more are counted: whoever can publish can answer in the names of
	// nodes that do not exist.
	maxReports = 4096
	// maxOpen is how many sockets are waited for at once: more than a cluster has. A report that goes beyond is not believed.
	maxOpen = 1 << 24
	// maxEarly is how many sockets may settle before their node has reported.
	maxEarly = 1 << 16
)

// Tally counts the answers to one question. It begins to count when it is made.
type Tally struct {
	sockets bool // nodes report a number of sockets, which then settle

	nodes   map[string]*node // members that were asked, and whoever has answered; "" is all those without a name
	members []string         // those that the last count has seen, sorted
	first   int              // how many nodes the first count had beside those that were asked; -1 before
	foreign int              // how many there are; -1 when they have to be counted
	mute    int              // how many of them are not waited for
	reports int              // how many of them have reported and, as far as they have names, still exist
	late    bool             // a node has stopped waiting for its sockets
	before  []string         // foreign nodes that have answered the question before, sorted
	fresh   int              // foreign nodes that have come in the place of one of those, and may not have been asked
	handed  int              // how many others the broker has handed the question to; -1 if that is not known
	overdue bool             // these are not waited for
}

// node is what is known of one node, or of all those without a name.
type node struct {
	asked   bool // a member of the beginning, or one that was counted before it was known
	late    bool // the latter
	state   state
	reports int
	open    int // sockets that have been reported and have not settled; less than 0 when they settle first
	lost    int // sockets that were given up
}

type state uint8

const (
	waiting state = iota
	silent        // not waited for until it says something
	gone          // does not exist any more
)

// owes reports whether something is waited for: the answer of a member that was asked, or sockets that were reported.
func (n *node) owes() bool {
	return n.state == waiting && (n.asked && n.reports == 0 || n.reports > 0 && n.open > 0)
}

// end gives the node and its sockets up.
func (n *node) end() (sockets int) {
	sockets = max(n.open, 0)
	n.state, n.open = gone, 0
	n.lost += sockets
	return sockets
}

// New returns the tally of a question to these members: asked are waited for, quiet
// ones, which were silent before, are not. sockets says that each node
// reports how many sockets it has and then what comes of each.
func New(sockets bool, asked, quiet []string) *Tally {
	t := &Tally{sockets: sockets, nodes: make(map[string]*node, len(asked)+len(quiet)+1), first: -1, foreign: -1, handed: -1}
	for _, name := range asked {
		t.nodes[name] = &node{asked: true}
	}
	for _, name := range quiet {
		t.nodes[name] = &node{asked: true, state: silent}
	}
	return t
}

// Before names foreign nodes, sorted, that have answered the question before.
func (t *Tally) Before(names []string) { t.before = names }

// Handed says to how many others the broker has handed the question: whoever is counted beyond them has come later.
func (t *Tally) Handed(others int) { t.handed = others }

// Loss is a number of sockets that will not settle any more, on a node or on those without a name.
type Loss struct {
	Node    string
	Sockets int
}

// Report takes a node's answer, or the number of its sockets. It reports false for one that does not count.
func (t *Tally) Report(from string, sockets int) bool {
	n := t.nodes[from]
	switch {
	case sockets < 0 || sockets > 0 && sockets > maxOpen-t.owed():
		return false
	case from != "" && n != nil && (n.reports > 0 || n.state == gone && t.sockets):
		return false
	case (n == nil || !n.asked) && t.reports >= max(maxReports, t.foreign):
		return false
	}
	n = t.node(from)
	if n.state == silent || from == "" {
		n.state = waiting
	}
	n.reports++
	n.open += sockets
	if !t.member(from) {
		t.reports++
	}
	return true
}

// Settle takes note that sockets of a node have acknowledged or gone. It reports false if they do not count.
func (t *Tally) Settle(from string, sockets int) bool {
	n := t.nodes[from]
	open := 0
	if n != nil {
		open = n.open
	}
	switch {
	case sockets <= 0 || n != nil && n.state == gone:
		return false
	case open >= sockets:
	case from != "" && n != nil && n.reports > 0: // more than it has
		return false
	case t.early()+sockets > maxEarly:
		return false
	}
	t.node(from).open -= sockets
	return true
}

// Late says that a node has stopped waiting for its sockets: there is no complete answer any more.
func (t *Tally) Late() { t.late = true }

// Silent says that a member is not to be waited for. What is heard from it still counts.
func (t *Tally) Silent(name string) {
	if n := t.nodes[name]; n != nil && n.asked && n.state == waiting {
		n.state = silent
	}
}

// Missed says that a member may not have heard the question: it is not waited for unless it has reported.
func (t *Tally) Missed(name string) {
	if n := t.nodes[name]; n != nil && n.reports == 0 {
		t.Silent(name)
	}
}

// Gone says that a member does not exist any more, and returns how many sockets are lost with it.
func (t *Tally) Gone(name string) (sockets int) {
	n := t.nodes[name]
	if n == nil || !n.asked || n.state == gone {
		return 0
	}
	if n.reports == 0 { // the broker may still count it, or not any more
		t.foreign = -1
	}
	return n.end()
}

// Counted says how many other nodes the broker counts, which of them are members, and how many of the rest are mute. members
// is sorted.
func (t *Tally) Counted(nodes, mute int, members []string) {
	t.know(max(nodes-len(members), 0), nodes, mute, members)
}

// know takes what is known of the other nodes: how many are foreign, how many there are in all, how many are mute.
func (t *Tally) know(foreign, nodes, mute int, members []string) {
	if t.first < 0 {
		t.first = nodes
		for _, n := range t.nodes {
			if n.asked && n.state != gone {
				t.first--
			}
		}
	}
	t.members, t.foreign, t.mute = members, foreign, min(mute, foreign)
	t.reports = 0
	for name, n := range t.nodes {
		if name == "" || n.state != gone && !t.member(name) {
			t.reports += n.reports
		}
	}
	unknown := t.first - foreign // were counted at first and are no foreign nodes: members that may have been asked
	for name, n := range t.nodes {
		if name != "" && has(members, name) && (!n.asked || n.late) {
			unknown--
		}
	}
	for _, name := range members {
		if unknown > 0 && t.nodes[name] == nil {
			t.nodes[name] = &node{asked: true, late: true}
			unknown--
		}
	}
}

// Overdue says that those are not waited for any more that were not known when the question was sent.
func (t *Tally) Overdue() {
	t.overdue = true
	for _, n := range t.nodes {
		if n.late && n.state == waiting && n.reports == 0 {
			n.state = silent
		}
	}
}

// Listed is Counted with the sorted names of all other nodes, and returns what is lost with those that are not among them.
func (t *Tally) Listed(names []string, mute int, members []string) (lost []Loss) {
	nameless, fresh := 0, 0 // foreign nodes that have not told their names; those of them that have not answered before
	for _, name := range names {
		if !has(members, name) && t.nodes[name] == nil {
			nameless++
			if !has(t.before, name) {
				fresh++
			}
		}
	}
	vanished := 0
	for _, name := range t.before {
		if !has(names, name) {
			vanished++
		}
	}
	t.fresh = min(fresh, vanished)
	foreign := nameless
	for name, n := range t.nodes {
		switch present := has(names, name); {
		case name == "" && nameless > 0:
		case name != "" && present:
			if !n.asked && !has(members, name) {
				foreign++
			}
		case n.state != gone:
			if sockets := n.end(); sockets > 0 {
				lost = append(lost, Loss{name, sockets})
			}
		}
	}
	t.know(foreign, len(names), mute, members)
	return lost
}

// Uncounted reports whether the foreign nodes have to be counted, for the first time or again.
func (t *Tally) Uncounted() bool { return t.foreign < 0 }

// Outstanding returns the members that are waited for, sorted.
func (t *Tally) Outstanding() (names []string) {
	for name, n := range t.nodes {
		if n.owes() && t.member(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ForeignOutstanding reports whether foreign nodes, or their sockets, are waited for.
func (t *Tally) ForeignOutstanding() bool {
	if t.foreign < 0 || t.reports < t.expected() {
		return true
	}
	for name, n := range t.nodes {
		if n.owes() && !t.member(name) {
			return true
		}
	}
	return false
}

// member reports whether a node was or has become a member.
func (t *Tally) member(name string) bool { return t.nodes[name].asked || has(t.members, name) }

// Done reports whether there is nothing left to wait for. Once sockets have been silent for too long it never does, so that the
// question ends with its time.
func (t *Tally) Done() bool {
	if t.late || t.foreign < 0 || t.reports < t.expected() {
		return false
	}
	for _, n := range t.nodes {
		if n.owes() {
			return false
		}
	}
	return true
}

// expected is how many foreign nodes are waited for.
func (t *Tally) expected() int { return t.foreign - t.mute - t.excused() }

// excused is how many foreign nodes are not waited for any more since they may not have been asked.
func (t *Tally) excused() int {
	switch {
	case !t.overdue:
		return 0
	case t.handed >= 0 && t.answered() >= t.handed:
		return max(t.foreign-t.reports, 0)
	}
	return t.fresh
}

// answered is how many nodes have reported.
func (t *Tally) answered() (sum int) {
	for _, n := range t.nodes {
		sum += n.reports
	}
	return sum
}

// Heard reports whether anybody has answered.
func (t *Tally) Heard() bool {
	for _, n := range t.nodes {
		if n.reports > 0 {
			return true
		}
	}
	return false
}

// Surplus reports whether more foreign nodes have reported than are waited for: fewer of them are mute than it was believed.
func (t *Tally) Surplus() bool {
	return t.foreign >= 0 && t.mute > 0 && t.reports > t.foreign-t.mute
}

// Outcome is the end of a question.
type Outcome struct {
	Missing    []string // nodes, sorted, that have not answered or not to the end
	Unanswered int      // all of them, those without a name included
	Silent     []string // those of Missing that were waited for and have said nothing
	Foreign    int      // how many foreign nodes there are; -1 if they could not be counted
	Mute       int      // how many of them have not answered, without those that may not have been asked
	Named      []string // those of them that have answered with their names, sorted
	Lost       []Loss   // sockets that have not settled
}

// End sums up.
func (t *Tally) End() Outcome {
	o := Outcome{Foreign: t.foreign}
	for name, n := range t.nodes {
		if n.open > 0 {
			o.Lost = append(o.Lost, Loss{name, n.open})
		}
		if name != "" && n.reports > 0 && n.state != gone && !t.member(name) {
			o.Named = append(o.Named, name)
		}
		unreported := n.asked && n.reports == 0 && n.state != gone
		if unreported && n.state == waiting && !n.late {
			o.Silent = append(o.Silent, name)
		}
		if unreported || n.open > 0 || n.lost > 0 {
			o.Unanswered++
			if name != "" {
				o.Missing = append(o.Missing, name)
			}
		}
	}
	if t.foreign >= 0 {
		missing := max(t.foreign-t.reports, 0)
		o.Unanswered += missing
		o.Mute = max(missing-t.excused(), 0)
	}
	slices.Sort(o.Named)
	slices.Sort(o.Missing)
	slices.Sort(o.Silent)
	slices.SortFunc(o.Lost, func(a, b Loss) int { return cmp.Compare(a.Node, b.Node) })
	return o
}

// owed is how many sockets are open, early how many have settled before they were reported.
func (t *Tally) owed() (sum int) {
	for _, n := range t.nodes {
		sum += max(n.open, 0)
	}
	return sum
}

func (t *Tally) early() (sum int) {
	for _, n := range t.nodes {
		sum += max(-n.open, 0)
	}
	return sum
}

func (t *Tally) node(name string) *node {
	n := t.nodes[name]
	if n == nil {
		n = new(node)
		t.nodes[name] = n
	}
	return n
}

func has(sorted []string, name string) bool {
	_, found := slices.BinarySearch(sorted, name)
	return found
}
