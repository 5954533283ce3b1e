package server

import "slices"

// maxDepartures bounds the namespaces that are remembered as left; who leaves more of them in one go does not go on
// sending to them.
const maxDepartures = 64

// departures are namespaces that a client has left with messages that arrived together. What it sent to them behind that,
// in one go, is dropped as in the reference; later it is a violation.
type departures struct {
	arrival uint32 // see engine.Session.Arrival
	names   []string
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
	if s != nil {
		s.close(ReasonClientDisconnect)
	} else if !undecided {
		return false
	}
	arrival := c.session.Arrival()
	if c.left == nil || c.left.arrival != arrival {
		c.left = &departures{arrival: arrival}
	}
	if len(c.left.names) < maxDepartures {
		c.left.names = append(c.left.names, namespace)
	}
	return true
}

// hasLeft reports whether the client has left a namespace with messages that arrived together with this one.
func (c *client) hasLeft(namespace string) bool {
	if c.left == nil {
		return false
	}
	if c.left.arrival != c.session.Arrival() {
		c.left = nil
		return false
	}
	return slices.Contains(c.left.names, namespace)
}
