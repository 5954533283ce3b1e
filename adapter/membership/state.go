package membership

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// doubtFor is how long a node may take to answer a ping when its name has come back with another life.
const doubtFor = time.Second

// Heard says that something else was heard of a node, for example an answer. While nobody is silent it costs one atomic load,
// and is not kept.
func (m *Members) Heard(id ID) {
	if m.quiet.Load() == 0 {
		return
	}
	now := time.Now()
	m.mu.Lock()
	defer m.unlock()
	if mem := m.members[id]; mem != nil {
		m.heardLocked(mem, now)
	}
}

// Unanswered says that a node let a question run out that was asked at since. If no message of the membership was heard of it
// since then, it is silent. It is pinged, so that one that has only lost the question is alive again within a round trip.
func (m *Members) Unanswered(id ID, since time.Time) {
	now := time.Now()
	m.mu.Lock()
	defer m.unlock()
	m.thawLocked(now)
	mem := m.members[id]
	if mem == nil || !m.connected || mem.node.State != Alive || mem.fresh.After(since) {
		return
	}
	m.quietLocked(mem, Silent, reasonUnanswered, now)
	ping := m.headerLocked(kindPing)
	m.sendLocked(id, &ping)
}

// Probe asks the broker which of the nodes do not read their inbox, and makes those absent. A broker that cannot tell
// makes no difference.
func (m *Members) Probe(ctx context.Context, ids []ID) error {
	asked := time.Now()
	m.mu.Lock()
	epoch := m.epoch
	known := slices.DeleteFunc(slices.Clone(ids), func(id ID) bool {
		mem := m.members[id]
		return mem == nil || mem.node.State == Absent && mem.doubt.IsZero()
	})
	m.mu.Unlock()
	if len(known) == 0 {
		return nil
	}
	absent, err := m.transport.Absent(ctx, known)
	if err != nil {
		return fmt.Errorf("asking the broker which nodes are there: %w", err)
	}
	now := time.Now()
	m.mu.Lock()
	defer m.unlock()
	m.thawLocked(now)
	if m.closed || !m.connected || m.epoch != epoch {
		return nil // the broker has just been away, and so were the others
	}
	for _, id := range absent {
		mem := m.members[id]
		if mem == nil || mem.fresh.After(asked) {
			continue
		}
		m.quietLocked(mem, Absent, reasonAbsent, now)
		if !mem.doubt.IsZero() && m.namesakeLocked(mem) {
			m.overLocked(mem, reasonReplaced)
		}
	}
	return nil
}

// setLocked is the only place that changes a state or a doubt of a member.
func (m *Members) setLocked(mem *member, state State, doubt time.Time) {
	before := mem.quiet()
	mem.node.State, mem.doubt = state, doubt
	switch after := mem.quiet(); {
	case after && !before:
		m.quiet.Add(1)
	case before && !after:
		m.quiet.Add(-1)
	}
}

// heardLocked notes that a member lives.
func (m *Members) heardLocked(mem *member, now time.Time) {
	was := mem.node.State
	mem.fresh = now
	m.setLocked(mem, Alive, time.Time{})
	if was != Alive {
		m.lookByLocked(now.Add(allowance(mem.every)))
		m.changedLocked(Change{Node: mem.node, Was: was, Known: true, Reason: reasonHeard})
	}
}

// quietLocked makes a member silent or absent. If its name belongs to somebody else by now, it is asked once whether it
// still lives.
func (m *Members) quietLocked(mem *member, state State, reason string, now time.Time) {
	was := mem.node.State
	if was == state {
		return
	}
	m.setLocked(mem, state, mem.doubt)
	m.lookByLocked(now)
	m.changedLocked(Change{Node: mem.node, Was: was, Known: true, Reason: reason})
	if was == Alive && m.namesakeLocked(mem) {
		m.doubtLocked(mem, now)
	}
}

// overLocked forgets a member whose life is over. It returns what it served.
func (m *Members) overLocked(mem *member, reason string) (topics []string) {
	was := mem.node.State
	m.setLocked(mem, Alive, time.Time{}) // it does not count any more
	mem.node.State = Over
	_, topics = m.changeTopicsLocked(mem, nil, slices.Collect(maps.Keys(mem.topics)))
	delete(m.members, mem.node.ID)
	m.unnameLocked(mem)
	m.graves.dig(mem.node.ID, mem.life)
	m.changedLocked(Change{Node: mem.node, Was: was, Known: true, Unserved: topics, Reason: reason})
	return topics
}

// namesakeLocked reports whether another member that is heard has a member's name.
func (m *Members) namesakeLocked(mem *member) bool {
	for _, other := range m.named[mem.node.Name] {
		if other != mem && other.node.State == Alive {
			return true
		}
	}
	return false
}

// doubtLocked asks a member whose name has come back with another id whether it still lives: its inbox by a ping, and the
// broker, if that can tell.
func (m *Members) doubtLocked(mem *member, now time.Time) {
	m.setLocked(mem, mem.node.State, now.Add(doubtFor))
	m.lookByLocked(mem.doubt)
	ping := m.headerLocked(kindPing)
	m.sendLocked(mem.node.ID, &ping)
	if m.closed || slices.Contains(m.doubted, mem.node.ID) {
		return
	}
	m.doubted = append(m.doubted, mem.node.ID)
	if !m.asking {
		m.asking = true
		m.running.Go(m.askBroker)
	}
}

// askBroker exists while there are members in doubt that the broker has not been asked about.
func (m *Members) askBroker() {
	for {
		m.mu.Lock()
		ids := m.doubted
		m.doubted = nil
		if len(ids) == 0 || m.closed {
			m.asking = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		ctx, cancel := context.WithTimeout(m.ctx, doubtFor)
		_ = m.Probe(ctx, ids) // if it cannot be asked, the ping decides
		cancel()
	}
}
