package server

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// NamespaceStats is a snapshot of one namespace on this node, or of all children of a parent together: clients choose how many there
// are, and what they are called.
type NamespaceStats struct {
	// Name is that of the namespace or of the parent, see ParentNamespace.Name. It is empty for CONNECT packets to
	// namespaces that there are not, which are refused.
	Name string

	// Live objects.
	Namespaces int // 1, or the children that there are
	Sockets    int // connected sockets
	Connecting int // sockets whose middlewares are running
	Rooms      int // joined rooms; a socket's own room is not counted

	// Counts since the start. CONNECT packets that the client has taken back, or that its end overtook, are in neither.
	Joined  uint64 // sockets that have joined
	Refused uint64 // CONNECT packets that were answered with CONNECT_ERROR
}

// namespaceCounts are the counts of a namespace, or of all children of a parent.
type namespaceCounts struct{ joined, refused atomic.Uint64 }

// NamespaceStats returns the current counts by name. Its cost grows with the number of namespaces, not of sockets.
func (srv *Server) NamespaceStats() []NamespaceStats {
	srv.mu.RLock()
	parents := slices.Clone(srv.parents)
	srv.mu.RUnlock()
	list := []NamespaceStats{srv.strays.stats("")}
	ofParent := make(map[*ParentNamespace]int, len(parents)) // indices
	for _, p := range parents {
		ofParent[p] = len(list)
		list = append(list, p.counts.stats(p.name))
	}
	for _, n := range srv.all() {
		i, known := ofParent[n.parent]
		switch {
		case known:
		case n.parent == nil:
			i = len(list)
			list = append(list, n.counts.stats(n.name))
		default:
			continue // its parent is younger than the list
		}
		s := &list[i]
		s.Namespaces++
		s.Sockets += n.index.Len()
		s.Connecting += int(n.connecting.Load())
		s.Rooms += n.index.RoomCount()
	}
	slices.SortStableFunc(list, func(a, b NamespaceStats) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (c *namespaceCounts) stats(name string) NamespaceStats {
	return NamespaceStats{Name: name, Joined: c.joined.Load(), Refused: c.refused.Load()}
}

// countRefusal counts a CONNECT packet that was refused. a is nil if nothing was decided about it.
func (srv *Server) countRefusal(a *attempt, namespace string) {
	counts := &srv.strays
	if a != nil && a.socket != nil {
		counts = a.socket.nsp.counts
	} else {
		srv.mu.RLock()
		if n := srv.namespaces[namespace]; n != nil {
			counts = n.counts
		}
		srv.mu.RUnlock()
	}
	counts.refused.Add(1)
}

// countDisconnect counts a socket that has disconnected.
func (srv *Server) countDisconnect(reason Reason) {
	i := slices.Index(reasons[:], reason)
	srv.disconnections[max(i, 0)].Add(1)
}
