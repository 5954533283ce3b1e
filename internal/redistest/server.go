// Package redistest starts real Redis servers for tests and makes trouble for them.
//
// Every server listens on a free port of the loopback interface, keeps its data in the test's temporary directory and ends
// with the test, or with the process if the test is killed. Where redis-server is missing and the process may install
// packages, it is installed.
package redistest

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// readyWithin is how long a server, a cluster or a failover may take.
const readyWithin = 30 * time.Second

// Server is a redis-server process. Its methods fail the test when they cannot do what they say.
type Server struct {
	// Static after construction.
	t        testing.TB
	Addr     string // host:port
	Socket   string // path of the unix socket
	dir      string
	args     []string
	sentinel bool
	password string
	busPort  string // of a Redis Cluster
	tls      *tls.Config

	// Guarded by mu.
	mu  sync.Mutex
	cmd *exec.Cmd
	out *bytes.Buffer
}

// Single starts one server. Further arguments are those of redis-server, such as "--requirepass", "secret".
func Single(t testing.TB, args ...string) *Server {
	t.Helper()
	s := newServer(t, args...)
	s.Start()
	return s
}

func newServer(t testing.TB, args ...string) *Server {
	t.Helper()
	dir := t.TempDir()
	socketDir, err := os.MkdirTemp("", "redis") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(socketDir) })
	s := &Server{t: t, Addr: FreeAddr(t), Socket: filepath.Join(socketDir, "s"), dir: dir, args: args}
	for i, arg := range args {
		if arg == "--requirepass" && i+1 < len(args) {
			s.password = args[i+1]
		}
	}
	t.Cleanup(s.Kill)
	return s
}

// Start starts the process again on its port with its old data, and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.StartLoading()
	s.AwaitReady()
}

// StartLoading starts the process and does not wait until it answers.
func (s *Server) StartLoading() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	args := []string{"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--unixsocket", s.Socket,
		"--save", "", "--daemonize", "no", "--enable-debug-command", "local"}
	if s.tls != nil {
		args[2] = "--tls-port"
		args = append(args, "--port", "0")
	}
	if s.sentinel {
		args = []string{filepath.Join(s.dir, "sentinel.conf"), "--sentinel"}
	}
	cmd := exec.Command(binary(s.t), append(args, s.args...)...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := Start(cmd); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	s.mu.Lock()
	s.cmd, s.out = cmd, out
	s.mu.Unlock()
}

// AwaitReady waits until the server answers.
func (s *Server) AwaitReady() {
	s.t.Helper()
	rdb := s.Client()
	defer rdb.Close()
	deadline := time.Now().Add(readyWithin)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", s.Addr) // first, because go-redis logs each failure to connect
		if err == nil {
			conn.Close()
			if err = rdb.Ping(context.Background()).Err(); err == nil {
				return
			}
		}
		if time.Now().After(deadline) {
			s.Kill() // its output is complete then
			s.t.Fatalf("redis-server at %s: %v\n%s", s.Addr, err, s.out)
		}
		<-tick.C
	}
}

// Client returns a new client for the server, which the caller closes. It retries nothing.
func (s *Server) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr, Password: s.password, TLSConfig: s.tls, MaxRetries: -1, DialerRetries: 1})
}

// Do sends one command and returns what it answers.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	rdb := s.Client()
	defer rdb.Close()
	v, err := rdb.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// Kill ends the process as a crash would. It does nothing to a server that is not running.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Running reports whether the process has been started and not been killed.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil
}

// Restart kills the process and starts it on the same port.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.Start()
}

// KillPubSub closes every connection with subscriptions and returns how many there were.
func (s *Server) KillPubSub() int {
	s.t.Helper()
	return int(s.Do("CLIENT", "KILL", "TYPE", "pubsub").(int64))
}

// FreeAddr returns an address of the loopback interface on which nothing listens. Its port is not one of those that
// systems give to clients and to listeners without a wish, so that it is hardly taken before the server has it.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(22_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port between 10000 and 32000 is free")
	return ""
}

// Eventually fails the test unless the condition holds within half a minute.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(readyWithin)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", readyWithin, what)
		}
		<-tick.C
	}
}

var install = sync.OnceValues(func() (string, error) {
	if path, err := exec.LookPath("redis-server"); err == nil {
		return path, nil
	}
	if os.Getuid() == 0 {
		if apt, err := exec.LookPath("apt-get"); err == nil {
			_ = exec.Command(apt, "update", "-qq").Run()
			_ = exec.Command(apt, "install", "-y", "-qq", "redis-server").Run()
		}
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("redis-server 7 is needed: apt-get install redis-server")
	}
	return path, nil
})

func binary(t testing.TB) string {
	t.Helper()
	path, err := install()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Goroutine is the name of the one goroutine that this package leaves behind, for leak checks.
const Goroutine = "github.com/sockeye-io/sockeye/internal/redistest.serve"

// Calls tells how often a command was called, within scripts and without.
func (s *Server) Calls(command string) (calls int) {
	s.t.Helper()
	_, _ = fmt.Sscanf(field(s.Do("INFO", "commandstats").(string), "cmdstat_"+command), "calls=%d", &calls)
	return calls
}
