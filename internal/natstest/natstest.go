// Package natstest starts real NATS servers for tests and makes trouble for them.
//
// A server is a process of its own: the test's binary, started once more, with the server of the NATS project in it. So a package
// that uses this one begins its TestMain with [Serve]. Every server listens on free ports of the loopback interface and ends with
// the test, or with the process if the test is killed.
package natstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// serveArg is the first argument of the processes that are servers.
const serveArg = "natstest-server"

// Goroutine is the name of the one goroutine that this package leaves behind, for leak checks.
const Goroutine = redistest.Goroutine

// Serve is a NATS server until the process is killed if that was started for this; else it does nothing.
func Serve() {
	if len(os.Args) != 3 || os.Args[1] != serveArg {
		return
	}
	opts, err := server.ProcessConfigFile(os.Args[2])
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(opts); err == nil {
			s.ConfigureLogger()
			if err = server.Run(s); err == nil {
				s.WaitForShutdown()
				os.Exit(0)
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Server is the process of a NATS server. Its methods fail the test when they cannot do what they say.
type Server struct {
	// Static after construction.
	t       testing.TB
	Addr    string // host:port for clients
	URL     string // the same as an address for clients
	routes  string // host:port for the other servers; "" if it is alone
	monitor string // host:port
	config  string // path
	cluster string // a line of it; "" if the server is alone

	// Guarded by mu.
	mu  sync.Mutex
	cmd *exec.Cmd
	out *bytes.Buffer
}

// Single starts one server. Further lines are those of its configuration, such as "max_payload: 1000".
func Single(t testing.TB, lines ...string) *Server {
	t.Helper()
	s := newServer(t)
	s.Configure(lines...)
	s.Start()
	return s
}

// Routed starts n servers that are connected to each other. The lines are for each of them.
func Routed(t testing.TB, n int, lines ...string) []*Server {
	t.Helper()
	return routed(t, n, func(int) []string { return lines })
}

// RoutedJetStream starts n servers with JetStream that are connected to each other, and waits until they have a leader.
func RoutedJetStream(t testing.TB, n int) []*Server {
	t.Helper()
	servers := routed(t, n, func(i int) []string { return JetStream(t, fmt.Sprint("server", i)) })
	AwaitJetStream(t, servers...)
	return servers
}

// AwaitJetStream waits until servers know who leads them.
func AwaitJetStream(t testing.TB, servers ...*Server) {
	t.Helper()
	for _, s := range servers {
		redistest.Eventually(t, "jetstream has a leader", func() bool {
			var z struct {
				Meta struct {
					Leader string `json:"leader"`
				} `json:"meta_cluster"`
			}
			return s.ask("/jsz", &z) && z.Meta.Leader != ""
		})
	}
}

func routed(t testing.TB, n int, lines func(i int) []string) []*Server {
	t.Helper()
	servers := make([]*Server, n)
	var routes []string
	for i := range servers {
		servers[i] = newServer(t)
		servers[i].routes = redistest.FreeAddr(t)
		routes = append(routes, "nats://"+servers[i].routes)
	}
	for i, s := range servers {
		s.cluster = fmt.Sprintf("cluster { name: natstest, listen: %q, routes: [%s] }", s.routes, strings.Join(routes, ", "))
		s.Configure(append([]string{s.cluster}, lines(i)...)...)
		s.start()
	}
	for _, s := range servers {
		s.AwaitReady()
	}
	AwaitRoutes(t, servers...)
	return servers
}

// AwaitRoutes waits until each of some servers has routes to all others.
func AwaitRoutes(t testing.TB, servers ...*Server) {
	t.Helper()
	for _, s := range servers {
		redistest.Eventually(t, "the servers are connected", func() bool {
			var z struct {
				Routes []struct {
					Remote string `json:"remote_id"`
				} `json:"routes"`
			}
			if !s.ask("/routez", &z) {
				return false
			}
			others := make(map[string]int)
			for _, r := range z.Routes {
				others[r.Remote]++
			}
			for _, number := range others {
				if number < 3 { // of the pool; there is one more for the system's account
					return false
				}
			}
			return len(others) == len(servers)-1
		})
	}
}

// URLs returns the addresses of servers.
func URLs(servers []*Server) []string {
	urls := make([]string, len(servers))
	for i, s := range servers {
		urls[i] = s.URL
	}
	return urls
}

func newServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, Addr: redistest.FreeAddr(t), monitor: redistest.FreeAddr(t), config: filepath.Join(t.TempDir(), "nats.conf")}
	s.URL = "nats://" + s.Addr
	t.Cleanup(s.Kill)
	return s
}

// Configure writes the configuration anew, for the next Start or Reload. Lines of a cluster must be given again.
func (s *Server) Configure(lines ...string) {
	s.t.Helper()
	text := fmt.Sprintf("listen: %q\nhttp: %q\n%s\n", s.Addr, s.monitor, strings.Join(lines, "\n"))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts the process, again on its ports, and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.start()
	s.AwaitReady()
}

func (s *Server) start() {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(self, serveArg, s.config)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := redistest.Start(cmd); err != nil {
		s.t.Fatalf("start nats-server: %v", err)
	}
	s.mu.Lock()
	s.cmd, s.out = cmd, out
	s.mu.Unlock()
}

// AwaitReady waits until the server answers.
func (s *Server) AwaitReady() {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !s.ask("/healthz", nil) {
		if time.Now().After(deadline) {
			s.Kill() // its output is complete then
			s.t.Fatalf("nats-server at %s does not answer\n%s", s.Addr, s.out)
		}
		<-tick.C
	}
}

// ask reads what the server's monitor tells, and reports whether it did.
func (s *Server) ask(path string, into any) bool {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + s.monitor + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false
	}
	return into == nil || json.NewDecoder(resp.Body).Decode(into) == nil
}

// Client returns a connection to the server that ends with the test.
func (s *Server) Client(opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.URL, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
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

// Embedded starts a server in this process, for nats.InProcessServer; it listens nowhere.
func Embedded(t testing.TB) *server.Server {
	t.Helper()
	return EmbeddedWith(t, &server.Options{DontListen: true})
}

// EmbeddedRoute starts a server in this process, for nats.InProcessServer, that has a route to the one that takes routes at an address:
// it is that one itself if nobody listens there yet. It has the settings of `sockeye serve --nats-embed` that decide on what it costs.
func EmbeddedRoute(t testing.TB, at string) *server.Server {
	t.Helper()
	host, text, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if taken, err := net.DialTimeout("tcp", at, time.Second); err == nil {
		_ = taken.Close()
		port = server.RANDOM_PORT
	}
	return EmbeddedWith(t, &server.Options{
		Host: host, Port: server.RANDOM_PORT, NoSystemAccount: true, Routes: server.RoutesFromStr("nats://" + at),
		Cluster: server.ClusterOpts{
			Name: "test", Host: host, Port: port, NoAdvertise: true, PoolSize: 1,
			Compression: server.CompressionOpts{Mode: server.CompressionOff},
		},
	})
}

// EmbeddedWith starts a server in this process until the test ends.
func EmbeddedWith(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	opts.NoLog, opts.NoSigs = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server in this process is not ready")
	}
	return s
}

// JetStream are the lines of a server's configuration that turn JetStream on. What it keeps in files ends with the test.
func JetStream(t testing.TB, name string) []string {
	t.Helper()
	return []string{
		fmt.Sprintf("server_name: %q", name),
		fmt.Sprintf("jetstream { store_dir: %q, max_memory_store: 256MB, max_file_store: 256MB }", t.TempDir()),
	}
}
