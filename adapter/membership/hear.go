package membership

import "time"

// receive takes what the transport brings. It decides whose message it is; memberLocked what it means.
func (m *Members) receive(from Channel, body []byte) {
	msg, err := decode(body)
	now := time.Now()
	m.mu.Lock()
	defer m.unlock()
	switch {
	case m.closed:
	case err != nil:
		m.stats.Malformed++
	case msg.From == m.self.ID:
		switch {
		case from == All:
			m.echoLocked(now)
		case from == Inbox && msg.Kind == kindPing && msg.Mark != 0:
			m.canaryBackLocked(msg.From, msg.Mark, now)
		}
	case from == Common || msg.V != wireVersion || msg.Kind == kindHello && m.differsLocked(msg):
		if msg.Kind == kindHello {
			m.meetLocked(msg, now)
		}
	default:
		m.memberLocked(from, msg, now)
	}
}

// memberLocked takes what a node says that belongs to the cluster, or will.
func (m *Members) memberLocked(from Channel, msg *message, now time.Time) {
	if from == Inbox && msg.Kind == kindOver && msg.Of == m.life {
		m.beginLifeLocked()
	}
	mem := m.members[msg.From]
	if mem == nil && msg.Life <= m.graves.lives[msg.From] {
		if msg.Kind != kindBye && m.overs.pass(msg.From, now) {
			over := m.headerLocked(kindOver)
			over.Of = msg.Life
			m.sendLocked(msg.From, &over)
		}
		return
	}
	if mem != nil && msg.Life < mem.life {
		return // it was on its way for long
	}
	if from == Inbox {
		m.answerLocked(msg)
	}
	newcomer := mem == nil
	switch {
	case newcomer && msg.Kind != kindHello:
		m.askUnknownLocked(msg, now)
		return
	case newcomer:
		if mem = m.admitLocked(msg, now); mem == nil {
			return
		}
	case msg.Life > mem.life:
		mem = m.renewLocked(mem, msg.Life, now)
	}
	m.heardLocked(mem, now)
	mem.every = msg.every()
	m.lookByLocked(now.Add(allowance(mem.every)))
	if mem.node.Draining != msg.Draining {
		mem.node.Draining = msg.Draining
		if !newcomer && msg.Kind != kindBye {
			m.changedLocked(Change{Node: mem.node, Was: mem.node.State, Known: true, Reason: reasonDraining})
		}
	}
	switch msg.Kind {
	case kindHello:
		m.greetLocked(from, mem, msg, newcomer, now)
		return
	case kindTopics:
		m.topicsLocked(mem, msg)
	case kindBeat:
		if from == Inbox && (msg.Mark != 0 || !mem.marks) {
			mem.marks = msg.Mark != 0
			m.canaryBackLocked(msg.From, msg.Mark, now)
		}
	case kindBye:
		m.forgetCanariesLocked(msg.From)
		m.overLocked(mem, reasonBye)
		return
	}
	if msg.Topics > mem.version && now.Sub(mem.asked) >= time.Second {
		mem.asked = now
		ask := m.headerLocked(kindAsk)
		m.sendLocked(mem.node.ID, &ask)
	}
}

// answerLocked answers what was asked at this node's inbox, whoever it was.
func (m *Members) answerLocked(msg *message) {
	switch msg.Kind {
	case kindAsk:
		m.welcomeLocked(msg.From)
	case kindPing:
		beat := m.headerLocked(kindBeat)
		beat.Mark = msg.Mark
		m.sendLocked(msg.From, &beat)
	}
}

func (m *Members) askUnknownLocked(msg *message, now time.Time) {
	if _, stranger := m.strangers[msg.From]; stranger || msg.Kind == kindBye {
		return
	}
	if len(m.members) >= maxMembers {
		m.stats.Full++
		return
	}
	if m.asks.pass(msg.From, now) {
		ask := m.headerLocked(kindAsk)
		m.sendLocked(msg.From, &ask)
	}
}

// welcomeLocked says hello to one node.
func (m *Members) welcomeLocked(to ID) {
	for _, body := range m.helloLocked() {
		m.postLocked(letter{Inbox, to, body})
	}
}

// admitLocked makes the sender of a hello a member. greetLocked tells the watchers.
func (m *Members) admitLocked(msg *message, now time.Time) *member {
	if len(m.members) >= maxMembers {
		m.stats.Full++
		return nil
	}
	mem := &member{life: msg.Life, fresh: now, topics: make(map[string]struct{})}
	mem.node = Node{ID: msg.From, Life: msg.From.life(msg.Life)}
	m.members[msg.From] = mem
	delete(m.asks, msg.From)
	return mem
}

// renewLocked begins another life of a member that had to give up the one before. It is the same process, and what is known
// of it holds.
func (m *Members) renewLocked(old *member, life int, now time.Time) *member {
	topics := m.overLocked(old, reasonNewLife)
	next := *old
	mem := &next
	mem.life, mem.fresh, mem.renewed, mem.topics = life, now, now, make(map[string]struct{})
	mem.node.Life, mem.node.State = mem.node.ID.life(life), Alive
	m.members[mem.node.ID] = mem
	m.nameLocked(mem)
	served, _ := m.changeTopicsLocked(mem, topics, nil)
	m.changedLocked(Change{Node: mem.node, Was: Alive, Served: served, Reason: reasonHello})
	return mem
}

// greetLocked takes a hello.
func (m *Members) greetLocked(from Channel, mem *member, msg *message, newcomer bool, now time.Time) {
	was := mem.node
	m.unnameLocked(mem)
	msg.describe(&mem.node)
	m.nameLocked(mem)
	topics, ok := mem.gather(msg)
	if !ok {
		m.stats.Malformed++
	}
	var served, unserved []string
	if topics != nil {
		served, unserved = m.replaceTopicsLocked(mem, topics)
	}
	reason := reasonTopics
	switch {
	case newcomer || was != mem.node:
		reason = reasonHello
	case from == All && msg.Part == 0 && !mem.renewed.Equal(now): // which a node says when its transport is up again
		reason = reasonBack
	}
	if reason != reasonTopics || len(served)+len(unserved) > 0 {
		m.changedLocked(Change{Node: mem.node, Was: Alive, Known: !newcomer, Served: served, Unserved: unserved, Reason: reason})
	}
	if was.Name != mem.node.Name {
		for _, other := range m.named[mem.node.Name] {
			if other != mem {
				m.doubtLocked(other, now)
			}
		}
	}
	m.compareLocked(mem)
	switch {
	case from != All:
	case newcomer:
		m.welcomeLocked(mem.node.ID)
	case msg.Part == 0:
		beat := m.headerLocked(kindBeat)
		m.sendLocked(mem.node.ID, &beat)
	}
}

// topicsLocked takes a change of what a member serves. If it is not the next one, the version stays, and it will be asked.
func (m *Members) topicsLocked(mem *member, msg *message) {
	if msg.Was != mem.version || msg.Topics <= msg.Was {
		return
	}
	if len(mem.topics)+len(msg.Served) > maxTopics+len(msg.Unserved) {
		m.stats.Malformed++
		return
	}
	mem.version = msg.Topics
	served, unserved := m.changeTopicsLocked(mem, msg.Served, msg.Unserved)
	if len(served)+len(unserved) > 0 {
		m.changedLocked(Change{Node: mem.node, Was: mem.node.State, Known: true, Served: served, Unserved: unserved, Reason: reasonTopics})
	}
}
