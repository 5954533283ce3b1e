package frameworks

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/proxyprotocol"
)

// clients is how many browsers come through a proxy, enough that both nodes get some.
const clients = 12

// require finds a program, or installs its package where that is possible.
func require(t *testing.T, program, pkg string) string {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if os.Getuid() == 0 {
		for _, args := range [][]string{{"update", "-qq"}, {"install", "-y", "-qq", "--no-install-recommends", pkg}} {
			cmd := exec.Command("apt-get", args...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Logf("apt-get %v: %v\n%s", args, err, out)
			}
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is needed: run `apt-get install %s` as root", program, pkg)
	}
	return path
}

// freeAddr returns an address on whose port nothing listens. It is not one of those that connections leave from: Caddy listens on all
// addresses, and one of them may have begun a connection from it meanwhile.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10_000 + rand.IntN(22_000))
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			_ = l.Close()
			return net.JoinHostPort("127.0.0.1", port)
		}
	}
	t.Fatal("no port between 10000 and 32000 is free")
	return ""
}

// proxy runs a program until the test ends, and waits until it listens.
func proxy(t *testing.T, addr string, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	var out logtest.Log
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var once sync.Once
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		once.Do(func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	deadline, tick := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("%s ended:\n%s", path, out.String())
		case <-deadline:
			t.Fatalf("%s does not listen:\n%s", path, out.String())
		}
	}
}

// nodes runs two servers and returns their addresses. A listener may be wrapped.
func nodes(t *testing.T, opts server.Options, wrap func(net.Listener) net.Listener) [2]string {
	t.Helper()
	var addrs [2]string
	for i, name := range []string{"node-1", "node-2"} {
		opts.NodeName = name
		ts := httptest.NewUnstartedServer(newServer(t, opts))
		ts.Config.ErrorLog = nil
		if wrap != nil {
			ts.Listener = wrap(ts.Listener)
		}
		ts.Start()
		t.Cleanup(ts.Close)
		addrs[i] = ts.Listener.Addr().String()
	}
	return addrs
}

// clustered is nodes that know each other, and bring requests to the one that has the session.
func clustered(t *testing.T, opts server.Options) [2]string {
	t.Helper()
	var bus adaptertest.Cluster
	var addrs [2]string
	var peers [2]*forward.Forwarder
	for i, name := range []string{"node-1", "node-2"} {
		fwd, err := forward.Listen(&forward.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		opts.NodeName, opts.Adapter, opts.Forwarder, peers[i] = name, bus.Node(server.NodeID(name)), fwd, fwd
		ts := httptest.NewServer(newServer(t, opts))
		t.Cleanup(ts.Close)
		addrs[i] = ts.Listener.Addr().String()
	}
	deadline := time.After(patience)
	for peers[0].Stats().Peers+peers[1].Stats().Peers < 2 {
		select {
		case <-deadline:
			t.Fatal("the nodes do not know each other")
		case <-time.After(time.Millisecond):
		}
	}
	return addrs
}

// deployed returns a file of deploy/, as people copy it, with the addresses of this test.
func deployed(t *testing.T, name, listen string, nodes [2]string, more ...string) (content string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(append([]string{"127.0.0.1:3001", nodes[0], "127.0.0.1:3002", nodes[1]}, more...)...).Replace(string(b))
}

func write(t *testing.T, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func trusting(t *testing.T) server.Options {
	t.Helper()
	proxies, err := server.ParseTrustedProxies("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	var opts server.Options
	opts.Engine.TrustedProxies = proxies
	return opts
}

// browse sends browsers through a proxy, which lie about who they are. The session of each, which begins by polling, must stay
// on one node; together they must reach both, unless the proxy chooses by address.
func browse(t *testing.T, addr string, spread bool) {
	t.Helper()
	seenNodes := make(map[string]bool)
	for range clients {
		lies := http.Header{"X-Forwarded-For": {"8.8.8.8"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=8.8.8.8;proto=https"}}
		seen, err := newClient("http://"+addr+"/socket.io/", lies).use()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range seen {
			if w.Address != away || w.Secure {
				t.Errorf("a client that lies is %+v", w)
			}
		}
		if seen[0].Node != seen[1].Node {
			t.Errorf("a session was on %s, then on %s", seen[0].Node, seen[1].Node)
		}
		seenNodes[seen[0].Node], seenNodes[seen[2].Node] = true, true
	}
	if spread && len(seenNodes) != 2 {
		t.Errorf("%d clients reached only %v", clients, seenNodes)
	}
}

func TestNginx(t *testing.T) {
	t.Run("in turns", func(t *testing.T) { browseNginx(t, "nginx/sockeye.conf", clustered(t, trusting(t))) })
	t.Run("by tag", func(t *testing.T) { browseNginx(t, "nginx/tag.conf", nodes(t, trusting(t), nil)) })
	t.Run("by cookie", func(t *testing.T) { browseNginx(t, "nginx/sticky.conf", nodes(t, trusting(t), nil)) })
}

// tags are what stands for the nodes' tags in the files that look at session ids.
func tags() []string {
	return []string{"TAG1", adapter.TagOf("node-1"), "TAG2", adapter.TagOf("node-2")}
}

func browseNginx(t *testing.T, file string, nodes [2]string) {
	t.Helper()
	path := require(t, "nginx", "nginx-light")
	addr := freeAddr(t)
	site := deployed(t, file, addr, nodes,
		append(tags(), "    server 127.0.0.1:3003 max_fails=1 fail_timeout=5s;\n", "", "    server 127.0.0.1:3003 max_fails=0;\n", "",
			"listen 3000;", "listen "+addr+";")...)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // nginx as root gives its workers to another user
		t.Fatal(err)
	}
	var conf bytes.Buffer
	conf.WriteString("daemon off; worker_processes 1; pid " + dir + "/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n")
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		conf.WriteString(what + "_temp_path " + dir + "/" + what + ";\n")
	}
	conf.WriteString("include " + write(t, "sockeye.conf", site) + ";\n}\n")
	proxy(t, addr, path, "-p", dir, "-e", "stderr", "-c", write(t, "nginx.conf", conf.String()))
	browse(t, addr, true)
}

func TestHAProxy(t *testing.T) {
	path := require(t, "haproxy", "haproxy")
	t.Run("in turns", func(t *testing.T) {
		addr := freeAddr(t)
		conf := deployed(t, "haproxy/roundrobin.cfg", addr, clustered(t, trusting(t)), "bind :3000", "bind "+addr)
		proxy(t, addr, path, "-db", "-f", write(t, "haproxy.cfg", conf))
		browse(t, addr, true)
	})
	t.Run("by tag", func(t *testing.T) {
		addr := freeAddr(t)
		conf := deployed(t, "haproxy/tag.cfg", addr, nodes(t, trusting(t), nil), append(tags(), "bind :3000", "bind "+addr)...)
		proxy(t, addr, path, "-db", "-f", write(t, "haproxy.cfg", conf))
		browse(t, addr, true)
	})
	t.Run("cookie of its own", func(t *testing.T) {
		addr := freeAddr(t)
		conf := deployed(t, "haproxy/insert.cfg", addr, nodes(t, trusting(t), nil), "bind :3000", "bind "+addr)
		proxy(t, addr, path, "-db", "-f", write(t, "haproxy.cfg", conf))
		browse(t, addr, true)
	})
	t.Run("prefix of the nodes' cookie", func(t *testing.T) {
		opts := trusting(t)
		opts.Engine.Cookie = &server.Cookie{Name: "io"}
		addr := freeAddr(t)
		conf := deployed(t, "haproxy/prefix.cfg", addr, nodes(t, opts, nil), "bind :3000", "bind "+addr)
		proxy(t, addr, path, "-db", "-f", write(t, "haproxy.cfg", conf))
		browse(t, addr, true)
	})
	for _, version := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run("on TCP with "+version, func(t *testing.T) {
			opts := trusting(t)
			balancers := opts.Engine.TrustedProxies
			opts.Engine.TrustedProxies = nil // the balancer says nothing in HTTP, and its clients lie
			addr := freeAddr(t)
			conf := deployed(t, "haproxy/tcp.cfg", addr, nodes(t, opts, func(l net.Listener) net.Listener {
				return proxyprotocol.NewListener(l, balancers)
			}), "bind :3000", "bind "+addr, "send-proxy-v2", version)
			proxy(t, addr, path, "-db", "-f", write(t, "haproxy.cfg", conf))
			browse(t, addr, false)
		})
	}
}

func TestCaddy(t *testing.T) {
	t.Run("in turns", func(t *testing.T) { browseCaddy(t, "caddy/roundrobin.Caddyfile", clustered(t, trusting(t))) })
	t.Run("by cookie", func(t *testing.T) { browseCaddy(t, "caddy/Caddyfile", nodes(t, trusting(t), nil)) })
}

func browseCaddy(t *testing.T, file string, nodes [2]string) {
	t.Helper()
	path := require(t, "caddy", "caddy")
	addr := freeAddr(t)
	conf := deployed(t, file, addr, nodes, ":3000 {", "http://"+addr+" {")
	proxy(t, addr, path, "run", "--adapter", "caddyfile", "--config", write(t, "Caddyfile", "{\n\tadmin off\n}\n"+conf))
	browse(t, addr, true)
}
