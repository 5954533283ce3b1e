package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker carries bodies between the links of a test, in order and at once.
type broker struct {
	mu    sync.Mutex
	links map[ID]*link
	// drop may lose what goes from one to another.
	drop func(from, to ID, msg *message) bool
	// counts has what arrived, by receiver, channel and kind.
	counts map[ID]map[string]int
	blind  bool // it cannot tell who is absent
	// longest is the length of the longest body.
	longest int
}

func newBroker() *broker {
	return &broker{links: make(map[ID]*link), counts: make(map[ID]map[string]int)}
}

// link is a Transport.
type link struct {
	b     *broker
	id    ID
	group string // members of a group hear each other

	// Static after Start.
	receive  func(Channel, []byte)
	up, down func()
	done     chan struct{}
	ended    chan struct{}
	kick     chan struct{}

	mu        sync.Mutex
	queue     []func()
	gate      chan struct{} // not nil while the process is frozen
	connected bool
	cut       bool  // nothing goes through, but nobody knows
	deaf      bool  // nothing comes in, but nobody knows
	refuse    error // of Tell(Common)
	probes    int
}

func (b *broker) link(id ID, group string) *link {
	return &link{b: b, id: id, group: group, done: make(chan struct{}), ended: make(chan struct{}), kick: make(chan struct{}, 1)}
}

func (l *link) Start(receive func(Channel, []byte), up, down func()) error {
	l.receive, l.up, l.down = receive, up, down
	l.b.mu.Lock()
	l.b.links[l.id] = l
	l.b.mu.Unlock()
	l.connect(true)
	go l.run()
	return nil
}

// connect makes the broker reachable for this link, or not any more.
func (l *link) connect(up bool) {
	l.mu.Lock()
	l.connected = up
	l.mu.Unlock()
	if up {
		l.put(func() { l.up() })
	} else {
		l.put(func() { l.down() })
	}
}

func (l *link) put(f func()) {
	l.mu.Lock()
	l.queue = append(l.queue, f)
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *link) run() {
	defer close(l.ended)
	for {
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		l.mu.Unlock()
		for _, f := range queue {
			l.thawed()
			select {
			case <-l.done:
				return
			default:
			}
			f()
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-l.done:
			return
		case <-l.kick:
		}
	}
}

// freeze stops the process behind the link until the returned function is called.
func (l *link) freeze() (thaw func()) {
	gate := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate = gate
	return func() {
		l.mu.Lock()
		l.gate = nil
		l.mu.Unlock()
		close(gate)
	}
}

func (l *link) thawed() {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (l *link) set(f func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

var errAway = errors.New("the broker is away")

func (l *link) Tell(to Channel, body []byte) error {
	return l.send(body, to, func(other *link) bool { return to == Common || other.group == l.group })
}

func (l *link) Send(to ID, body []byte) error {
	return l.send(body, Inbox, func(other *link) bool { return other.id == to && other.group == l.group })
}

func (l *link) send(body []byte, channel Channel, wanted func(*link) bool) error {
	l.thawed()
	l.mu.Lock()
	connected, cut, refuse := l.connected, l.cut, l.refuse
	l.mu.Unlock()
	switch {
	case !connected:
		return errAway
	case channel == Common && refuse != nil:
		return refuse
	case cut:
		return nil
	}
	msg, err := decode(body)
	if err != nil {
		return err
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.longest = max(l.b.longest, len(body))
	for id, other := range l.b.links {
		other.mu.Lock()
		hears := other.connected && !other.cut && !other.deaf && wanted(other)
		other.mu.Unlock()
		if !hears || l.b.drop != nil && l.b.drop(l.id, id, msg) {
			continue
		}
		if l.b.counts[id] == nil {
			l.b.counts[id] = make(map[string]int)
		}
		l.b.counts[id][channel.String()+" "+msg.Kind]++
		other.put(func() { other.receive(channel, body) })
	}
	return nil
}

func (l *link) Absent(_ context.Context, ids []ID) ([]ID, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probes++
	if !l.connected {
		return nil, errAway
	}
	if l.b.blind {
		return nil, nil
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id ID) bool { return l.b.links[id] != nil }), nil
}

func (l *link) Close() error {
	l.vanish()
	close(l.done)
	<-l.ended
	return nil
}

// vanish is what the broker sees of a kill -9.
func (l *link) vanish() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.b.links[l.id] == l {
		delete(l.b.links, l.id)
	}
	l.set(func(l *link) { l.cut = true })
}

// received counts what a node got, by channel and kind.
func (b *broker) received(id ID) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.counts[id])
}

func (b *broker) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.counts)
}

// node is one of a test's nodes, with everything that it has told.
type node struct {
	*Members
	link *link
	id   ID

	mu      sync.Mutex
	changes []Change
	selves  []Node
	log     bytes.Buffer
}

func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(p)
}

// idOf is the id of the i-th node of a test.
func idOf(i int) ID { return ID(fmt.Sprintf("%04xabcdabcdabcd", i)) }

// start starts the i-th node, called "n" and i if o does not say otherwise. It ends with the test.
func (b *broker) start(t *testing.T, i int, o Options) *node {
	t.Helper()
	n := &node{id: idOf(i)}
	o.Self.ID = n.id
	if o.Self.Name == "" {
		o.Self.Name = fmt.Sprint("n", i)
	}
	if o.Self.Version == "" {
		o.Self.Version = "1.2.3"
	}
	o.Logger = slog.New(slog.NewTextHandler(n, &slog.HandlerOptions{Level: slog.LevelInfo}))
	o.OnSelf = func(self Node) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.selves = append(n.selves, self)
	}
	if n.link == nil {
		var settings []string
		for _, s := range o.Settings {
			settings = append(settings, s.Flag+"="+s.Value)
		}
		n.link = b.link(n.id, strings.Join(settings, " "))
	}
	var err error
	if n.Members, err = New(o, n.link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	n.Watch(func(c Change) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changes = append(n.changes, c)
	})
	return n
}

// cluster starts nodes 0 to size-1.
func (b *broker) cluster(t *testing.T, size int) []*node {
	t.Helper()
	nodes := make([]*node, size)
	for i := range nodes {
		nodes[i] = b.start(t, i, Options{})
	}
	synctest.Wait()
	return nodes
}

// take returns the changes since the last call: node, state and reason.
func (n *node) take() []string {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	var lines []string
	for _, c := range n.changes {
		lines = append(lines, fmt.Sprintf("%s %v %s", c.Node.Name, c.Node.State, c.Reason))
	}
	n.changes = nil
	return lines
}

// expect fails unless exactly these changes have come since the last look, in any order.
func (n *node) expect(t *testing.T, want ...string) {
	t.Helper()
	got := n.take()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("changes at %s: %q, want %q", n.id, got, want)
	}
}

// states are the states of the other nodes by name.
func (n *node) states() map[string]State {
	synctest.Wait()
	states := make(map[string]State)
	for _, other := range n.Nodes()[1:] {
		states[other.Name] = other.State
	}
	return states
}

func (n *node) expectStates(t *testing.T, want map[string]State) {
	t.Helper()
	if got := n.states(); !maps.Equal(got, want) {
		t.Errorf("states at %s: %v, want %v", n.id, got, want)
	}
}

// logged returns the lines of the log that contain text.
func (n *node) logged(text string) (lines []string) {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for line := range strings.Lines(n.log.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// told returns what OnSelf was told.
func (n *node) told() []Node {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.selves)
}

// complete fails unless all of these nodes know exactly each other, alive.
func complete(t *testing.T, nodes []*node) {
	t.Helper()
	synctest.Wait()
	want := make(map[ID]string)
	for _, n := range nodes {
		want[n.id] = n.Self().Name + " " + n.Self().Life + " " + n.Self().Tag + " alive"
	}
	for _, n := range nodes {
		got := make(map[ID]string)
		for _, other := range n.Nodes() {
			got[other.ID] = other.Name + " " + other.Life + " " + other.Tag + " " + other.State.String()
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s knows %v, want %v", n.id, got, want)
		}
		checkInvariants(t, n.Members)
	}
}

// checkInvariants compares what is kept twice.
func checkInvariants(t *testing.T, m *Members) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	quiet, serving, named := int32(0), 0, 0
	for _, members := range m.named {
		named += len(members)
	}
	if named != len(m.members) {
		t.Errorf("%d of %d members are in the index of names", named, len(m.members))
	}
	for id, mem := range m.members {
		if mem.node.ID != id || mem.node.Life != id.life(mem.life) || mem.node.State == Over || mem.life <= m.graves.lives[id] {
			t.Errorf("member %s is %+v", id, mem.node)
		}
		if mem.quiet() {
			quiet++
		}
		if !slices.Contains(m.named[mem.node.Name], mem) {
			t.Errorf("%s is not in the index as %q", id, mem.node.Name)
		}
		serving += len(mem.topics)
		for topic := range mem.topics {
			if _, found := search(m.serving[topic], mem); !found {
				t.Errorf("%s is not in the index of topic %q", id, topic)
			}
		}
	}
	for topic, members := range m.serving {
		if serving -= len(members); len(members) == 0 {
			t.Errorf("the index of topic %q is empty", topic)
		}
	}
	if serving != 0 || quiet != m.quiet.Load() {
		t.Errorf("the index of topics is off by %d; %d members are quiet, counted %d", serving, quiet, m.quiet.Load())
	}
	if len(m.members) > maxMembers || len(m.graves.lives) > maxMembers || len(m.strangers) > maxMembers ||
		len(m.asks) > maxMembers || len(m.overs) > maxMembers || len(m.conflicts) > maxConflicts {
		t.Error("more is remembered than allowed")
	}
}

// bubble runs a test with a broker and with time that stands still while anybody is at work.
func bubble(t *testing.T, f func(t *testing.T, b *broker)) {
	synctest.Test(t, func(t *testing.T) { f(t, newBroker()) })
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
