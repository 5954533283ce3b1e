package users_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

var (
	simulated = flag.Int("simulated", 600, "how many users TestDirectoryMatchesTruth has")
	troubled  = flag.Duration("troubled", time.Minute, "how long they come and go, in virtual time")
	truthSeed = flag.Uint64("truth-seed", 0, "what happens in TestDirectoryMatchesTruth, as a former run has logged it; 0 means something new")
)

// lag is how long the store may differ from the truth about a node that reaches it, after the last trouble: the loss of all entries is
// noticed within 7.5 s, the pause between two tries is 5 s at most, and everything is written anew in less than a second.
const lag = 15 * time.Second

// device is a socket of a simulated user.
type device struct {
	user string
	node *node
	c    *servertest.Socket
	s    *server.Socket
}

// population is the truth, and who changes it.
type population struct {
	*world
	random *rand.Rand
	alive  []*node
	begun  int // nodes that were ever started

	mu sync.Mutex
	// Guarded by mu.
	devices map[*device]bool

	calm  time.Time // when the last trouble has ended; in the future while there is one
	over  []func()  // end the troubles
	since map[string]time.Time
	worst time.Duration // that anything differed
}

// TestDirectoryMatchesTruth lets many users come, go and move at random while nodes are killed and cut off, and the store is emptied and
// away. Each second the store is compared with the truth, after quiet everything else, too.
func TestDirectoryMatchesTruth(t *testing.T) {
	seed := *truthSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-truth-seed %d", seed)
	bubble(t, users.Options{Mixed: users.MixedOff}, "a b c", func(t *testing.T, w *world) {
		p := &population{
			world: w, random: rand.New(rand.NewPCG(seed, 1)), alive: []*node{w.nodes["a"], w.nodes["b"], w.nodes["c"]}, begun: 3,
			devices: make(map[*device]bool), since: make(map[string]time.Time), calm: time.Now(),
		}
		p.act(*simulated)
		for end := time.Now().Add(*troubled); time.Now().Before(end); {
			if p.random.IntN(5) == 0 {
				p.trouble()
			}
			p.act(*simulated / 100)
			time.Sleep(time.Second)
			p.compare()
		}
		p.heal()
		for range 2 * lag / time.Second {
			time.Sleep(time.Second)
			p.compare()
		}
		time.Sleep(15 * time.Minute) // what dead nodes have left is swept
		p.settled()
		t.Logf("nothing differed for longer than %v after the last trouble; %d nodes, %d devices at the end", p.worst, p.begun, len(p.devices))
	})
}

func name(i int) string { return fmt.Sprintf("user-%d", i) }

// act has some users come, go, or move. Each does one thing, all at the same time.
func (p *population) act(n int) {
	byUser := make(map[string][]*device)
	for d := range p.devices {
		byUser[d.user] = append(byUser[d.user], d)
	}
	var busy sync.WaitGroup
	for _, i := range p.random.Perm(*simulated)[:n] {
		devices, to := byUser[name(i)], p.alive[p.random.IntN(len(p.alive))]
		slices.SortFunc(devices, func(a, b *device) int { return strings.Compare(a.s.ID(), b.s.ID()) })
		goes := len(devices) > 0 && p.random.IntN(2) == 0
		comes := len(devices) < 3 && (!goes || p.random.IntN(2) == 0)
		busy.Go(func() {
			if goes {
				p.leave(devices[0])
			}
			if comes {
				p.come(name(i), to)
			}
		})
	}
	busy.Wait()
}

func (p *population) come(user string, n *node) {
	d := &device{user: user, node: n}
	d.c, d.s = n.connect()
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Second)
	defer cancel()
	if err := n.dir.Bind(ctx, d.s, user, nil); err != nil && !errors.Is(err, server.ErrClusterUnavailable) {
		p.t.Errorf("bind: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices[d] = true
}

func (p *population) leave(d *device) {
	leave(d.c)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.devices, d)
}

// trouble makes one trouble, or ends all.
func (p *population) trouble() {
	switch p.random.IntN(6) {
	case 0:
		p.killOne()
	case 1:
		n := p.alive[p.random.IntN(len(p.alive))]
		p.cluster.Cut(adapter.NodeID(n.name))
		n.link.set(func() { n.link.down = true })
		p.over = append(p.over, func() {
			p.cluster.Heal(adapter.NodeID(n.name))
			n.link.set(func() { n.link.down = false })
		})
	case 2:
		p.store.flush()
	case 3:
		p.store.set(func() { p.store.down = true })
		p.over = append(p.over, func() { p.store.set(func() { p.store.down = false }) })
	case 4:
		p.store.set(func() { p.store.forget = true })
		p.over = append(p.over, func() { p.store.set(func() { p.store.forget = false }) })
	default:
		p.heal()
	}
	p.calm = time.Now()
}

// heal ends all troubles.
func (p *population) heal() {
	for _, over := range p.over {
		over()
	}
	p.over, p.calm = nil, time.Now()
}

// killOne kills a node. Its users come again on others, or not; another node takes its place.
func (p *population) killOne() {
	i := p.random.IntN(len(p.alive))
	dead := p.alive[i]
	p.kill(dead.name)
	for d := range maps.Clone(p.devices) {
		if d.node == dead {
			p.leave(d)
		}
	}
	p.alive[i] = p.start(fmt.Sprintf("n%d", p.begun))
	p.begun++
}

// truth says who holds whom: "user node".
func (p *population) truth() map[string]bool {
	is := make(map[string]bool)
	for d := range p.devices {
		is[d.user+" "+d.node.name] = true
	}
	return is
}

// compare looks how long the store has been wrong about nodes that are alive. What it has of dead ones stays until it is swept.
func (p *population) compare() {
	synctest.Wait()
	wrong, truth := make(map[string]bool), p.truth()
	for i := range *simulated {
		entry, err := p.store.Lookup(p.t.Context(), "/", name(i))
		if err != nil {
			return // it is away
		}
		for _, n := range p.alive {
			life := n.srv.Node().Life
			if key := name(i) + " " + n.name; truth[key] != slices.Contains(entry.Holders, life) {
				wrong[key] = true
			}
		}
	}
	maps.DeleteFunc(p.since, func(key string, _ time.Time) bool { return !wrong[key] })
	for key := range wrong {
		if _, ok := p.since[key]; !ok {
			p.since[key] = time.Now()
		}
		from := p.since[key]
		if p.calm.After(from) {
			from = p.calm
		}
		took := time.Since(from)
		if len(p.over) > 0 {
			continue // a trouble lasts
		}
		if p.worst = max(p.worst, took); took > lag {
			p.t.Fatalf("the store is wrong about %q for %v after the last trouble: really %v", key, took, truth[key])
		}
	}
}

// settled checks that everything is as it really is: the roll, the store, what nodes say of users, and what arrives.
func (p *population) settled() {
	p.expectStored()
	if lives, _, err := p.store.Roll(p.t.Context(), "/"); err != nil || len(lives) != len(p.alive) {
		p.t.Errorf("roll %v, error %v", lives, err)
	}
	where := make(map[string][]string)
	for key := range p.truth() {
		user, node, _ := strings.Cut(key, " ")
		where[user] = append(where[user], node)
	}
	for d := range p.devices {
		p.take(d.s)
	}
	for i := range *simulated {
		user := name(i)
		slices.Sort(where[user])
		want := strings.Join(where[user], " ")
		for _, n := range p.alive {
			if got := n.where(user); got != want && !(want == "" && strings.Contains(got, "offline")) {
				p.t.Errorf("%s: %s is on %q, really on %q", n.name, user, got, want)
			}
			switch want {
			case "":
				if err := n.emit(user, n.name); !errors.Is(err, users.ErrOffline) {
					p.t.Errorf("%s: emit to %s: %v", n.name, user, err)
				}
			default:
				n.mustEmit(user, n.name)
			}
		}
	}
	var want []string
	for _, n := range p.alive {
		want = append(want, n.name)
	}
	slices.Sort(want)
	for d := range p.devices {
		got := p.take(d.s)
		if slices.Sort(got); !slices.Equal(got, want) {
			p.t.Errorf("%s on %s got %q, want %q", d.user, d.node.name, got, want)
		}
	}
}
