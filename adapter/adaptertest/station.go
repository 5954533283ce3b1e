package adaptertest

import "github.com/sockeye-io/sockeye/adapter"

// station is where a node takes what comes from the others, one thing after the other, in one namespace or beside them all.
type station struct {
	// Static after construction.
	cluster *Cluster
	id      adapter.NodeID

	// Guarded by cluster.mu.
	queue   []func() // what comes from the other nodes
	running bool     // a goroutine takes from the queue
	left    error    // why the station is no part of the cluster any more
}

// unavailableLocked says why the station reaches nobody.
func (s *station) unavailableLocked() error {
	if s.left == nil && s.cluster.cut[s.id] {
		return adapter.ErrClusterUnavailable
	}
	return s.left
}

// postLocked sends another station what it is to do.
func (s *station) postLocked(to *station, arrive func()) {
	if s.unavailableLocked() == nil && to.unavailableLocked() == nil {
		to.queueLocked(arrive)
	}
}

func (s *station) queueLocked(f func()) {
	s.queue = append(s.queue, f)
	s.wakeLocked()
}

func (s *station) wakeLocked() {
	if !s.running && len(s.queue) > 0 && !s.cluster.frozen[s.id] {
		s.running = true
		go s.work()
	}
}

// work does what is in the queue until there is no more.
func (s *station) work() {
	c := s.cluster
	for {
		c.mu.Lock()
		if len(s.queue) == 0 || c.frozen[s.id] {
			s.running = false
			c.mu.Unlock()
			return
		}
		next := s.queue[0]
		s.queue = s.queue[1:]
		c.mu.Unlock()
		next()
	}
}
