package membership

import (
	"encoding/json"
	"maps"
	"slices"
)

// Serve says that this node has a topic: a namespace that it serves. The others are told in batches: the first at once,
// then at most ten times a second. At most 4,096 topics are told, and none of over 256 bytes or that is not UTF-8: for a topic beyond that this
// node is in no member's Serving, so that whoever asks its nodes has to count it among those without a name.
func (m *Members) Serve(topic string) {
	m.mu.Lock()
	defer m.unlock()
	if validText(topic) {
		m.topics.serve(topic)
		m.work = m.topics.pending()
	}
}

// Unserve says that this node does not have the topic any more.
func (m *Members) Unserve(topic string) {
	m.mu.Lock()
	defer m.unlock()
	m.topics.unserve(topic)
	m.work = m.topics.pending()
}

// ownTopics are those of this node.
type ownTopics struct {
	version uint64 // of told, from 1
	told    map[string]struct{}
	added   map[string]struct{} // not told yet
	removed map[string]struct{} // among told, but not served any more
}

func newOwnTopics() ownTopics {
	return ownTopics{version: 1, told: make(map[string]struct{}), added: make(map[string]struct{}), removed: make(map[string]struct{})}
}

func (t *ownTopics) serve(topic string) {
	if _, told := t.told[topic]; told {
		delete(t.removed, topic)
	} else {
		t.added[topic] = struct{}{}
	}
}

func (t *ownTopics) unserve(topic string) {
	if _, told := t.told[topic]; told {
		t.removed[topic] = struct{}{}
	} else {
		delete(t.added, topic)
	}
}

// pending reports whether there is something to tell.
func (t *ownTopics) pending() bool {
	return len(t.removed) > 0 || len(t.added) > 0 && len(t.told) < maxTopics
}

// next is the next version: it takes over what is pending, up to about size bytes.
func (t *ownTopics) next(size int) (served, unserved []string) {
	t.version++
	for _, topic := range slices.Sorted(maps.Keys(t.removed)) {
		if size -= topicSize(topic); size < 0 {
			return served, unserved
		}
		delete(t.removed, topic)
		delete(t.told, topic)
		unserved = append(unserved, topic)
	}
	for _, topic := range slices.Sorted(maps.Keys(t.added)) {
		if size -= topicSize(topic); size < 0 || len(t.told) >= maxTopics {
			return served, unserved
		}
		delete(t.added, topic)
		t.told[topic] = struct{}{}
		served = append(served, topic)
	}
	return served, unserved
}

// topicSize is what a topic takes in a body.
func topicSize(topic string) int {
	quoted, _ := json.Marshal(topic) // cannot fail
	return len(quoted) + 1
}

// tellTopicsLocked tells all what has changed.
func (m *Members) tellTopicsLocked() {
	for m.topics.pending() {
		msg := m.headerLocked(kindTopics)
		msg.Was = m.topics.version
		msg.Served, msg.Unserved = m.topics.next(maxTold - 1<<10)
		msg.Topics = m.topics.version
		m.tellLocked(All, &msg)
	}
	m.hello = nil
}

// helloLocked returns the bodies of a hello.
func (m *Members) helloLocked() [][]byte {
	if m.hello != nil {
		return m.hello
	}
	var parts [][]string
	room := 0
	for _, topic := range slices.Sorted(maps.Keys(m.topics.told)) {
		size := topicSize(topic)
		if room < size {
			parts = append(parts, nil)
			room = maxTold - maxIdentity - 1<<10
		}
		room -= size
		last := &parts[len(parts)-1]
		*last = append(*last, topic)
	}
	if parts == nil {
		parts = [][]string{nil}
	}
	for i, topics := range parts {
		msg := m.headerLocked(kindHello)
		msg.identity = identityOf(&m.self, m.settings)
		msg.Serves = topics
		if len(parts) > 1 {
			msg.Part, msg.Parts = i, len(parts)
		}
		if body, err := msg.encode(); err == nil { // New has tried
			m.hello = append(m.hello, body)
		}
	}
	return m.hello
}

// gathering are the topics of a hello that comes in several bodies.
type gathering struct {
	version uint64
	missing map[int]struct{} // parts
	topics  map[string]struct{}
}

// gather takes a part of a hello. It returns the topics once they are complete and newer than those that are known.
// It reports false if they are more than a node may tell.
func (mem *member) gather(msg *message) (topics map[string]struct{}, ok bool) {
	if msg.Topics <= mem.version {
		return nil, true
	}
	g := mem.gathered
	if g == nil || msg.Topics > g.version {
		g = &gathering{version: msg.Topics, missing: make(map[int]struct{}), topics: make(map[string]struct{})}
		for part := range msg.Parts {
			g.missing[part] = struct{}{}
		}
		mem.gathered = g
	}
	if msg.Topics < g.version {
		return nil, true
	}
	delete(g.missing, msg.Part)
	for _, topic := range msg.Serves {
		g.topics[topic] = struct{}{}
	}
	if len(g.topics) > maxTopics {
		mem.gathered = nil
		return nil, false
	}
	if len(g.missing) > 0 {
		return nil, true
	}
	mem.gathered = nil
	mem.version = g.version
	return g.topics, true
}

// replaceTopicsLocked makes topics those of a member.
func (m *Members) replaceTopicsLocked(mem *member, topics map[string]struct{}) (served, unserved []string) {
	for topic := range mem.topics {
		if _, still := topics[topic]; !still {
			unserved = append(unserved, topic)
		}
	}
	return m.changeTopicsLocked(mem, slices.Collect(maps.Keys(topics)), unserved)
}

// changeTopicsLocked returns what has really changed.
func (m *Members) changeTopicsLocked(mem *member, serve, unserve []string) (served, unserved []string) {
	for _, topic := range unserve {
		if _, known := mem.topics[topic]; !known {
			continue
		}
		delete(mem.topics, topic)
		unserved = append(unserved, topic)
		members := m.serving[topic]
		if i, found := search(members, mem); found {
			members = slices.Delete(members, i, i+1)
		}
		if m.serving[topic] = members; len(members) == 0 {
			delete(m.serving, topic)
		}
	}
	for _, topic := range serve {
		if _, known := mem.topics[topic]; known {
			continue
		}
		mem.topics[topic] = struct{}{}
		served = append(served, topic)
		members := m.serving[topic]
		i, _ := search(members, mem)
		m.serving[topic] = slices.Insert(members, i, mem)
	}
	slices.Sort(served)
	slices.Sort(unserved)
	return served, unserved
}

func search(members []*member, mem *member) (int, bool) {
	return slices.BinarySearchFunc(members, mem.node.ID, func(a *member, id ID) int {
		if a.node.ID < id {
			return -1
		}
		if a.node.ID > id {
			return 1
		}
		return 0
	})
}
