package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server"
)

var servingOperators = regexp.MustCompile(`msg="serving operators" url=(\S+)`)

// operators returns the URL of the address for operators, which the node must have.
func (n *runningNode) operators() string {
	n.t.Helper()
	n.waitFor("serving operators")
	return servingOperators.FindStringSubmatch(n.log.String())[1]
}

// probe asks a node how it is, in detail.
func (n *runningNode) probe(path string) (status int, answer report) {
	n.t.Helper()
	req, err := http.NewRequest(http.MethodGet, n.operators()+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		n.t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode, answer
}

// awaitProbe asks until the status is the wanted one.
func (n *runningNode) awaitProbe(path string, want int) report {
	n.t.Helper()
	for late := time.Now().Add(20 * time.Second); ; {
		status, answer := n.probe(path)
		if status == want {
			return answer
		}
		if time.Now().After(late) {
			n.t.Fatalf("%s: still %d, %+v", path, status, answer)
		}
	}
}

func (r report) component(name string) (found component) {
	for _, c := range r.Components {
		if c.Name == name {
			found = c
		}
	}
	return found
}

// TestProbes asks a node without others, in both forms, and its address for clients, which has nothing of it.
func TestProbes(t *testing.T) {
	n := startNode(t, "n1", []string{"--admin-addr", "127.0.0.1:0"})
	list := get(t, n.operators())
	for _, path := range []string{"livez", "readyz", "startupz"} {
		if text := get(t, n.operators()+path); text != "ok\n" {
			t.Errorf("/%s: %q", path, text)
		}
		if !strings.Contains(list, "/"+path+" ") {
			t.Errorf("/ does not tell of /%s: %q", path, list)
		}
		if status, answer := n.probe(path); status != http.StatusOK || answer.Status != "ok" {
			t.Errorf("/%s: %d, %+v", path, status, answer)
		}
	}
	var verbose report
	if err := json.Unmarshal([]byte(get(t, n.operators()+"readyz?verbose")), &verbose); err != nil {
		t.Fatal(err)
	}
	for name, state := range map[string]string{"listener": stateUp, "drain": stateServing, "directory": stateUp, "broker": ""} {
		if c := verbose.component(name); c.State != state || c.OK != (state != "") {
			t.Errorf("%s is %+v, want it %s", name, c, state)
		}
	}
	for _, path := range []string{"livez", "readyz", "startupz", "metrics"} {
		resp, err := http.Get("http://" + n.addr + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("the address for clients has /%s: %d", path, resp.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestReadiness goes through a node's life: before it listens, while it serves, drains, serves again and ends.
func TestReadiness(t *testing.T) {
	srv, err := server.New(&server.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	node := &app{server: srv}
	mux := (&serveCommand{}).adminHandlers(node)
	check := func(when string, live, startup, ready int, why string) {
		t.Helper()
		for path, want := range map[string]int{"/livez": live, "/startupz": startup, "/readyz": ready} {
			answer := httptest.NewRecorder()
			mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
			if text := answer.Body.String(); answer.Code != want || path == "/readyz" && !strings.Contains(text, why) {
				t.Errorf("%s: %s is %d, %q, want %d with %q", when, path, answer.Code, text, want, why)
			}
		}
	}
	const yes, no = http.StatusOK, http.StatusServiceUnavailable
	check("starting", yes, no, no, "unavailable\nlistener starting\n")
	node.life.start()
	check("serving", yes, yes, yes, "ok\n")
	if err := srv.Drain(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	check("draining", yes, yes, no, "unavailable\ndrain draining\n")
	srv.Undrain()
	check("serving again", yes, yes, yes, "ok\n")
	node.life.stop()
	check("ending", yes, yes, no, "unavailable\nlistener stopping")
}

// TestReadyWithoutBroker stops the Redis of three nodes: those that are not asked for the opposite stay ready.
func TestReadyWithoutBroker(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	flags := []string{"--redis", "redis://" + redis.Addr, "--admin-addr", "127.0.0.1:0"}
	nodes := []*runningNode{startNode(t, "n1", flags), startNode(t, "n2", flags), startNode(t, "n3", append(flags, "--ready-needs-broker"))}
	for _, n := range nodes {
		n.waitFor("redis adapter is up")
		if broker := n.awaitProbe("readyz", http.StatusOK).component("broker"); broker.State != stateUp || !broker.OK || broker.Since == nil {
			t.Errorf("the broker is %+v", broker)
		}
	}
	redis.Kill()
	for i, n := range nodes {
		n.waitFor("redis adapter is down")
		needs := i == 2
		want := http.StatusOK
		if needs {
			want = http.StatusServiceUnavailable
		}
		status, answer := n.probe("readyz")
		broker := answer.component("broker")
		if status != want || broker.OK || broker.State != stateDown || broker.Critical != needs || broker.Reason == "" {
			t.Errorf("node %d without its broker: %d, %+v", i, status, broker)
		}
		for _, path := range []string{"livez", "startupz"} {
			if status, _ := n.probe(path); status != http.StatusOK {
				t.Errorf("node %d without its broker: /%s is %d", i, path, status)
			}
		}
	}
	redis.Start()
	for _, n := range nodes {
		n.awaitProbe("readyz", http.StatusOK)
	}
}

// TestStartupWaitsForBroker has a node that may not start alone, and a Redis that comes later.
func TestStartupWaitsForBroker(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	redis.Kill()
	n := launchNode(t, "n1", []string{"--redis", "redis://" + redis.Addr, "--broker-required", "--admin-addr", "127.0.0.1:0"})
	for path, want := range map[string]int{"livez": http.StatusOK, "startupz": http.StatusServiceUnavailable, "readyz": http.StatusServiceUnavailable} {
		if status, answer := n.probe(path); status != want {
			t.Errorf("/%s is %d, %+v, want %d", path, status, answer, want)
		}
	}
	redis.Start()
	n.waitFor("msg=listening")
	n.awaitProbe("startupz", http.StatusOK)
	n.awaitProbe("readyz", http.StatusOK)
}
