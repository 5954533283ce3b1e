package chaos

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// tick is the time between two messages of a user to each other one.
const tick = 100 * time.Millisecond

// traffic sends numbered messages between all users and accounts for each of them. One goroutine sends, those of the
// users note what arrives.
type traffic struct {
	stop    chan struct{}
	once    sync.Once // closes stop
	sending sync.WaitGroup
	parted  bool // on a Redis Cluster: Node.js publishes each message at any master, and so keeps no order

	mu sync.Mutex
	// Guarded by mu.
	users    []*user
	flows    map[[2]string]*flow // by sender and receiver
	acks     []ack
	troubles []trouble
	faults   []string
}

// flow is all that one user sent to another.
type flow struct {
	sent []sent // the message n is at n
	// last is the latest number that arrived, by the sessions of sender and receiver: only what takes one way keeps its order, and who moves
	// comes to a node where others' messages may be on their way that he has got ahead of.
	last map[[2]int]int
}

// sent is one message.
type sent struct {
	at, arrived time.Time // arrived is zero if it has not
	from, to    *node
	session     int  // of the sender
	met         int  // session of the receiver when it arrived
	unsent      bool // the sender had no connection any more
}

func (s sent) local() bool { return s.from == s.to }

// ack is the answer of a node to the sender of a message.
type ack struct {
	at      time.Time
	took    time.Duration
	refusal string
}

// trouble is a time in which messages may be lost.
type trouble struct {
	what  string
	began time.Time
	ended time.Time // zero while it lasts
	node  string    // the one that has it, or "" for all messages between nodes
	user  string    // the one that is away, if that is the trouble
	link  bool      // the node itself is well
	lost  int
	met   int // messages that it can have met, the lost ones included
}

// inFlight is how long before a trouble a message may have been sent that is lost by it: it is in a queue or on the way.
const inFlight = 2 * time.Second

func newTraffic() *traffic {
	return &traffic{stop: make(chan struct{}), flows: make(map[[2]string]*flow)}
}

func (t *traffic) fault(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) < 20 {
		t.faults = append(t.faults, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
	}
}

// takeFaults returns what has gone wrong since it was called before.
func (t *traffic) takeFaults() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	faults := t.faults
	t.faults = nil
	return faults
}

// add lets a user take part.
func (t *traffic) add(u *user) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users = append(t.users, u)
}

// start begins to send. end ends it.
func (t *traffic) start() {
	t.sending.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case <-t.stop:
				return
			case <-ticker.C:
				t.round()
			}
		}
	})
}

func (t *traffic) end() {
	t.once.Do(func() { close(t.stop) })
	t.sending.Wait()
}

// round sends one message from each user to each other one.
func (t *traffic) round() {
	t.mu.Lock()
	users := slices.Clone(t.users)
	t.mu.Unlock()
	for _, from := range users {
		for _, to := range users {
			if from != to {
				t.send(from, to)
			}
		}
	}
}

func (t *traffic) send(from, to *user) {
	sender, session := from.on()
	receiver, _ := to.on()
	if sender == nil || receiver == nil {
		return
	}
	key := [2]string{from.name, to.name}
	t.mu.Lock()
	f := t.flows[key]
	if f == nil {
		f = &flow{last: make(map[[2]int]int)}
		t.flows[key] = f
	}
	n := len(f.sent)
	f.sent = append(f.sent, sent{at: time.Now(), from: sender, to: receiver, session: session})
	t.mu.Unlock()
	if !from.send(message{From: from.name, To: to.name, N: n}) {
		t.mu.Lock()
		f.sent[n].unsent = true
		t.mu.Unlock()
	}
}

// arrived notes a message. Who moves to a node that is behind the others may get there what he had got before: messages are
// for whoever is in the room when they arrive.
func (t *traffic) arrived(by *user, m message) {
	_, session := by.on()
	t.mu.Lock()
	f := t.flows[[2]string{m.From, m.To}]
	var wrong string
	switch {
	case m.To != by.name || f == nil || m.N < 0 || m.N >= len(f.sent):
		wrong = "which nobody sent"
	case !f.sent[m.N].arrived.IsZero() && f.sent[m.N].met != session:
	case !f.sent[m.N].arrived.IsZero():
		wrong = "for the second time"
	default:
		s := &f.sent[m.N]
		s.arrived, s.met = time.Now(), session
		way := [2]int{s.session, session}
		if m.N < f.last[way] && (!t.parted || s.from.kind != reference) {
			wrong = fmt.Sprintf("after %d", f.last[way])
		}
		f.last[way] = max(f.last[way], m.N)
	}
	t.mu.Unlock()
	if wrong != "" {
		t.fault("%s got %+v %s", by.name, m, wrong)
	}
}

func (t *traffic) acknowledged(sent time.Time, refusal string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acks = append(t.acks, ack{at: sent, took: time.Since(sent), refusal: refusal})
}

// apart lists the users between whom, in each direction, no message has arrived that was sent after since.
func (t *traffic) apart(since time.Time) (list []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, from := range t.users {
		for _, to := range t.users {
			if f := t.flows[[2]string{from.name, to.name}]; from != to && (f == nil || !f.crossed(since)) {
				list = append(list, from.name+" to "+to.name)
			}
		}
	}
	return list
}

func (f *flow) crossed(since time.Time) bool {
	for i := len(f.sent) - 1; i >= 0 && f.sent[i].at.After(since); i-- {
		if !f.sent[i].arrived.IsZero() {
			return true
		}
	}
	return false
}

// begin notes that something is broken from now on; the function that it returns ends that.
func (t *traffic) begin(tr trouble) (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tr.began = time.Now()
	t.troubles = append(t.troubles, tr)
	i := len(t.troubles) - 1
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.troubles[i].ended = time.Now()
	}
}

// excuse returns the trouble by which a message may have been lost, or nil.
func (t *traffic) excuse(s sent, from, to string) *trouble {
	for i := range t.troubles {
		tr := &t.troubles[i]
		if s.at.Before(tr.began.Add(-inFlight)) || !tr.ended.IsZero() && s.at.After(tr.ended) {
			continue
		}
		switch {
		case tr.user != "":
			if tr.user != from && tr.user != to {
				continue
			}
		case tr.node == "":
			// Node's sharded and streams adapters wait for Redis before they serve their own sockets.
			if s.local() && s.from.kind != reference {
				continue
			}
		case s.from.name != tr.node && s.to.name != tr.node, tr.link && s.local():
			continue
		}
		return tr
	}
	return nil
}

// settled reports whether everything has arrived that was sent between two times and had no excuse.
func (t *traffic) settled(since, until time.Time) bool {
	_, _, lost := t.account(since, until)
	return len(lost) == 0
}

// account counts what was sent and what arrived of it, and lists what is missing without an excuse.
func (t *traffic) account(since, until time.Time) (total, arrived int, lost []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.troubles {
		t.troubles[i].lost, t.troubles[i].met = 0, 0
	}
	for key, f := range t.flows {
		for n, s := range f.sent {
			if s.unsent || s.at.Before(since) || s.at.After(until) {
				continue
			}
			total++
			tr := t.excuse(s, key[0], key[1])
			if tr != nil {
				tr.met++
			}
			switch {
			case !s.arrived.IsZero():
				arrived++
			case tr != nil:
				tr.lost++
			default:
				lost = append(lost, fmt.Sprintf("%s to %s number %d, sent %s from node %s to %s", key[0], key[1], n, s.at.Format("05.000"), s.from.name, s.to.name))
			}
		}
	}
	return total, arrived, lost
}

// toll says what each kind of trouble has cost that was not over at some time, as account has counted it.
func (t *traffic) toll(since time.Time) (lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := make(map[string]*trouble)
	for _, tr := range t.troubles {
		if tr.ended.Before(since) {
			continue
		}
		s := sum[tr.what]
		if s == nil {
			s = &trouble{what: tr.what, began: since, ended: since}
			sum[tr.what] = s
		}
		s.lost, s.met, s.ended = s.lost+tr.lost, s.met+tr.met, s.ended.Add(tr.ended.Sub(tr.began))
	}
	for what, s := range sum {
		lines = append(lines, fmt.Sprintf("%s: lasted %v in all, can have met %d messages, of which %d are lost",
			what, s.ended.Sub(s.began).Round(time.Millisecond), s.met, s.lost))
	}
	slices.Sort(lines)
	return lines
}

// slowest returns how long the slowest message on one node and the slowest answer to a sender took, of those sent since
// then, and how many the nodes refused.
func (t *traffic) slowest(since time.Time) (local, answer time.Duration, refused int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.flows {
		for _, s := range f.sent {
			if s.at.After(since) && s.local() && !s.arrived.IsZero() {
				local = max(local, s.arrived.Sub(s.at))
			}
		}
	}
	for _, a := range t.acks {
		if a.at.After(since) {
			answer = max(answer, a.took)
			if a.refusal != "" {
				refused++
			}
		}
	}
	return local, answer, refused
}
