//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	stdflag "flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/load"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

var rounds = stdflag.Int("rounds", 1, "how often TestRestartsLoseNothing restarts every node")

const (
	travellers = 9
	sendEvery  = 40 * time.Millisecond
	// unsure is how long before a node is killed what it has acknowledged may not have reached the broker.
	unsure = 2 * time.Second
)

// TestRestartsLoseNothing lets all clients of a node lose their connections at once, restarts the nodes one after the other with SIGTERM
// and kills one, while each client sends to a user and to a room with the chat's send. All that was acknowledged arrives once and in its
// sender's order, and nobody has to log in again.
func TestRestartsLoseNothing(t *testing.T) {
	redis := redistest.Single(t)
	f := &fleet{t: t, flags: func(int) []string {
		return []string{"--redis", "redis://" + redis.Addr, "--adapter", "streams", "--stream-max-len", "100000"}
	}}
	f.live(t)
}

// TestKafkaRestartsLoseNothing does it over Kafka, whose log needs no second one beside it.
func TestKafkaRestartsLoseNothing(t *testing.T) {
	kafka := kafkatest.Single(t, nil)
	admin := []string{redistest.FreeAddr(t), redistest.FreeAddr(t), redistest.FreeAddr(t)}
	f := &fleet{t: t, flags: func(i int) []string {
		return []string{"--kafka", kafka.Addr, "--kafka-replication", "1", "--admin-addr", admin[i]}
	}}
	f.complete = func() bool { return f.ready(admin) }
	f.live(t)
}

// TestEmbeddedRestartsLoseNothing does it with NATS inside the nodes: the one that is killed may lead the log.
func TestEmbeddedRestartsLoseNothing(t *testing.T) {
	embedded := embedFlagsOf(t, 3)
	admin := []string{redistest.FreeAddr(t), redistest.FreeAddr(t), redistest.FreeAddr(t)}
	f := &fleet{t: t, flags: func(i int) []string {
		return append(embedded[i], "--node-name", fmt.Sprint("n", i), "--admin-addr", admin[i])
	}}
	f.complete = func() bool { return f.ready(admin) }
	f.live(t)
}

// ready reports whether all nodes, of whose operators' addresses there is a list, are ready and have everything.
func (f *fleet) ready(admin []string) bool {
	for _, addr := range admin {
		resp, err := http.Get("http://" + addr + "/readyz?verbose")
		if err != nil {
			return false
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !bytes.Contains(body, []byte("broker")) || bytes.Contains(body, []byte("not all is here")) {
			return false
		}
	}
	return true
}

// live is what happens to a fleet.
func (f *fleet) live(t *testing.T) {
	for i := range 3 {
		f.nodes = append(f.nodes, f.start(i))
	}
	for _, n := range f.nodes {
		f.await("clients can go on", func() bool { return f.complete == nil || n.recovers(t) })
	}
	f.open(travellers)
	for range *rounds {
		f.await("messages cross", f.crossing())
		victim := f.nodes[0]
		for _, c := range f.clients {
			if c.node.Load() == victim {
				c.cut()
			}
		}
		f.await("messages cross after an avalanche", f.crossing())
		for i := range f.nodes {
			old := f.take(i)
			old.end(t, syscall.SIGTERM)
			f.put(i, f.start(i))
			f.await("messages cross after a restart", f.crossing())
		}
	}
	if f.complete != nil {
		f.await("all nodes have everything", f.complete)
	}
	killed := rand.IntN(3)
	t.Logf("%s node %d is killed", time.Now().UTC().Format(time.RFC3339Nano), killed)
	f.kill(killed)
	f.await("messages cross after a node was killed", f.crossing())
	f.finish()
}

// fleet is some nodes, and clients.
type fleet struct {
	t     *testing.T
	flags func(i int) []string // those of a node that name the broker
	// complete reports whether any one node can be killed; nil if that is always so, and if clients can go on from the start.
	complete func() bool

	mu sync.Mutex
	// Guarded by mu.
	nodes []*process // nil while one is restarted

	clients []*traveller // static after open
	over    atomic.Bool  // nothing is sent any more
	stop    chan struct{}
	running sync.WaitGroup
}

// start starts a node, whose log is shown if the test fails.
func (f *fleet) start(i int) *process {
	f.t.Helper()
	p := startProcess(f.t, append(f.flags(i), "--connection-state-recovery", "1m", "--drain-grace", "100ms", "--drain-rate", "20")...)
	f.t.Cleanup(func() {
		if f.t.Failed() {
			f.t.Logf("log of node %d:\n%s", i, p.output())
		}
	})
	return p
}

// recovers has a client come and come back, and reports whether it went on.
func (p *process) recovers(t *testing.T) (recovered bool) {
	target, err := load.ParseTarget("http://" + p.addr)
	if err != nil {
		t.Fatal(err)
	}
	var s load.Session
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var c *load.Client
		if c, recovered, err = load.Resume(ctx, &target, 0, deaf{}, &s); err == nil {
			c.Cut()
		}
		cancel()
	}
	return recovered
}

// deaf is a client that nothing matters to.
type deaf struct{}

func (deaf) OnEvent(*load.Client, []byte)    {}
func (deaf) OnAck(*load.Client, int, []byte) {}
func (deaf) OnEnd(*load.Client, error, bool) {}

// take takes a node out of those to which clients connect.
func (f *fleet) take(i int) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[i]
	f.nodes[i] = nil
	return n
}

func (f *fleet) put(i int, n *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[i] = n
}

func (f *fleet) any() *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if n := f.nodes[rand.IntN(len(f.nodes))]; n != nil {
			return n
		}
	}
}

// open lets the clients in.
func (f *fleet) open(n int) {
	f.stop = make(chan struct{})
	for i := range n {
		f.clients = append(f.clients, &traveller{
			fleet: f, index: i, ended: make(chan struct{}, 1), in: make(chan struct{}), early: make(map[string]bool), acks: make(map[int]chan string),
			got: make(map[int][]int), acked: make(map[int]time.Time),
		})
	}
	f.t.Cleanup(func() {
		close(f.stop)
		f.running.Wait()
	})
	for _, c := range f.clients {
		f.running.Go(c.live)
	}
	for _, c := range f.clients {
		<-c.in
	}
	for _, c := range f.clients {
		f.running.Go(c.send)
	}
}

// await waits for what has to happen; whatever has failed by then is enough.
func (f *fleet) await(what string, condition func() bool) {
	f.t.Helper()
	redistest.Eventually(f.t, what, func() bool { return f.t.Failed() || condition() })
	if f.t.Failed() {
		f.t.FailNow()
	}
}

// crossing returns whether each client has got something of the one before that was sent after this call.
func (f *fleet) crossing() func() bool {
	sent := make([]int, len(f.clients))
	for i, c := range f.clients {
		sent[i] = c.next()
	}
	return func() bool {
		for i, c := range f.clients {
			from := (i + len(sent) - 1) % len(sent)
			if c.last(from) < sent[from]+2 {
				return false
			}
		}
		return true
	}
}

// kill kills a node as kill -9 does. What it has acknowledged just before may be lost.
func (f *fleet) kill(i int) {
	n := f.take(i)
	var there []*traveller
	for _, c := range f.clients {
		if c.node.Load() == n {
			there = append(there, c)
		}
	}
	n.end(f.t, syscall.SIGKILL)
	for _, c := range there {
		c.forgetSince(time.Now().Add(-unsure))
	}
}

// finish ends the sending and accounts for all that was acknowledged.
func (f *fleet) finish() {
	f.over.Store(true)
	total := 0
	f.await("all that was acknowledged arrives", func() bool {
		total = 0
		for _, from := range f.clients {
			for k := range from.sure() {
				for _, to := range f.clients {
					if !from.reaches(to, k) {
						continue
					}
					if total++; !to.has(from.index, k) {
						return false
					}
				}
			}
		}
		return true
	})
	f.inOrder()
	early := 0
	for _, c := range f.clients {
		c.mu.Lock()
		early += len(c.early)
		c.mu.Unlock()
	}
	f.t.Logf("%d messages have arrived, %d of them without offset", total, early)
}

// number is what a traveller has sent.
type number struct{ from, k int }

// inOrder fails the test if something that was acknowledged came behind what its sender sent later. What a node got just before it was killed
// may: it is in the log, and comes when that has a leader again, while its sender goes on at another node.
func (f *fleet) inOrder() {
	for _, c := range f.clients {
		c.mu.Lock()
		behind := slices.Clone(c.behind)
		c.mu.Unlock()
		for _, n := range behind {
			if f.clients[n.from].sure()[n.k] {
				f.t.Errorf("client %d got %d of client %d behind later ones", c.index, n.k, n.from)
			}
		}
	}
}

// traveller is a client that comes back, and sends numbers: the odd ones to the next client, the even ones to a room.
type traveller struct {
	// Static after construction.
	fleet *fleet
	index int
	ended chan struct{} // capacity 1: the connection has
	in    chan struct{} // closed when the client has logged in

	node    atomic.Pointer[process] // nil without a connection
	session load.Session            // used by live alone

	mu sync.Mutex
	// Guarded by mu.
	client *load.Client
	early  map[string]bool // what has come without offset
	acks   map[int]chan string
	nextID int
	number int               // the next one
	got    map[int][]int     // by sender, sorted
	behind []number          // what has come behind later ones of its sender
	acked  map[int]time.Time // when the numbers were acknowledged
}

func (c *traveller) user(step int) string { return fmt.Sprint("user", (c.index+step)%travellers) }

// live connects again and again.
func (c *traveller) live() {
	t := c.fleet.t
	for first := true; ; first = false {
		client := c.connect(first)
		if client == nil {
			return
		}
		if first {
			for _, event := range []string{`["login","` + c.user(0) + `"]`, `["join","#room"]`} {
				if answer := c.ask(client, event); strings.Contains(answer, "error") || answer == "" {
					t.Errorf("%s: %s", event, answer)
				}
			}
			close(c.in)
		}
		select {
		case <-c.ended:
		case <-c.fleet.stop:
			client.Cut()
			return
		}
		c.node.Store(nil)
	}
}

// connect tries until a node lets the client in, which must go on where it was. It returns nil at the end.
func (c *traveller) connect(first bool) *load.Client {
	for {
		select {
		case <-c.fleet.stop:
			return nil
		case <-time.After(rand.N(20 * time.Millisecond)):
		}
		n := c.fleet.any()
		target, err := load.ParseTarget("http://" + n.addr)
		if err != nil {
			c.fleet.t.Error(err)
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		client, recovered, err := load.Resume(ctx, &target, c.index, c, &c.session)
		cancel()
		if err != nil {
			continue // the node is being restarted
		}
		if recovered == first {
			c.fleet.t.Errorf("%s client %d went on at %s: %v", time.Now().UTC().Format(time.RFC3339Nano), c.index, n.addr, recovered)
		}
		c.mu.Lock()
		c.client = client
		c.mu.Unlock()
		c.node.Store(n)
		return client
	}
}

// cut ends the connection, if there is one.
func (c *traveller) cut() {
	c.mu.Lock()
	client := c.client
	c.mu.Unlock()
	client.Cut()
}

// send sends numbers until all is over.
func (c *traveller) send() {
	pace := time.NewTicker(sendEvery)
	defer pace.Stop()
	for !c.fleet.over.Load() {
		select {
		case <-pace.C:
		case <-c.fleet.stop:
			return
		}
		if c.node.Load() == nil {
			continue
		}
		c.mu.Lock()
		k, client := c.number, c.client
		c.number++
		c.mu.Unlock()
		to := "#room"
		if k%2 == 1 {
			to = c.user(1)
		}
		answer := c.ask(client, fmt.Sprintf(`["send",{"to":%q,"message":"%d:%d"}]`, to, c.index, k))
		switch {
		case answer == "": // nobody knows whether it has arrived
		case strings.Contains(answer, `"online":true`), strings.Contains(answer, `"away":true`), k%2 == 0 && !strings.Contains(answer, "error"):
			c.mu.Lock()
			c.acked[k] = time.Now()
			c.mu.Unlock()
		default:
			c.fleet.t.Errorf("client %d sends to %s: %s", c.index, to, answer)
		}
	}
}

// ask emits an event and returns its answer, "" if none comes on this connection.
func (c *traveller) ask(client *load.Client, event string) string {
	answer := make(chan string, 1)
	c.mu.Lock()
	c.nextID++
	id := c.nextID
	c.acks[id] = answer
	c.mu.Unlock()
	if client.Emit([]byte("42"+strconv.Itoa(id)+event)) != nil {
		return ""
	}
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case text := <-answer:
		return text
	case <-timer.C:
	case <-c.fleet.stop:
	}
	return ""
}

// OnAck hands an answer on.
func (c *traveller) OnAck(_ *load.Client, id int, args []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer := c.acks[id]; answer != nil {
		answer <- string(args)
		delete(c.acks, id)
	}
}

// OnEnd ends what waits for answers of the connection.
func (c *traveller) OnEnd(*load.Client, error, bool) {
	c.mu.Lock()
	for id, answer := range c.acks {
		close(answer)
		delete(c.acks, id)
	}
	c.mu.Unlock()
	c.ended <- struct{}{}
}

// OnEvent takes a number: ["receive","sender:number",{from},offset]. One without offset may come again when the client comes back.
func (c *traveller) OnEvent(_ *load.Client, args []byte) {
	var list []json.RawMessage
	var name, text string
	if err := json.Unmarshal(args, &list); err != nil || json.Unmarshal(list[0], &name) != nil || name != "receive" {
		return // a copy of what was sent
	}
	var from, k int
	_ = json.Unmarshal(list[1], &text)
	if _, err := fmt.Sscanf(text, "%d:%d", &from, &k); err != nil {
		c.fleet.t.Errorf("got %s", args)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at, twice := slices.BinarySearch(c.got[from], k)
	if twice {
		if !c.early[text] {
			c.fleet.t.Errorf("client %d got %d of client %d twice", c.index, k, from)
		}
		return
	}
	if len(list) < 4 {
		c.early[text] = true
	}
	if at < len(c.got[from]) {
		c.behind = append(c.behind, number{from, k})
	}
	c.got[from] = slices.Insert(c.got[from], at, k)
}

func (c *traveller) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.number
}

// last is the highest number of a sender that has come.
func (c *traveller) last(from int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.got[from]); n > 0 {
		return c.got[from][n-1]
	}
	return -1
}

func (c *traveller) has(from, k int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := slices.BinarySearch(c.got[from], k)
	return ok
}

// sure are the numbers that have to arrive.
func (c *traveller) sure() map[int]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := make(map[int]bool, len(c.acked))
	for k := range c.acked {
		m[k] = true
	}
	return m
}

func (c *traveller) reaches(to *traveller, k int) bool {
	if k%2 == 1 {
		return to.index == (c.index+1)%travellers
	}
	return to != c
}

// forgetSince gives up what was acknowledged since a time.
func (c *traveller) forgetSince(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, at := range c.acked {
		if at.After(since) {
			delete(c.acked, k)
		}
	}
}
