//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/freeze"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestEmbeddedCluster runs three nodes with nothing beside them: messages to users and rooms, questions, and a polling session that
// a balancer sends to all of them in turns.
func TestEmbeddedCluster(t *testing.T) {
	t.Parallel()
	var nodes []*runningNode
	for i, flags := range embedFlagsOf(t, 3) {
		nodes = append(nodes, startNode(t, fmt.Sprintf("n%d", i+1), flags))
	}
	for _, n := range nodes {
		n.waitForTimes("a node has joined the cluster", 2)
	}
	ann, bob, eve := pollClient(t, nodes[0].addr), pollClient(t, nodes[1].addr), pollClient(t, nodes[2].addr)
	for user, c := range map[string]*polling{"ann": ann, "bob": bob, "eve": eve} {
		c.send(`420["login","` + user + `"]`)
		c.await(`430[{"user":"` + user + `"}]`)
		c.send(`421["join","#all"]`)
		c.await(`431[`)
	}
	bob.sendUntil(`["send",{"to":"ann","message":"early"}]`, `[{"online":true,"devices":1}]`)
	bob.sendUntil(`["send",{"to":"ann","message":"across"}]`, `[{"online":true,"devices":1}]`) // the last one went before the answer
	ann.await(`42["receive","across",{"from":"bob"}]`)
	bob.sendUntil(`["send",{"to":"#all","message":"early"}]`, `[{"online":true,"devices":2}]`)
	bob.sendUntil(`["send",{"to":"#all","message":"everybody"}]`, `[{"online":true,"devices":2}]`)
	ann.await(`42["receive","everybody",`)
	eve.await(`42["receive","everybody",`)
	bob.sendUntil(`["watch"]`, `[{"users":[{"user":"ann","nodes":["n1"]},{"user":"bob","nodes":["n2"]},{"user":"eve","nodes":["n3"]}],`+
		`"rooms":[{"room":"#all","members":3}],"total":3,"alone":false}]`) // none is missing: all keep one directory

	for i, n := range nodes {
		moved := *ann
		moved.address = strings.Replace(ann.address, nodes[0].addr, n.addr, 1)
		text := fmt.Sprintf("turn %d", i)
		bob.sendUntil(`["send",{"to":"ann","message":"`+text+`"}]`, `[{"online":true,"devices":1}]`)
		moved.await(`42["receive","` + text + `",{"from":"bob"}]`)
		moved.send(`429["whoami"]`)
		moved.await(`439[`)
		ann.packets = moved.packets
	}
}

// TestEmbeddedAlone has a node whose routes lead to nodes that are not there: it serves at once, and tells that it is alone.
func TestEmbeddedAlone(t *testing.T) {
	t.Parallel()
	flags := embedFlagsOf(t, 3, "--admin-addr", "127.0.0.1:0", "--broker-required", "--ready-needs-broker")
	n := startNode(t, "n1", flags[0])
	ann := pollClient(t, n.addr)
	ann.send(`420["login","ann"]`)
	ann.await(`430[{"user":"ann"}]`)
	broker := n.awaitProbe("readyz", http.StatusOK).component("broker")
	if broker.State != stateUp || broker.Reason != "no other node is connected" {
		t.Errorf("the broker is %+v", broker)
	}
	two := startNode(t, "n2", flags[1])
	two.waitFor("a node has joined the cluster")
	n.waitFor("a node has joined the cluster")
	if broker := n.awaitProbe("readyz", http.StatusOK).component("broker"); broker.Reason != "" {
		t.Errorf("with two nodes the broker is %+v", broker)
	}
}

// TestEmbeddedNoMajority has one node of three whose clients may come back: it opens its port, its clients reach each other, and who comes
// back starts anew.
func TestEmbeddedNoMajority(t *testing.T) {
	t.Parallel()
	p := startProcess(t, append(embedFlagsOf(t, 3)[0], "--connection-state-recovery", "1m", "--node-name", "n1")...)
	ann, bob := pollClient(t, p.addr), pollClient(t, p.addr)
	for user, c := range map[string]*polling{"ann": ann, "bob": bob} {
		c.send(`420["login","` + user + `"]`)
		c.await(`430[{"user":"` + user + `"}]`)
	}
	bob.sendUntil(`["send",{"to":"ann","message":"across"}]`, `[{"online":true,"devices":1}]`)
	ann.await(`42["receive","across",{"from":"bob"}]`)
	if p.recovers(t) {
		t.Error("a client goes on")
	}
}

// TestEmbeddedWrongSecret has two nodes that do not know the same secret: they stay apart, serve, and say why.
func TestEmbeddedWrongSecret(t *testing.T) {
	t.Parallel()
	flags := embedFlagsOf(t, 2)
	one := startNode(t, "n1", flags[0])
	two := startNode(t, "n2", append(flags[1], "--nats-route-secret", "another secret for tests"))
	one.waitFor("authentication error")
	two.waitFor("Authorization Violation")
	for _, n := range []*runningNode{one, two} {
		if text := n.log.String(); strings.Contains(text, "has joined") || strings.Contains(text, "secret for tests") {
			t.Errorf("logged %s", text)
		}
		pollClient(t, n.addr)
	}
}

// TestEmbeddedTLS: routes are TLS with the certificates for connections between nodes, and who has another one is no node.
func TestEmbeddedTLS(t *testing.T) {
	t.Parallel()
	secured := func() []string {
		folder := t.TempDir()
		cert, key := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
		install(t, cert, key)
		return []string{"--peer-tls-cert", cert, "--peer-tls-key", key, "--peer-tls-ca", cert}
	}
	ours, another := secured(), secured()
	flags := embedFlagsOf(t, 3, "--peer-addr", "127.0.0.1:0")
	one := startNode(t, "n1", append(flags[0], ours...))
	stranger := startNode(t, "n3", append(flags[2], another...))
	two := startNode(t, "n2", append(flags[1], ours...))
	one.waitFor("a node has joined the cluster")
	two.waitFor("a node has joined the cluster")
	stranger.waitFor("certificate")
	for _, n := range []*runningNode{one, two, stranger} {
		n.waitFor("secret=true tls=true")
		if text := n.log.String(); strings.Contains(text, "has joined the cluster") == (n == stranger) || strings.Count(text, "has joined the cluster") > 1 {
			t.Errorf("logged %s", text)
		}
	}
}

// TestEmbedPort: a port that is taken is said in one sentence.
func TestEmbedPort(t *testing.T) {
	t.Parallel()
	flags := embedFlagsOf(t, 1)
	startNode(t, "n1", flags[0])
	var stdout, stderr bytes.Buffer
	began := time.Now()
	status := run(t.Context(), append([]string{"serve", "--addr", "127.0.0.1:0"}, flags[0]...), &stdout, &stderr)
	if took := time.Since(began); took > natsStart/2 {
		t.Errorf("said after %v", took)
	}
	if last := lastLine(stderr.String()); status != exitUsage || !strings.Contains(last, "sockeye: --nats-embed: ") || !strings.Contains(last, "address already in use") {
		t.Errorf("status %d, %q", status, last)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// TestEmbeddedKill kills one of three processes amid numbered messages, and starts it again: between the others nothing is lost,
// doubled or out of order, and the one that has come back gets everything from some message on.
func TestEmbeddedKill(t *testing.T) {
	t.Parallel()
	flags := embedFlagsOf(t, 3, "--drain-grace", "0s")
	nodes := make([]*process, 3)
	for i := range nodes {
		nodes[i] = startProcess(t, append(flags[i], "--node-name", fmt.Sprintf("n%d", i+1))...)
	}
	for _, n := range nodes {
		n.awaitTimes(t, "a node has joined the cluster", 2)
	}
	victim := rand.IntN(3)
	t.Logf("node n%d is killed", victim+1)
	sender, receiver := pollClient(t, nodes[(victim+1)%3].addr), pollClient(t, nodes[(victim+2)%3].addr)
	lost := pollClient(t, nodes[victim].addr)
	for user, c := range map[string]*polling{"sender": sender, "receiver": receiver, "lost": lost} {
		c.send(`420["login","` + user + `"]`)
		c.await(`430[`)
		c.send(`421["join","#all"]`)
		c.await(`431[`)
	}
	const numbers = 600
	sender.sendUntil(`["send",{"to":"#all","message":"first"}]`, `[{"online":true,"devices":2}]`)
	for i := range numbers {
		if i == numbers/3 {
			nodes[victim].end(t, syscall.SIGKILL)
		}
		sender.send(fmt.Sprintf(`42["send",{"to":"#all","message":%d}]`, i))
	}
	want := 0
	for _, got := range receiver.numbersUntil(numbers - 1) {
		if got != want {
			t.Fatalf("number %d came in place of %d", got, want)
		}
		want++
	}

	// The one that was killed may have kept the users of all.
	sender.sendUntil(`["send",{"to":"receiver","message":"early"}]`, `[{"online":true,"devices":1}]`)
	sender.sendUntil(`["send",{"to":"receiver","message":"to you"}]`, `[{"online":true,"devices":1}]`)
	receiver.await(`42["receive","to you",{"from":"sender"}]`)

	nodes[victim] = startProcess(t, append(flags[victim], "--node-name", fmt.Sprintf("n%d", victim+1))...)
	back := pollClient(t, nodes[victim].addr)
	back.send(`420["login","back"]`)
	back.await(`430[`)
	back.send(`421["join","#all"]`)
	back.await(`431[`)
	sender.sendUntil(`["send",{"to":"#all","message":"early"}]`, `[{"online":true,"devices":2}]`)
	sender.sendUntil(`["send",{"to":"#all","message":"again"}]`, `[{"online":true,"devices":2}]`)
	back.await(`42["receive","again"`)
	for i := range numbers {
		sender.send(fmt.Sprintf(`42["send",{"to":"#all","message":%d}]`, i))
	}
	for _, c := range []*polling{receiver, back} {
		want = 0
		for _, got := range c.numbersUntil(numbers - 1) {
			if got != want {
				t.Fatalf("with the node that came back: number %d came in place of %d", got, want)
			}
			want++
		}
	}
}

// numbersUntil returns the numbers that were received, up to the last one.
func (c *polling) numbersUntil(last int) (list []int) {
	c.t.Helper()
	const begin = `42["receive",`
	for {
		text, _, _ := strings.Cut(strings.TrimPrefix(c.await(begin), begin), ",")
		n, err := strconv.Atoi(text)
		if err != nil { // "first" or "again"
			continue
		}
		if list = append(list, n); n == last {
			return list
		}
	}
}

// awaitTimes is awaitLine for a text that comes several times.
func (p *process) awaitTimes(t *testing.T, text string, times int) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprintf("%q comes %d times", text, times), func() bool {
		return strings.Count(p.output(), text) >= times
	})
}

// TestEmbeddedFrozen freezes one of three processes and sends it far more than the others may keep for it: their memory stays bounded,
// they go on among themselves, and the frozen one takes part again when it goes on.
func TestEmbeddedFrozen(t *testing.T) {
	t.Parallel()
	flags := embedFlagsOf(t, 3, "--app", "bench", "--drain-grace", "0s")
	nodes := make([]*process, 3)
	for i := range nodes {
		nodes[i] = startProcess(t, flags[i]...)
	}
	for _, n := range nodes {
		n.awaitTimes(t, "a node has joined the cluster", 2)
	}
	sender, other, frozen := pollClient(t, nodes[0].addr), pollClient(t, nodes[1].addr), pollClient(t, nodes[2].addr)
	for room, c := range map[string]*polling{"other": other, "room": frozen} {
		c.send(`421["join","` + room + `"]`)
		c.await(`431[`)
	}
	awaitDirect := func(room, text string, c *polling) { // what goes to a node that is cut off is lost
		t.Helper()
		come, again := c.comes(text), time.NewTicker(50*time.Millisecond)
		defer again.Stop()
		for late := time.After(30 * time.Second); ; {
			sender.send(`42["direct","` + room + `","` + text + `"]`)
			select {
			case err := <-come:
				if err != nil {
					t.Fatal(err)
				}
				return
			case <-late:
				t.Fatalf("%s never comes", text)
			case <-again.C:
			}
		}
	}
	awaitDirect("room", "before", frozen)
	if err := freeze.Stop(nodes[2].Process); err != nil {
		t.Fatal(err)
	}
	before, most := nodes[0].resident(t), 0
	payload := strings.Repeat("x", 100_000)
	sent := 0
	for began := time.Now(); sent < 1000 && time.Since(began) < 8*time.Second; sent += 10 { // a route is cut after 3 s
		sender.send(`421["bcast",100,"` + payload + `"]`)
		sender.await(`431[`)
		most = max(most, nodes[0].resident(t))
		awaitDirect("other", "meanwhile", other)
	}
	t.Logf("the memory of a node has grown by %d MiB at most while %d MB were sent", (most-before)>>20, sent)
	nodes[0].awaitLine(t, "Slow Consumer") // what is lost is said
	// What waits for a node is bounded by the time until its route is cut.
	if grown := most - before; grown > 600<<20 {
		t.Errorf("the memory of a node has grown by %d MiB for one that is frozen", grown>>20)
	}
	if err := freeze.Continue(nodes[2].Process); err != nil {
		t.Fatal(err)
	}
	again := pollClient(t, nodes[2].addr)
	again.send(`421["join","again"]`)
	again.await(`431[`)
	awaitDirect("again", "after", again)
}

// TestEmbeddedMemory compares nodes with a server in each with one that is alone.
func TestEmbeddedMemory(t *testing.T) {
	flags := embedFlagsOf(t, 3)
	bare := startProcess(t)
	var nodes []*process
	for i := range flags {
		nodes = append(nodes, startProcess(t, flags[i]...))
	}
	for i, n := range nodes {
		n.awaitTimes(t, "a node has joined the cluster", 2)
		more := n.resident(t) - bare.resident(t)
		t.Logf("node %d has %d KiB more than a node that is alone", i+1, more>>10)
		if more > 25<<20 {
			t.Errorf("node %d has %d KiB more than a node that is alone, want 25 MiB at most", i+1, more>>10)
		}
	}
}

// comes polls until a text comes.
func (c *polling) comes(text string) <-chan error {
	over := make(chan error, 1)
	go func() {
		for {
			resp, err := c.web.Get(c.address)
			if err != nil {
				over <- err
				return
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || strings.Contains(string(body), text) {
				if err == nil && resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s: %s", resp.Status, body)
				}
				over <- err
				return
			}
		}
	}()
	return over
}

// resident returns the memory of the process in bytes.
func (p *process) resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestNATSLog: what is said again and again is told once, with a count later, and what happens with every start not at all.
func TestNATSLog(t *testing.T) {
	var text bytes.Buffer
	l := &natsLog{log: slog.New(slog.NewTextHandler(&text, nil)), fatal: make(chan error, 1)}
	for i := range 3 {
		l.Errorf(fmt.Sprintf("127.0.0.1:%d - rid:%d - %%s", i, i), "refused")
		l.Warnf("dropped %d", i)
		l.Noticef("started")
		l.Debugf("asked")
		l.Noticef(fmt.Sprintf("127.0.0.1:%d - rid:%d - Slow Consumer %%s", i, i), "cut")
	}
	l.Fatalf("port %d is taken", 1)
	l.Fatalf("port %d is taken", 2)
	want := []string{"level=WARN.*rid:0 - refused", "level=WARN.*dropped 0", "level=WARN.*rid:0 - Slow Consumer cut", "level=ERROR.*port 1", "level=ERROR.*port 2"}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("logged\n%s", text.String())
	}
	for i, line := range lines {
		if !regexp.MustCompile(want[i]).MatchString(line) {
			t.Errorf("line %d is %s, want %s", i, line, want[i])
		}
	}
	if err := <-l.fatal; err.Error() != "port 1 is taken" {
		t.Errorf("the reason is %v", err)
	}
}

// TestRouteSecret: the secret is said, in a file, or follows from that of the cluster without showing it.
func TestRouteSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("a secret in a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var f nodeFlags
	secret := func() string {
		t.Helper()
		text, err := f.routeSecret()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if got := secret(); got != "" {
		t.Errorf("without any: %q", got)
	}
	f.ClusterSecret = "a secret of the cluster"
	if got := secret(); len(got) != 64 || got != secret() {
		t.Errorf("from that of the cluster: %q", got)
	}
	f.NATSRouteSecretFile = file
	if got := secret(); got != "a secret in a file" {
		t.Errorf("from a file: %q", got)
	}
	f.NATSRouteSecretFile, f.NATSRouteSecret = "", "short"
	if _, err := f.routeSecret(); err == nil {
		t.Error("a short one was taken")
	}
}
