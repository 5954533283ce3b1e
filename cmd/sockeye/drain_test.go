//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is the program as a process of its own.
type process struct {
	*exec.Cmd
	addr string

	mu    sync.Mutex
	lines []string
	over  chan struct{} // closed when its output has ended
}

// startProcess waits until it listens.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...), over: make(chan struct{})}
	p.Env = append(os.Environ(), asProgram+"=1")
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	go func() {
		defer close(p.over)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
		}
	}()
	p.awaitLine(t, "msg=listening")
	p.addr = listening.FindStringSubmatch(p.output())[1]
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

func (p *process) awaitLine(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(p.output(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing of %q in a minute:\n%s", text, p.output())
		}
	}
}

// end sends a signal and returns the state at the end.
func (p *process) end(t *testing.T, s syscall.Signal) *os.ProcessState {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	<-p.over
	_ = p.Wait() // the state says the same
	return p.ProcessState
}

// open opens a session by polling.
func (p *process) open(t *testing.T) (sid string) {
	t.Helper()
	var open struct{ SID string }
	body := get(t, "http://"+p.addr+"/socket.io/?EIO=4&transport=polling")
	if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "0")), &open); err != nil {
		t.Fatalf("handshake %q: %v", body, err)
	}
	return open.SID
}

// TestDrainOnSignal: after SIGTERM clients are let in for the grace, then refused; those that are there are told the end, and then
// the program ends in peace.
func TestDrainOnSignal(t *testing.T) {
	p := startProcess(t, "--drain-grace", "2s")
	ends := make(chan string, 2)
	poll := func() {
		sid := p.open(t)
		go func() { ends <- get(t, "http://"+p.addr+"/socket.io/?EIO=4&transport=polling&sid="+sid) }()
	}
	poll()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.awaitLine(t, "msg=draining")
	poll() // in the grace
	state := p.end(t, syscall.SIGCONT)
	for range 2 {
		if got := <-ends; got != "6" {
			t.Errorf("a parked poll was answered %q, want a packet that says nothing", got)
		}
	}
	if !state.Success() || !strings.Contains(p.output(), "msg=stopped") {
		t.Errorf("ended with %v:\n%s", state, p.output())
	}
}

// TestSecondSignal ends the program at once.
func TestSecondSignal(t *testing.T) {
	p := startProcess(t, "--drain-grace", "1h")
	p.open(t)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.awaitLine(t, "msg=draining")
	if state := p.end(t, syscall.SIGTERM); state.Success() {
		t.Error("the program says that it ended in peace")
	}
}

// TestNoGrace: nobody waits for the grace who has no need to.
func TestNoGrace(t *testing.T) {
	for name, tc := range map[string]struct {
		signal   syscall.Signal
		sessions int
	}{
		"at a terminal":   {syscall.SIGINT, 1},
		"without clients": {syscall.SIGTERM, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, "--drain-grace", "1h", "--drain-rate", "10")
			for range tc.sessions {
				p.open(t)
			}
			if state := p.end(t, tc.signal); !state.Success() {
				t.Errorf("ended with %v:\n%s", state, p.output())
			}
		})
	}
}

// TestDrainRefusesOnTheWire: between the grace and the end the listener is open, and says when to come again.
func TestDrainRefusesOnTheWire(t *testing.T) {
	p := startProcess(t, "--drain-grace", "0s", "--drain-rate", "1")
	for range 2 { // nobody polls: they are given up two seconds after they have been told
		p.open(t)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.awaitLine(t, "msg=draining")
	for { // the line comes before the refusals
		resp, err := http.Get("http://" + p.addr + "/socket.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			if resp.Header.Get("Retry-After") == "" {
				t.Errorf("refused with %v", resp.Header)
			}
			break
		}
	}
	if state := p.end(t, syscall.SIGCONT); !state.Success() {
		t.Errorf("ended with %v:\n%s", state, p.output())
	}
}
