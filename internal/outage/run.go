package outage

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	namespace = "/chat"
	room      = "red"
	// pace is the time between two messages on each way.
	pace = 5 * time.Millisecond
	// calm is how long messages flow before the trouble.
	calm = time.Second
)

// Run makes one trouble for a flavour and tells what became of the messages.
func Run(t testing.TB, f *Flavour, what Trouble, lasting time.Duration) Outcome {
	s := open(t, f)
	stop := s.send()
	s.awaitCrossing(time.Now())
	hold(calm)
	began := time.Now()
	s.begin(what)
	hold(lasting)
	s.end(what)
	healed := time.Now()
	crossing := s.awaitCrossing(healed)
	stop()
	s.fence()
	o := s.target.outcome(s.sent)
	o.Crossing = crossing.Sub(healed)
	o.NoticedSender, o.NoticedPeer = s.senderState.downAfter(began), s.targetState.downAfter(began)
	o.UpSender, o.UpPeer = s.senderState.upAfter(healed), s.targetState.upAfter(healed)
	return o
}

// hold lets a trouble last: its length is what is measured.
func hold(d time.Duration) { <-time.After(d) }

// scene is two nodes on a broker, each with a link of its own.
type scene struct {
	t                        testing.TB
	server                   Server
	senderLink, targetLink   *redistest.Link
	from                     adapter.Adapter
	to                       adapter.NodeID
	target                   *target
	senderState, targetState states

	mu sync.Mutex
	// Guarded by mu.
	sent [ways][]message
}

// message is one that was given to the adapter.
type message struct {
	at  time.Time
	err error
}

func open(t testing.TB, f *Flavour) *scene {
	s := &scene{t: t, to: adapter.NewNodeID(), target: newTarget()}
	var addr string
	s.server, addr = f.Serve(t)
	s.senderLink, s.targetLink = redistest.NewLink(t, addr), redistest.NewLink(t, addr)
	s.from = join(t, f.Node(t, addr, s.senderLink.Addr, s.senderState.note), adapter.NewNodeID(), adaptertest.NewNode(namespace))
	there := join(t, f.Node(t, addr, s.targetLink.Addr, s.targetState.note), s.to, s.target)
	if o, ok := there.(adapter.RoomObserver); ok {
		s.target.Observe(o)
	}
	s.target.Connect("b", room)
	if w, ok := there.(adapter.JoinWaiter); ok {
		if err := w.WaitJoined(t.Context(), []string{room}); err != nil {
			t.Fatalf("%s: join: %v", f.Name, err)
		}
	}
	redistest.Eventually(t, "the nodes know each other", func() bool {
		n, err := s.from.ServerCount(t.Context())
		return err == nil && n == 2
	})
	return s
}

// join opens a node and its adapter until the end of the test.
func join(t testing.TB, b adapter.Builder, id adapter.NodeID, local adapter.Local) adapter.Adapter {
	c, err := b.Open(adapter.Node{ID: id, Name: string(id)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.New(local)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.Close()
		_ = c.Close()
	})
	return a
}

func (s *scene) begin(what Trouble) {
	switch what {
	case Killed:
		s.server.Kill()
	case Restarted:
		s.server.Kill()
		s.server.Start()
	case Frozen:
		s.server.Pause()
	case CutSender:
		s.senderLink.Cut()
	case CutTarget:
		s.targetLink.Cut()
	}
}

func (s *scene) end(what Trouble) {
	switch what {
	case Killed:
		s.server.Start()
	case Frozen:
		s.server.Resume()
	case CutSender:
		s.senderLink.Mend()
	case CutTarget:
		s.targetLink.Mend()
	}
}

// send sends a message on each way again and again until stop is called.
func (s *scene) send() (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.sendAll()
			case <-ended:
				return
			}
		}
	}()
	return func() { close(ended); <-done }
}

func (s *scene) sendAll() {
	for w := range ways {
		s.mu.Lock()
		n := len(s.sent[w])
		s.sent[w] = append(s.sent[w], message{at: time.Now()})
		s.mu.Unlock()
		err := s.emit(w, n)
		s.mu.Lock()
		s.sent[w][n].err = err
		s.mu.Unlock()
	}
}

// emit sends a number, or with -1 the mark behind which nothing of a way comes.
func (s *scene) emit(w way, n int) error {
	payload, err := parser.MarshalEvent("n", w.String(), n)
	if err != nil {
		s.t.Error(err)
		return err
	}
	p := &parser.Packet{Type: parser.Event, Namespace: namespace, ID: parser.NoID, Payload: payload}
	switch w {
	case toRoom:
		return s.from.Broadcast(p, adapter.Selection{Rooms: []string{room}}, adapter.Flags{})
	case toNode:
		return s.from.Broadcast(p, adapter.Selection{}, adapter.Flags{Node: s.to, Only: true})
	}
	return s.from.Broadcast(p, adapter.Selection{}, adapter.Flags{})
}

// awaitCrossing waits until on each way a message has arrived that was sent after a time, and returns when the last of them did.
func (s *scene) awaitCrossing(after time.Time) time.Time {
	s.t.Helper()
	redistest.Eventually(s.t, "messages cross on each way", func() bool {
		_, ok := s.crossed(after)
		return ok
	})
	at, _ := s.crossed(after)
	return at
}

func (s *scene) crossed(after time.Time) (last time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range ways {
		first := len(s.sent[w])
		for first > 0 && s.sent[w][first-1].at.After(after) {
			first--
		}
		at, arrived := s.target.firstFrom(w, first)
		if !arrived {
			return last, false
		}
		if at.After(last) {
			last = at
		}
	}
	return last, true
}

// fence waits until nothing that was sent can still arrive: a way keeps its order.
func (s *scene) fence() {
	for w := range ways {
		redistest.Eventually(s.t, "the fence of way "+w.String(), func() bool {
			if s.target.fenced(w) {
				return true
			}
			_ = s.emit(w, -1)
			return false
		})
	}
}

// target is the node that notes what arrives.
type target struct {
	*adaptertest.Node

	mu sync.Mutex
	// Guarded by mu.
	got    [ways][]arrival
	fences [ways]bool
}

type arrival struct {
	n  int
	at time.Time
}

func newTarget() *target { return &target{Node: adaptertest.NewNode(namespace)} }

// Deliver implements adapter.Local.
func (g *target) Deliver(p *parser.Packet, _ adapter.Selection, _ adapter.Flags) {
	_, args, err := p.Event()
	if err != nil {
		return
	}
	n, _ := strconv.Atoi(string(args.At(1).JSON))
	g.mu.Lock()
	defer g.mu.Unlock()
	for w := range ways {
		if strings.Trim(string(args.At(0).JSON), `"`) != w.String() {
			continue
		}
		if n < 0 {
			g.fences[w] = true
			continue
		}
		g.got[w] = append(g.got[w], arrival{n, time.Now()})
	}
}

// firstFrom tells when a message with a number of at least n first arrived.
func (g *target) firstFrom(w way, n int) (time.Time, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.got[w] {
		if a.n >= n {
			return a.at, true
		}
	}
	return time.Time{}, false
}

func (g *target) fenced(w way) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fences[w]
}

// outcome compares what arrived with what was sent.
func (g *target) outcome(sent [ways][]message) (o Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for w := range ways {
		y := &o.ByWay[w]
		times, highest := make(map[int]int), -1
		for _, a := range g.got[w] {
			if times[a.n]++; times[a.n] > 1 {
				y.doubled++
			} else if a.n < highest {
				y.reordered++
			}
			highest = max(highest, a.n)
		}
		for n, m := range sent[w] {
			switch {
			case m.err != nil:
				y.refused++
			case times[n] == 0:
				y.sent++
				y.lost++
			default:
				y.sent++
			}
		}
		o.Sent += y.sent
		o.Refused += y.refused
		o.Lost += y.lost
		o.Doubled += y.doubled
		o.Reordered += y.reordered
	}
	return o
}

func (o *Outcome) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "noticed after %v (sender) and %v (receiver), crossing %v after the end, up again %v (sender) and %v (receiver); %d sent, %d refused, %d lost, %d doubled, %d reordered",
		shown(o.NoticedSender), shown(o.NoticedPeer), shown(o.Crossing), shown(o.UpSender), shown(o.UpPeer), o.Sent, o.Refused, o.Lost, o.Doubled, o.Reordered)
	for w, y := range o.ByWay {
		fmt.Fprintf(&b, "; %v: %d sent, %d refused, %d lost", way(w), y.sent, y.refused, y.lost)
	}
	return b.String()
}

// shown rounds a time for people.
func shown(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return d.Round(10 * time.Millisecond).String()
}

// states notes when a node's way to the broker went down, and came up.
type states struct {
	mu sync.Mutex
	// Guarded by mu.
	downs, ups []time.Time
}

func (s *states) note(state adapter.BrokerState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case adapter.BrokerDown:
		s.downs = append(s.downs, time.Now())
	case adapter.BrokerUp:
		s.ups = append(s.ups, time.Now())
	}
}

// downAfter tells how long after a time the state first went down, upAfter how long after it last came up; -1 if it did not.
func (s *states) downAfter(began time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.downs {
		if at.After(began) {
			return at.Sub(began)
		}
	}
	return -1
}

func (s *states) upAfter(healed time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.ups); n > 0 && s.ups[n-1].After(healed) {
		return s.ups[n-1].Sub(healed)
	}
	return -1
}
