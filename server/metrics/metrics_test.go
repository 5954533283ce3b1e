package metrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/metrics"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// names reads the constants of names.go.
func names(t *testing.T) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			name, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = true
		}
		return true
	})
	if len(all) < 50 {
		t.Fatalf("names.go has %d names", len(all))
	}
	return all
}

// TestNames scrapes a node of a live cluster with everything that can be watched: each name has a value, and nothing is there that has
// no name. Then Prometheus's own checks of names and texts.
func TestNames(t *testing.T) {
	var cluster adaptertest.Cluster
	fwd, err := forward.Listen(&forward.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := limits.New(limits.Public())
	if err != nil {
		t.Fatal(err)
	}
	var dir *users.Directory
	one := newNode(t, server.Options{Adapter: cluster.Node("one"), Forwarder: fwd}, nil, func(srv *server.Server) {
		if dir, err = users.New(srv, users.Options{Store: users.NewMemoryStore(), Mixed: users.MixedOff}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := dir.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	newNode(t, server.Options{Adapter: cluster.Node("two")}, nil, nil)
	one.metrics.WatchDirectory(dir)
	one.metrics.WatchForwarder(fwd)
	one.metrics.WatchLimits(l)
	one.metrics.WatchTokens(func() map[string]uint64 { return map[string]uint64{"accepted": 1} })
	defer one.Connect(t, "/", nil).Disconnect()

	got, want := one.scrape(t), names(t)
	for name := range want {
		if len(got[name].GetMetric()) == 0 {
			t.Errorf("%s has no value", name)
		}
	}
	for name := range got {
		if !want[name] {
			t.Errorf("%s is not in names.go", name)
		}
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(one.metrics)
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestGauges opens connections in each way, ends them in dirty ways, and compares the gauges with what there is.
func TestGauges(t *testing.T) {
	const clients = 300
	n := newNode(t, server.Options{}, nil, func(srv *server.Server) {
		srv.Of("/")
		srv.Of("/chat").OnConnection(func(ctx context.Context, s *server.Socket) { _ = s.Join(ctx, "room "+s.ID()[:1], "everybody") })
	})
	var all []*servertest.Client
	for i := range clients {
		opts := &servertest.DialOptions{}
		if i%3 == 0 {
			opts.Transport = engine.TransportPolling
		}
		c := n.Dial(t, opts)
		c.Send("40", "40/chat,")
		c.Next()
		c.Next()
		all = append(all, c)
	}
	n.expect(t, map[string]float64{
		metrics.Connections + " transport=polling state=open":   clients / 3,
		metrics.Connections + " transport=websocket state=open": clients - clients/3,
		metrics.Sockets + " namespace=/":                        clients,
		metrics.Sockets + " namespace=/chat":                    clients,
		metrics.Namespaces:                                      2,
		metrics.Handshakes + " result=opened":                   clients,
		metrics.Connects + " namespace=/chat result=joined":     clients,
	})
	for i, c := range all {
		switch i % 4 {
		case 0:
			c.Cut()
		case 1:
			c.Send("41/chat,")
			c.Close()
		case 2:
			c.WriteRaw([]byte("\xff\xff\xff"))
		}
	}
	// Polling clients that were cut off are noticed by their heartbeat only; this side ends what is left.
	for _, s := range n.srv.Engine().Sessions() {
		s.Discard()
	}
	await(t, "the end of all sockets", func() bool { return n.srv.Stats().Sockets == 0 && n.srv.Engine().Len() == 0 })
	await(t, "the end of all closing handshakes", func() bool { return n.srv.Stats().Engine.Closing == 0 })
	n.expect(t, map[string]float64{
		metrics.Connections + " transport=polling state=open":      0,
		metrics.Connections + " transport=polling state=upgrading": 0,
		metrics.Connections + " transport=websocket state=open":    0,
		metrics.Connections + " transport=websocket state=closing": 0,
		metrics.UnjoinedSessions:                                   0,
		metrics.Sockets + " namespace=/":                           0,
		metrics.Sockets + " namespace=/chat":                       0,
		metrics.Rooms + " namespace=/chat":                         0,
		metrics.PendingAcks:                                        0,
		metrics.OutboxBytes:                                        0,
	})
	var ended, disconnected float64
	afterwards := n.scrape(t)
	for _, m := range afterwards[metrics.EndedSessions].GetMetric() {
		ended += m.GetCounter().GetValue()
	}
	for _, m := range afterwards[metrics.Disconnections].GetMetric() {
		disconnected += m.GetCounter().GetValue()
	}
	if ended != clients || disconnected != 2*clients {
		t.Errorf("%v sessions ended and %v sockets disconnected, want %d and %d", ended, disconnected, clients, 2*clients)
	}
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s in a minute", what)
		}
	}
}

// TestNamespaceLabels has more namespaces than labels, one name that is no UTF-8, and children of parents, whose names clients choose.
func TestNamespaceLabels(t *testing.T) {
	const most = 6
	n := newNode(t, server.Options{}, &metrics.Options{MaxNamespaces: most}, func(srv *server.Server) {
		srv.OfPattern(regexp.MustCompile(`^/tenant-\d+$`))
		srv.Of("/\xff")
		for i := range 20 {
			srv.Of(fmt.Sprintf("/static-%d", i))
		}
		srv.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool { return strings.HasPrefix(name, "/room-") })
	})
	for i := range 30 {
		c := n.Dial(t, nil)
		c.Send(fmt.Sprintf("40/tenant-%d,", i), fmt.Sprintf("40/room-%d,", i), "40/nowhere,", fmt.Sprintf("40/static-%d,", i%20))
		for range 4 {
			c.Next()
		}
	}
	await(t, "count of the last refusal", func() bool { return n.srv.NamespaceStats()[0].Refused == 30 })
	all := n.scrape(t)
	for _, name := range []string{metrics.Sockets, metrics.Rooms, metrics.Events, metrics.HandlerTime, metrics.Connects} {
		seen := make(map[string]bool)
		for _, m := range all[name].GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "namespace" {
					seen[l.GetValue()] = true
				}
			}
		}
		if len(seen) > most+2 || seen["/tenant-1"] {
			t.Errorf("%s has the labels %v", name, seen)
		}
	}
	var sockets float64
	for _, m := range all[metrics.Sockets].GetMetric() {
		sockets += m.GetGauge().GetValue()
	}
	if want := float64(n.srv.Stats().Sockets); sockets != want || want != 90 {
		t.Errorf("the gauges count %v sockets, the server %v, want 90", sockets, want)
	}
	if got := value(all, metrics.Connects, "namespace=unknown", "result=refused"); got != 30 {
		t.Errorf("%v CONNECT packets to namespaces that there are not, want 30", got)
	}
}

// TestEvents counts events by their outcome, and what they took.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, server.Options{AckTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)}, nil, func(srv *server.Server) {
			nsp := srv.Of("/")
			nsp.Handle("slow", server.Func(func(context.Context, *server.Socket, server.None) error {
				time.Sleep(3 * time.Second)
				return nil
			}))
			nsp.Handle("fails", server.Func(func(context.Context, *server.Socket, server.None) error { return errors.New("no") }))
			nsp.Handle("number", server.Func(func(context.Context, *server.Socket, int) error { return nil }))
			nsp.Handle("panics", server.Func(func(context.Context, *server.Socket, server.None) error { panic("no") }))
			nsp.Handle("ask", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (bool, error) {
				_, err := server.EmitWithAck[string](ctx, s, "question")
				return errors.Is(err, server.ErrAckTimeout), nil
			}))
		})
		c := n.Dial(t, nil)
		c.Send("40")
		c.Next()
		c.Send(`42["slow"]`, `42["fails"]`, `42["number","text"]`, `42["panics"]`, `42["unknown"]`, `421["ask"]`)
		c.Expect(`420["question"]`, `431[true]`)
		synctest.Wait()
		n.expect(t, map[string]float64{
			metrics.Events + " namespace=/ outcome=handled":   2,
			metrics.Events + " namespace=/ outcome=failed":    1,
			metrics.Events + " namespace=/ outcome=rejected":  1,
			metrics.Events + " namespace=/ outcome=panicked":  1,
			metrics.Events + " namespace=/ outcome=unhandled": 1,
			metrics.HandlerTime + " namespace=/":              6,
			metrics.AckTimeouts:                               1,
			metrics.Panics:                                    1,
			metrics.Failures + " kind=arguments":              1,
			metrics.Failures + " kind=other":                  1,
		})
		var took float64
		for _, m := range n.scrape(t)[metrics.HandlerTime].GetMetric() {
			took += m.GetHistogram().GetSampleSum()
		}
		if took < 4 || took > 5 {
			t.Errorf("the handlers took %v s, want 4", took)
		}
		c.Close()
	})
}

// TestUpgradesAndHeartbeats counts both ends of an upgrade, and answers to heartbeats.
func TestUpgradesAndHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, server.Options{}, nil, nil)
		c := n.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
		c.Send("40")
		c.Next()
		c.Upgrade()
		time.Sleep(26 * time.Second)
		synctest.Wait()
		n.expect(t, map[string]float64{
			metrics.Upgrades + " result=done":   1,
			metrics.Upgrades + " result=failed": 0,
			metrics.HeartbeatLateness:           1,
			metrics.HeartbeatRoundTrip:          1,
		})
		c.Close()
	})
}

// TestHandler reads what Prometheus would.
func TestHandler(t *testing.T) {
	n := newNode(t, server.Options{NodeName: "n1"}, nil, nil)
	w := httptest.NewRecorder()
	n.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d, %v", w.Code, err)
	}
	for _, want := range []string{
		"\nsockeye_connections{state=\"open\",transport=\"websocket\"} 0\n", `sockeye_node_info{adapter="",id="`, `node="n1"`, "\ngo_goroutines ",
		"\nsockeye_build_info{",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in\n%.2000s", want, body)
		}
	}
	if strings.Contains(string(body), "sockeye_broker_up") {
		t.Error("a server alone tells of a broker")
	}
}

// A collector without a server has nothing to tell, and does not fail.
func TestWithoutServer(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(metrics.New(nil))
	list, err := r.Gather()
	if err != nil || len(list) != 1 || list[0].GetName() != metrics.BuildInfo {
		t.Errorf("%v, %v", list, err)
	}
}

// TestCanaries: how long messages take is measured all the time, and what is lost is counted.
func TestCanaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cluster adaptertest.Cluster
		one := newNode(t, server.Options{Adapter: cluster.Node("one")}, nil, nil)
		newNode(t, server.Options{Adapter: cluster.Node("two")}, nil, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		one.expect(t, map[string]float64{
			metrics.Members + " state=alive":      2,
			metrics.BrokerUp:                      1,
			metrics.CanariesLost + " path=broker": 0,
			metrics.CanariesLost + " path=node":   0,
		})
		all := one.scrape(t)
		round, way := value(all, metrics.BrokerRoundTrip), value(all, metrics.MessageLatency)
		if round < 17 || round > 23 || way != round {
			t.Errorf("in a minute %v round trips and %v ways were measured", round, way)
		}
		cluster.Freeze("two")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		all = one.scrape(t)
		if lost := value(all, metrics.CanariesLost, "path=node"); lost < 1 || value(all, metrics.Members, "state=silent") != 1 {
			t.Errorf("%v canaries to a node that does not answer were lost", lost)
		}
		cluster.Thaw("two")
		cluster.Cut("one")
		synctest.Wait()
		one.expect(t, map[string]float64{metrics.BrokerUp: 0, metrics.Reconnects: 1})
		cluster.Heal("one")
	})
}
