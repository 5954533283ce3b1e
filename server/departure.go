package server

import "slices"

// maxDepartures bounds the namespaces of either kind that are remembered; who leaves more of them does not go on sending to
// them.
const maxDepartures = 64

// departures are the namespaces that a client has left. What it sends to one of them that has no place is a violation,
// unless a client that keeps to the protocol can have sent it; then it is dropped.
type departures struct {
	// names are those that it has left with the messages that arrived together under this number, see engine.Session.Arrival. What
	// it sent behind that, in one go, is dropped as in the reference.
	arrival uint32
	names   []string

	crossings []crossing
}

// crossing is a namespace that the client has left, or asked for again, before it said anything to the socket there: the answer
// may have been on its way. If another CONNECT comes, the client has taken that answer for the answer to this one, and what
// it sends next may fit neither.
type crossing struct {
	name  string
	again bool // another CONNECT has come
}

// startsAnew reports whether a CONNECT for the namespace of a socket can come from a client that keeps to the protocol: it
// has left and come back before it knew that it was in. Then it has sent nothing to the socket, and another namespace
// has kept it from closing the connection when it left.
func (c *client) startsAnew(s *Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !s.heard && (len(c.sockets) > 1 ||
		slices.ContainsFunc(c.attempts, func(a *attempt) bool { return !a.stale && a.name != s.nsp.name }))
}

// leave handles a DISCONNECT packet for a namespace in which the client has a socket, or nil. It reports whether there was
// something to leave: some clients also send it before they have joined.
func (c *client) leave(namespace string, s *Socket) bool {
	undecided := c.giveUp(namespace)
	if s == nil && !undecided {
		return false
	}
	left := c.departures()
	if arrival := c.session.Arrival(); left.arrival != arrival {
		left.arrival, left.names = arrival, left.names[:0]
	}
	if len(left.names) < maxDepartures {
		left.names = append(left.names, namespace)
	}
	if s != nil {
		left.unheard(s)
		s.close(ReasonClientDisconnect)
	}
	return true
}

// comesAgain notes a CONNECT for a namespace in which the client has a socket, which it replaces, or nil.
func (c *client) comesAgain(namespace string, s *Socket) {
	if s != nil {
		c.departures().unheard(s)
	}
	if c.left == nil {
		return
	}
	if i := c.left.crossing(namespace); i >= 0 {
		c.left.crossings[i].again = true
	}
}

func (c *client) departures() *departures {
	if c.left == nil {
		c.left = new(departures)
	}
	return c.left
}

// excused reports whether a client that keeps to the protocol can have sent what has no place in a namespace.
func (c *client) excused(namespace string) bool {
	if c.left == nil {
		return false
	}
	if c.left.arrival == c.session.Arrival() && slices.Contains(c.left.names, namespace) {
		return true
	}
	i := c.left.crossing(namespace)
	return i >= 0 && c.left.crossings[i].again
}

// unheard notes that the client is done with a socket to which it may have said nothing.
func (d *departures) unheard(s *Socket) {
	if !s.heard && len(d.crossings) < maxDepartures && d.crossing(s.nsp.name) < 0 {
		d.crossings = append(d.crossings, crossing{name: s.nsp.name})
	}
}

func (d *departures) crossing(namespace string) int {
	return slices.IndexFunc(d.crossings, func(x crossing) bool { return x.name == namespace })
}
