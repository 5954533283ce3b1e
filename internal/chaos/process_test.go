package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// patience is how long tests wait for what has to happen.
const patience = 30 * time.Second

// node is a node process.
type node struct {
	// Static after construction.
	t     testing.TB
	name  string
	addr  string
	cmd   *exec.Cmd
	stdin io.Closer
	log   *logtest.Log
	ended chan struct{} // closed when the process has ended
	kind  kind

	// Guarded by mu.
	mu     sync.Mutex
	killed bool
}

// kind is what a node is made of.
type kind string

const (
	current   kind = ""          // this Sockeye: the test binary
	former    kind = "former"    // a Sockeye of former times, see former_test.go
	reference kind = "reference" // Node.js with the npm packages
)

// program is the command of a node. formerNode is the binary of the former ones.
func program(name, redisAddr, flavour string, k kind, formerNode string) *exec.Cmd {
	binary := os.Args[0]
	switch k {
	case reference:
		return exec.Command("node", "../../compat-tests/reference/chaos.mjs", name, redisAddr, flavour)
	case former:
		binary = formerNode
	}
	return exec.Command(binary, "-node-name", name, "-node-redis", redisAddr, "-node-flavour", flavour, "-read-mode", *readMode)
}

// startNode starts a process and waits until it listens. The test ends it in good order.
func startNode(t testing.TB, name string, k kind, cmd *exec.Cmd) *node {
	t.Helper()
	n := &node{t: t, name: name, cmd: cmd, log: new(logtest.Log), ended: make(chan struct{}), kind: k}
	cmd.Stderr = n.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := redistest.Start(cmd); err != nil {
		t.Fatalf("start node %s: %v", name, err)
	}
	t.Cleanup(n.stop)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening ")
	go func() {
		_ = cmd.Wait()
		close(n.ended)
	}()
	if err != nil || !ok {
		t.Fatalf("node %s says %q, %v\n%s", name, line, err, n.log)
	}
	n.addr = addr
	return n
}

// kill ends the process as kill -9 does.
func (n *node) kill() {
	n.mu.Lock()
	n.killed = true
	n.mu.Unlock()
	_ = n.cmd.Process.Kill()
	<-n.ended
}

// stop lets the process end in good order, unless it was killed, and looks at what it leaves behind.
func (n *node) stop() {
	_ = n.stdin.Close()
	n.mu.Lock()
	killed := n.killed
	n.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-n.ended:
	case <-timer.C:
		n.t.Errorf("node %s does not end", n.name)
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	log := n.log.String()
	if state := n.cmd.ProcessState; !killed && !state.Success() || strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
		n.t.Errorf("node %s ended with %v\n%s", n.name, state, log)
	} else if strings.Contains(log, "context canceled") {
		n.t.Errorf("node %s takes its end for trouble\n%s", n.name, log)
	} else if n.t.Failed() {
		n.t.Logf("node %s: %s", n.name, log)
	}
}

// call makes a request to the node and returns its answer and how long it took; an error means that there was none.
func (n *node) call(path string) (a answer, took time.Duration, err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.addr+path, nil)
	if err != nil {
		return a, 0, err
	}
	req.Close = true // a connection of its own: nothing is made twice
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, time.Since(begun), err
	}
	defer res.Body.Close()
	err = json.NewDecoder(res.Body).Decode(&a)
	return a, time.Since(begun), err
}

// ask is call that fails the test without an answer.
func (n *node) ask(path string) (answer, time.Duration) {
	n.t.Helper()
	a, took, err := n.call(path)
	if err != nil {
		n.t.Fatalf("%s of node %s: %v\n%s", path, n.name, err, n.log)
	}
	return a, took
}

// self is the identity of a node that has one.
func (n *node) self() nodeInfo {
	n.t.Helper()
	a, _ := n.ask("/nodes")
	if len(a.Nodes) == 0 {
		n.t.Fatalf("node %s does not know itself", n.name)
	}
	return a.Nodes[0]
}
