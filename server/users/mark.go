package users

import (
	"slices"

	"github.com/sockeye-io/sockeye/adapter"
)

// mark is what a message to one node says of who gets it. The first node is responsible: it sends the message on to those that
// hold the user too and are not in the mark, so that of several nodes one does. A node that stands there once has the message,
// or is being sent it. One that did not hold the user when it came stands there twice, as one that does not have it: the
// message may be sent to it again if the user has moved back there, which adds it a third time.
type mark []adapter.NodeID

// maxTimes is how often a node may stand in a mark: a user that moves faster than messages do is lost in the end.
const maxTimes = 8

func (m mark) times(node adapter.NodeID) (n int) {
	for _, id := range m {
		if id == node {
			n++
		}
	}
	return n
}

// has reports whether a node has the message, or cannot be sent it any more.
func (m mark) has(node adapter.NodeID) bool {
	n := m.times(node)
	return n%2 == 1 || n >= maxTimes
}

// anybody reports whether somebody other than a node has the message.
func (m mark) anybody(but adapter.NodeID) bool {
	return slices.ContainsFunc(m, func(id adapter.NodeID) bool { return id != but && m.times(id)%2 == 1 })
}

// missing returns those of a list that do not have the message.
func (m mark) missing(list []adapter.NodeID) []adapter.NodeID {
	return slices.DeleteFunc(slices.Clone(list), m.has)
}

// without says that a node does not have the message, although it came there.
func (m mark) without(node adapter.NodeID) mark {
	if m.times(node)%2 == 0 {
		return m
	}
	return append(slices.Clip(m), node)
}

// sentTo adds those to whom the message is sent. The first of them is responsible.
func (m mark) sentTo(nodes []adapter.NodeID) mark {
	return slices.Concat(mark(nodes), m)
}
