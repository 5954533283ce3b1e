package chaos

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	brokers "github.com/sockeye-io/sockeye/internal/outage"
)

// TestOperator is an operator who kills, freezes and drains nodes, restarts and pauses Redis and cuts its subscribers off, at random,
// sometimes before the trouble before is over, while users come and go. At the end all messages are accounted for, and the
// nodes have in memory what they had at first.
func TestOperator(t *testing.T) {
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("-seed %d", chosen)
	which := int(chosen % uint64(len(flavours)))
	for i, flavour := range flavours {
		if *minutes == 0 && i != which {
			continue // the short form is short
		}
		t.Run(flavour, func(t *testing.T) {
			var s setup
			if *withReference {
				s.kinds[1] = reference
			}
			operate(newCluster(t, flavour, s), rand.New(rand.NewPCG(chosen, uint64(i))))
		})
	}
}

// TestOperatorOnBrokers is TestOperator without Redis.
func TestOperatorOnBrokers(t *testing.T) {
	if *minutes == 0 || *withReference {
		t.Skip("with -minutes only: make chaos; packages outage, kafkaadapter and natsadapter have the short forms")
	}
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("-seed %d", chosen)
	for i, flavour := range []string{"kafka", "nats"} {
		t.Run(flavour, func(t *testing.T) {
			operate(newCluster(t, flavour, setup{}), rand.New(rand.NewPCG(chosen, uint64(i))))
		})
	}
}

// operate lets an operator loose on a cluster, and ends it.
func operate(c *cluster, rng *rand.Rand) {
	c.t.Helper()
	o := &operator{cluster: c, rng: rng, done: make(map[string]int)}
	before, begun := o.levels(), time.Now()
	for n := 0; *minutes == 0 && n < 3 || time.Since(begun) < time.Duration(*minutes*float64(time.Minute)); n++ {
		o.act()
	}
	o.heal()
	o.t.Logf("done: %v; the slowest recovery took %v, the slowest call %v", o.done, o.recovered, o.slowest)
	o.sameLevel(before)
	o.finish()
}

// operator makes troubles.
type operator struct {
	*cluster
	rng       *rand.Rand
	over      []func() // end the troubles that are not healed yet
	done      map[string]int
	recovered time.Duration // the slowest
	slowest   time.Duration // of the calls
}

// patientCall is how long a call may take at most: acknowledgements are waited for 10 s, everything else 5 s.
const patientCall = 20 * time.Second

// act makes one trouble, while some other node makes calls.
func (o *operator) act() {
	o.t.Helper()
	victim := o.rng.IntN(3)
	trouble := o.troubles()[o.rng.IntN(len(o.troubles()))]
	for trouble.what == "node drained" && o.nodes[victim].kind != current { // the others do not drain when they are told to end
		victim = (victim + 1) % 3
	}
	var loop *caller
	for i := range 3 {
		if n := o.nodes[(victim+1+i)%3]; i < 2 && n.kind != reference {
			loop = newCaller(o.cluster, n)
			break
		}
	}
	o.done[trouble.what]++
	trouble.make(victim)
	o.comeAndGo()
	o.checkCalls(trouble.what, loop.end())
	if o.rng.IntN(3) > 0 {
		o.heal()
	}
}

// chaotic is a kind of trouble.
type chaotic struct {
	what string
	make func(victim int)
}

func (o *operator) troubles() []chaotic {
	broker := func(what string, breaks, heals func(brokers.Server)) chaotic {
		return chaotic{what, func(int) {
			o.trouble(trouble{what: what})
			breaks(o.broker)
			o.pass(5 * time.Second)
			heals(o.broker)
		}}
	}
	list := []chaotic{
		{"node killed", o.killNode},
		{"node killed", o.killNode}, // as often as Redis has trouble
		{"node frozen", o.freezeNode},
		broker("broker restarted", brokers.Server.Kill, brokers.Server.Start),
		broker("broker paused", brokers.Server.Pause, brokers.Server.Resume),
		{"node drained", o.drainNode},
	}
	if o.redis != nil {
		list = append(list, broker("subscribers killed", func(brokers.Server) { o.redis.KillPubSub() }, func(brokers.Server) {}))
	}
	return list
}

// trouble notes a trouble that lasts until everything is healed.
func (o *operator) trouble(tr trouble) { o.over = append(o.over, o.traffic.begin(tr)) }

// pass lets up to some time pass; in the short form a tenth of it.
func (o *operator) pass(most time.Duration) {
	if *minutes == 0 {
		<-time.After(most / 10)
		return
	}
	<-time.After(time.Duration(o.rng.Int64N(int64(most))))
}

// killNode kills a node. Its users come again elsewhere, some at once and some later, and some of them return when the node is
// back.
func (o *operator) killNode(victim int) {
	n := o.nodes[victim]
	users := o.usersOf(n)
	o.trouble(trouble{what: "node killed", node: n.name})
	for _, u := range users {
		u.expectEnd()
	}
	n.kill()
	for i, u := range users {
		u.leave()
		if i%2 == 0 {
			o.connect(u, o.nodes[(victim+1+o.rng.IntN(2))%3])
		}
	}
	if o.rng.IntN(2) > 0 { // otherwise another one takes its place at once
		o.pass(3 * time.Second)
	}
	o.start(victim)
	for i, u := range users {
		if i%2 == 1 {
			o.connect(u, o.nodes[victim])
		}
	}
}

// drainNode ends a node with SIGTERM, as a deploy does. Its users come again elsewhere as they are sent away, and some of them return
// when the node is back.
func (o *operator) drainNode(victim int) {
	var left []*user
	for i, u := range o.drain(victim) {
		o.connect(u, o.nodes[(victim+1+o.rng.IntN(2))%3])
		if i%2 == 1 {
			left = append(left, u)
		}
	}
	if o.rng.IntN(2) > 0 {
		o.pass(3 * time.Second)
	}
	o.start(victim)
	for _, u := range left {
		o.trouble(trouble{what: "user went", user: u.name})
		u.leave()
		o.connect(u, o.nodes[victim])
	}
}

func (o *operator) freezeNode(victim int) {
	n := o.nodes[victim]
	o.trouble(trouble{what: "node frozen", node: n.name})
	n.freeze()
	o.pass(8 * time.Second)
	n.thaw()
}

// comeAndGo lets users leave, stay away for a while and come to any node.
func (o *operator) comeAndGo() {
	o.t.Helper()
	for range 1 + o.rng.IntN(3) {
		u := o.users[o.rng.IntN(len(o.users))]
		o.trouble(trouble{what: "user went", user: u.name})
		u.leave()
		o.pass(time.Second)
		o.connect(u, o.nodes[o.rng.IntN(3)])
	}
}

// heal waits until everything works, and accounts for all messages up to now.
func (o *operator) heal() {
	o.t.Helper()
	since := time.Now()
	o.recovered = max(o.recovered, o.crossed(since))
	o.whole()
	for _, over := range o.over {
		over()
	}
	o.over = nil
	if faults := o.traffic.takeFaults(); len(faults) > 0 {
		o.t.Fatalf("after %v: %s", time.Since(o.begun), strings.Join(faults, "\n"))
	}
}

// checkCalls looks at calls that were made while anything may have been broken: they end in time, and errors say what is
// wrong.
func (o *operator) checkCalls(what string, all []made) {
	o.t.Helper()
	for _, m := range all {
		if m.took > slack {
			o.t.Logf("%s: %s took %v: %+v", what, m.path, m.took.Round(time.Millisecond), m.answer)
		}
		o.slowest = max(o.slowest, m.took)
		if m.took > patientCall || m.Error != "" && !m.Unavailable && !m.AckMissing && !m.AckTimeout {
			o.t.Errorf("%s took %v: %+v", m.path, m.took, m.answer)
		}
	}
}
