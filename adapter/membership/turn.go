package membership

import (
	"log/slog"
	"math/rand/v2"
	"time"
)

// topicsEvery is the least time between two messages about what this node serves.
const topicsEvery = 100 * time.Millisecond

// perNode is what each member adds to the interval of a large cluster, so that nobody receives more than 100 messages a second. Beside
// the beats of the others these are in each interval extraBeats: three that have to do with canaries.
const (
	perNode    = 10 * time.Millisecond
	extraBeats = 3
)

// allowance is how long nothing may be heard of a member with that interval: three of them and a bit.
func allowance(every time.Duration) time.Duration { return 3*every + every/3 }

// letter is a body on its way to the transport.
type letter struct {
	channel Channel
	to      ID // of Inbox
	body    []byte
}

// keep does what is due, and is the only one that sends.
func (m *Members) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		letters, due := m.turn()
		for _, l := range letters {
			m.send(l)
		}
		timer.Reset(time.Until(due))
		select {
		case <-m.ctx.Done():
			m.sayGoodBye()
			return
		case <-m.wake:
		case <-timer.C:
		}
	}
}

func (m *Members) send(l letter) {
	var err error
	if l.channel == Inbox {
		err = m.transport.Send(l.to, l.body)
	} else {
		err = m.transport.Tell(l.channel, l.body)
	}
	if err == nil {
		return
	}
	m.mu.Lock()
	defer m.unlock()
	if l.channel != Common {
		m.stats.Unsent++
	} else if !m.refused {
		m.refused = true
		m.logLocked(slog.LevelInfo, "this node cannot tell nodes with other settings of itself, and goes on without", "err", err)
	}
}

// sayGoodBye sends what was still to be said, and that this node goes.
func (m *Members) sayGoodBye() {
	m.mu.Lock()
	bye := m.headerLocked(kindBye)
	m.tellLocked(All, &bye)
	letters := m.out
	m.out = nil
	m.mu.Unlock()
	for _, l := range letters {
		m.send(l)
	}
}

// turn does what is due. It returns what is to be sent, and when it has to be called again.
func (m *Members) turn() (letters []letter, due time.Time) {
	now := time.Now()
	m.mu.Lock()
	defer m.unlock()
	if !m.connected {
		m.due = now.Add(time.Hour)
		return nil, m.due
	}
	m.thawLocked(now)
	if !now.Before(m.lookAt) {
		m.concludeLocked(now)
	}
	if m.topics.pending() && !now.Before(m.topicsAt) {
		m.tellTopicsLocked()
		m.topicsAt = now.Add(topicsEvery)
	}
	if !now.Before(m.beatAt) {
		m.paceLocked(now)
		beat := m.headerLocked(kindBeat)
		m.tellLocked(All, &beat)
		m.sendCanariesLocked(now)
	}
	if !m.answerAt.IsZero() && !now.Before(m.answerAt) {
		m.announceCommonLocked()
	}
	m.due = earlier(m.beatAt, m.lookAt)
	if m.topics.pending() {
		m.due = earlier(m.due, m.topicsAt)
	}
	if !m.answerAt.IsZero() {
		m.due = earlier(m.due, m.answerAt)
	}
	letters, m.out = m.out, nil
	m.work = false // it is all in letters
	return letters, m.due
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// paceLocked says when the next beat comes.
func (m *Members) paceLocked(now time.Time) {
	every := min(max(m.opts.Interval, time.Duration(1+len(m.members)+extraBeats)*perNode), maxInterval)
	if every != m.every {
		m.every = every
		m.hello = nil
	}
	m.beatAt = now.Add(every*9/10 + rand.N(every/5+1))
}

// thawLocked notices that this node was frozen: it should have looked long ago. It has heard nobody meanwhile.
func (m *Members) thawLocked(now time.Time) {
	if m.connected && now.Sub(m.due) > m.opts.Interval {
		m.allowLocked(now)
	}
}

// allowLocked gives everybody a fresh allowance.
func (m *Members) allowLocked(now time.Time) {
	m.due, m.lookAt = now, now
	if !m.echoed.IsZero() {
		m.echoed = now
	}
	for _, mem := range m.members {
		mem.fresh = now
		if !mem.doubt.IsZero() {
			m.doubtLocked(mem, now)
		}
	}
}

// up and down are called by the transport. Between down and up nothing is said and nothing concluded.
func (m *Members) up() {
	now := time.Now()
	m.mu.Lock()
	defer m.unlock()
	m.connected = true
	m.epoch++
	m.reach()
	m.allowLocked(now)
	m.paceLocked(now)
	m.announceLocked()
	m.announceCommonLocked()
}

func (m *Members) down() {
	m.mu.Lock()
	defer m.unlock()
	m.connected = false
	m.epoch++
	m.loseCanariesLocked(len(m.canaries.under))
}

// listenLocked notices that this node does not hear itself any more, if it ever did. Then it is its own fault that others are
// silent, and no life ends by that.
func (m *Members) listenLocked(now time.Time) {
	if !m.echoed.IsZero() && now.Sub(m.echoed) >= allowance(m.every) {
		m.deaf = now
	}
}

// echoLocked notes that this node heard itself.
func (m *Members) echoLocked(now time.Time) {
	m.listenLocked(now)
	m.echoed = now
}

// concludeLocked looks at all members, and says when it has to look again.
func (m *Members) concludeLocked(now time.Time) {
	m.lookAt = now.Add(time.Hour)
	m.listenLocked(now)
	for _, mem := range m.members {
		if !mem.doubt.IsZero() && !now.Before(mem.doubt) {
			m.setLocked(mem, mem.node.State, time.Time{})
			if m.namesakeLocked(mem) {
				m.overLocked(mem, reasonReplaced)
				continue
			}
		}
		silent := mem.fresh.Add(allowance(mem.every))
		if mem.node.State == Alive && !now.Before(silent) {
			m.quietLocked(mem, Silent, reasonSilence, now)
		}
		over := mem.fresh.Add(m.opts.OverAfter)
		if m.deaf.After(mem.fresh) {
			over = m.deaf.Add(m.opts.OverAfter)
		}
		if mem.node.State != Alive && !now.Before(over) {
			m.overLocked(mem, reasonSilence)
			continue
		}
		if mem.node.State == Alive {
			m.lookByLocked(silent)
		} else {
			m.lookByLocked(over)
		}
		if !mem.doubt.IsZero() {
			m.lookByLocked(mem.doubt)
		}
	}
}

// lookByLocked makes keep look at the members at that time or before.
func (m *Members) lookByLocked(at time.Time) {
	if at.Before(m.lookAt) {
		m.lookAt = at
		m.work = true
	}
}

// headerLocked begins a message.
func (m *Members) headerLocked(kind string) message {
	msg := message{
		V: wireVersion, Kind: kind, From: m.self.ID, Every: m.every.Milliseconds(), Topics: m.topics.version, Draining: m.self.Draining,
	}
	if m.life > 1 {
		msg.Life = m.life
	}
	return msg
}

func (m *Members) tellLocked(to Channel, msg *message) {
	if body, err := msg.encode(); err == nil { // New has tried
		m.postLocked(letter{to, "", body})
	}
}

func (m *Members) sendLocked(to ID, msg *message) {
	if body, err := msg.encode(); err == nil { // New has tried
		m.postLocked(letter{Inbox, to, body})
	}
}

func (m *Members) postLocked(l letter) {
	if m.connected {
		m.out = append(m.out, l)
		m.work = true
	}
}
