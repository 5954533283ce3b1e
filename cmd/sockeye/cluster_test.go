package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestRedisRequired has no Redis at the address that is given.
func TestRedisRequired(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	args := []string{"serve", "--addr", "127.0.0.1:0", "--redis", "redis://:secret@" + redistest.FreeAddr(t), "--broker-required"}
	if status := run(t.Context(), args, &stdout, &stderr); status != exitFailure {
		t.Errorf("status %d, want %d", status, exitFailure)
	}
	text := stderr.String()
	if !strings.Contains(text, "sockeye: redis is not ready") || strings.Contains(text, "msg=listening") || strings.Contains(text, "secret") {
		t.Errorf("printed %q", text)
	}
}

// TestClusterOfTheBinary runs two nodes with each adapter, which start before Redis does, and sends to a client of one
// from the other and from the command line.
func TestClusterOfTheBinary(t *testing.T) {
	for _, flavour := range []string{pubSubAdapter, shardedAdapter, streamsAdapter} {
		t.Run(flavour, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Single(t)
			redis.Kill()
			flags := []string{"--redis", "redis://" + redis.Addr, "--adapter", flavour}
			one, two := startNode(t, "n1", flags), startNode(t, "n2", flags)
			one.waitFor("redis adapter is down")
			redis.Start()
			one.waitFor("redis adapter is up")
			two.waitFor("redis adapter is up")

			ann, bob := pollClient(t, one.addr), pollClient(t, two.addr)
			ann.send(`420["login","ann"]`)
			ann.await(`430[{"user":"ann"}]`)
			bob.send(`420["login","bob"]`)
			bob.await(`430[{"user":"bob"}]`)
			// Each node is there for itself; from when on one reaches the other is told by the answer.
			id := 1
			for ; ; id++ {
				bob.send(fmt.Sprintf(`42%d["send",{"to":"ann","message":"early"}]`, id))
				if strings.HasSuffix(bob.await(fmt.Sprintf("43%d[", id)), `[{"online":true,"devices":1}]`) {
					break
				}
			}
			bob.send(fmt.Sprintf(`42%d["send",{"to":"ann","message":"across"}]`, id+1)) // the last one went before the answer
			bob.await(fmt.Sprintf("43%d[", id+1))
			ann.await(`42["receive","across",{"from":"bob"}]`)
			bob.send(`420["watch"]`)
			bob.await(`430[{"users":[{"user":"ann","nodes":["n1"]},{"user":"bob","nodes":["n2"]}],"rooms":[],"total":2,"alone":false`) // it may still look for nodes without a directory

			var stdout, stderr bytes.Buffer
			args := append([]string{"emit", "--to", "ann", "--to", "bob", "--except", "bob", "news", `{"a":1}`, `"text"`}, flags...)
			if status := run(t.Context(), args, &stdout, &stderr); status != 0 {
				t.Fatalf("emit ended with status %d, %s", status, stderr.String())
			}
			ann.await(`42["news",{"a":1},"text"]`)
		})
	}
}

// TestEmitTimeout sends to a Redis that never answers.
func TestEmitTimeout(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	began := time.Now()
	var stdout, stderr bytes.Buffer
	args := []string{"emit", "--redis", "redis://" + silent.Addr().String(), "--timeout", "50ms", "news"}
	if status := run(t.Context(), args, &stdout, &stderr); status == 0 || !strings.Contains(stderr.String(), "deadline") {
		t.Errorf("status %d, %s", status, stderr.String())
	}
	if took := time.Since(began); took > 2*time.Second { // go-redis itself would wait for three
		t.Errorf("it took %v", took)
	}
}

// logText is what a node has logged.
type logText struct {
	mu sync.Mutex
	// Guarded by mu.
	text    strings.Builder
	changed chan struct{} // closed and replaced with each line
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

// next returns a channel that is closed when more is logged.
func (l *logText) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// runningNode is a node of a cluster. Its methods fail the test.
type runningNode struct {
	t    *testing.T
	log  *logText
	addr string
}

// startNode runs a node until the test ends, which fails if the node does not end cleanly.
func startNode(t *testing.T, name string, flags []string) *runningNode {
	t.Helper()
	n := launchNode(t, name, flags)
	n.waitFor("msg=listening")
	n.addr = listening.FindStringSubmatch(n.log.String())[1]
	return n
}

// launchNode is startNode for a node that need not listen for clients yet.
func launchNode(t *testing.T, name string, flags []string) *runningNode {
	t.Helper()
	n := &runningNode{t: t, log: &logText{changed: make(chan struct{})}}
	ctx, cancel := context.WithCancel(context.Background())
	status := make(chan int, 1)
	args := append([]string{"serve", "--addr", "127.0.0.1:0", "--node-name", name}, flags...)
	go func() { status <- run(ctx, args, io.Discard, n.log) }()
	t.Cleanup(func() {
		cancel()
		if code := <-status; code != 0 {
			t.Errorf("node %s ended with status %d", name, code)
		}
		if t.Failed() {
			t.Logf("node %s has logged\n%s", name, n.log.String())
		}
	})
	return n
}

// waitFor waits until a text has been logged.
func (n *runningNode) waitFor(text string) {
	n.t.Helper()
	n.waitForTimes(text, 1)
}

// waitForTimes waits until a text has been logged so many times.
func (n *runningNode) waitForTimes(text string, times int) {
	n.t.Helper()
	late := time.After(20 * time.Second)
	for {
		changed := n.log.next()
		logged := n.log.String()
		if strings.Count(logged, text) >= times {
			return
		}
		select {
		case <-changed:
		case <-late:
			n.t.Fatalf("no %q in\n%s", text, logged)
		}
	}
}

// polling is a client that polls.
type polling struct {
	t       *testing.T
	web     *http.Client
	address string
	packets []string // that nobody has waited for
	calls   int      // of sendUntil
}

// pollClient connects to the main namespace of a node.
func pollClient(t *testing.T, addr string) *polling {
	t.Helper()
	return pollWith(t, "http://"+addr, plainPolls())
}

// plainPolls makes each request on a connection of its own.
func plainPolls() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// pollWith is pollClient with a client of the caller's.
func pollWith(t *testing.T, base string, web *http.Client) *polling {
	t.Helper()
	c := openWith(t, base, web)
	c.send("40")
	c.await("40{")
	return c
}

// openPolling is pollClient without a namespace.
func openPolling(t *testing.T, addr string) *polling {
	t.Helper()
	return openWith(t, "http://"+addr, plainPolls())
}

func openWith(t *testing.T, base string, web *http.Client) *polling {
	t.Helper()
	c := &polling{t: t, address: base + "/socket.io/?EIO=4&transport=polling", web: web}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(c.get(), "0")), &open); err != nil {
		t.Fatal(err)
	}
	c.address += "&sid=" + open.SID
	return c
}

func (c *polling) get() string {
	c.t.Helper()
	resp, err := c.web.Get(c.address)
	return c.body(resp, err)
}

func (c *polling) send(packet string) {
	c.t.Helper()
	resp, err := c.web.Post(c.address, "text/plain", strings.NewReader(packet))
	c.body(resp, err)
}

func (c *polling) body(resp *http.Response, err error) string {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return string(body)
}

// await polls until a packet comes that begins so, and returns it.
func (c *polling) await(prefix string) string {
	c.t.Helper()
	var seen []string
	for late := time.Now().Add(20 * time.Second); time.Now().Before(late); {
		for len(c.packets) > 0 {
			packet := c.packets[0]
			c.packets = c.packets[1:]
			if strings.HasPrefix(packet, prefix) {
				return packet
			}
			seen = append(seen, packet)
		}
		c.packets = strings.Split(c.get(), "\x1e")
	}
	c.t.Fatalf("no %s among %q", prefix, append(seen, c.packets...))
	return ""
}

// sendUntil sends an event with an acknowledgement until the answer begins as it should.
func (c *polling) sendUntil(event, answer string) {
	c.t.Helper()
	var got string
	for late := time.Now().Add(20 * time.Second); time.Now().Before(late); {
		c.calls++
		c.send(fmt.Sprintf("42%d%s", 100+c.calls, event))
		prefix := fmt.Sprintf("43%d", 100+c.calls)
		if got = strings.TrimPrefix(c.await(prefix+"["), prefix); strings.HasPrefix(got, answer) {
			return
		}
	}
	c.t.Fatalf("%s is answered %s, never %s", event, got, answer)
}
