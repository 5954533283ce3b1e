package admin_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/admin"
	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// password of the operator in all tests.
const password = "correct horse"

var passwordHash = func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
}()

var operator = map[string]string{"username": "ann", "password": password}

// node is a server with the namespace for pages.
type node struct {
	*servertest.Server
	srv   *server.Server
	admin *admin.Admin
}

// bubble runs a test in virtual time with nodes of these names, which are a cluster if there are several.
func bubble(t *testing.T, opts admin.Options, names string, f func(t *testing.T, nodes []*node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var nodes []*node
		cluster := new(adaptertest.Cluster)
		for _, name := range strings.Fields(names) {
			var builder server.AdapterBuilder
			if strings.Contains(names, " ") {
				builder = cluster.Node(adapter.NodeID(name))
			}
			nodes = append(nodes, start(t, name, builder, opts))
		}
		if len(nodes) > 1 {
			time.Sleep(20 * time.Second) // until they know each other
		}
		f(t, nodes)
	})
}

func start(t testing.TB, name string, builder server.AdapterBuilder, opts admin.Options) *node {
	t.Helper()
	srv, err := server.New(&server.Options{Adapter: builder, NodeName: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if opts.Auth == nil && !opts.NoAuth {
		opts.Auth = &admin.BasicAuth{Username: "ann", PasswordHash: passwordHash}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	a, err := admin.Instrument(srv, &opts)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{srv: srv, admin: a}
	n.Server = servertest.New(t, srv, &servertest.Options{Timeout: time.Hour})
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// page is an operator's page, without the events about the servers.
type page struct {
	t *testing.T
	*servertest.Socket
	stats []serverStats
}

type serverStats struct {
	ServerID, Hostname string
	PID                int
	Uptime             float64
	ClientsCount       int
	PollingClients     int `json:"pollingClientsCount"`
	AggregatedEvents   []struct {
		Timestamp     int64
		Type, SubType string
		Count         uint64
	}
	Namespaces []struct {
		Name         string
		SocketsCount int
	}
}

// open logs an operator in.
func (n *node) open(t *testing.T) *page {
	t.Helper()
	p := &page{t: t, Socket: n.Connect(t, "/admin", operator)}
	for name := ""; name != "session"; { // in Development it hears of itself before
		name, _ = p.next()
	}
	return p
}

// next returns the next event but server_stats, as JSON.
func (p *page) next() (name, args string) {
	p.t.Helper()
	for {
		e := p.Next()
		if e.Name != "server_stats" {
			list := make([]string, e.Args.Len())
			for i := range list {
				list[i] = string(e.Args.At(i).JSON) // attachments are placeholders
			}
			return e.Name, "[" + strings.Join(list, ",") + "]"
		}
		var s serverStats
		if err := e.Args.Unmarshal(0, &s); err != nil {
			p.t.Fatal(err)
		}
		p.stats = append(p.stats, s)
	}
}

// await returns the arguments of the next event of a name.
func (p *page) await(name string) (args string) {
	p.t.Helper()
	for {
		if got, args := p.next(); got == name {
			return args
		}
	}
}

// expect fails unless the next event, other than server_stats, has these arguments, as JSON; "*" fits any.
func (p *page) expect(name string, args ...string) {
	p.t.Helper()
	got, raw := p.next()
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		p.t.Fatal(err)
	}
	fits := got == name && len(list) == len(args)
	for i := range list {
		fits = fits && (args[i] == "*" || args[i] == string(list[i]))
	}
	if !fits {
		p.t.Fatalf("event %s%s, want %s%v", got, raw, name, args)
	}
}

func TestInstrumentRefusesOptions(t *testing.T) {
	srv, err := server.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	good := &admin.BasicAuth{Username: "ann", PasswordHash: passwordHash}
	for _, c := range []struct {
		opts *admin.Options
		want string
	}{
		{nil, "Auth is missing"},
		{&admin.Options{}, "Auth is missing"},
		{&admin.Options{Auth: good, NoAuth: true}, "exclude"},
		{&admin.Options{Auth: &admin.BasicAuth{PasswordHash: passwordHash}}, "Username"},
		{&admin.Options{Auth: &admin.BasicAuth{Username: "ann", PasswordHash: password}}, "no bcrypt hash"},
		{&admin.Options{Auth: &admin.BasicAuth{Username: "ann", PasswordHash: strings.Replace(passwordHash, "$04$", "$15$", 1)}}, "cost 15"},
		{&admin.Options{Auth: good, Mode: "debug"}, `"debug"`},
		{&admin.Options{Auth: good, MaxSockets: -1}, "MaxSockets"},
	} {
		a, err := admin.Instrument(srv, c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one about %s", c.opts, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("a secret is in the text: %v", err)
		}
		if a != nil {
			t.Error("Instrument failed and has begun")
		}
	}
}

func TestFeatures(t *testing.T) {
	const write = `"EMIT","JOIN","LEAVE","DISCONNECT","MJOIN","MLEAVE","MDISCONNECT",`
	for _, c := range []struct {
		opts admin.Options
		want string
	}{
		{admin.Options{}, write + `"AGGREGATED_EVENTS"`},
		{admin.Options{ReadOnly: true}, `"AGGREGATED_EVENTS"`},
		{admin.Options{Mode: admin.Development}, write + `"AGGREGATED_EVENTS","ALL_EVENTS"`},
		{admin.Options{ReadOnly: true, Mode: admin.Development}, `"AGGREGATED_EVENTS","ALL_EVENTS"`},
	} {
		bubble(t, c.opts, "a", func(t *testing.T, nodes []*node) {
			if got := nodes[0].open(t).await("config"); got != `[{"supportedFeatures":[`+c.want+`]}]` {
				t.Errorf("%+v: config %s, want %s", c.opts, got, c.want)
			}
		})
	}
}

// TestServerStats looks at the numbers of two nodes from one of them.
func TestServerStats(t *testing.T) {
	bubble(t, admin.Options{}, "a b", func(t *testing.T, nodes []*node) {
		time.Sleep(500 * time.Millisecond) // not when something is sent
		p := nodes[0].open(t)
		p.expect("config", "*")
		nodes[1].srv.Of("/chat")
		first := nodes[1].Connect(t, "/chat", nil)
		nodes[1].Dial(t, &servertest.DialOptions{Transport: server.TransportPolling}).Connect("/", nil)
		first.Emit("x")
		time.Sleep(5 * time.Second)
		first.Client().Close()
		time.Sleep(5 * time.Second)
		nodes[0].srv.Of("/admin").Emit("end")
		p.expect("end")
		names := make(map[string]int)
		counts := make(map[string]uint64)
		var last serverStats
		for _, s := range p.stats {
			if s.Hostname == "" || s.PID == 0 || s.Uptime < 0 {
				t.Fatalf("server_stats %+v", s)
			}
			names[s.ServerID]++
			if s.ServerID == "b" {
				last = s
				for _, e := range s.AggregatedEvents {
					counts[strings.TrimSuffix(e.Type+" "+e.SubType, " ")] += e.Count
					if e.Timestamp%1000 != 0 {
						t.Errorf("timestamp %d is no whole second", e.Timestamp)
					}
				}
			}
		}
		if names["a"] != 5 || names["b"] != 5 {
			t.Errorf("server_stats of 10 s: %v, want 5 of each", names)
		}
		if last.ClientsCount != 1 || last.PollingClients != 1 {
			t.Errorf("%d clients, %d on polling, want 1 and 1", last.ClientsCount, last.PollingClients)
		}
		if got := fmt.Sprint(last.Namespaces); got != "[{/ 1} {/admin 0} {/chat 0}]" {
			t.Errorf("namespaces %s", got)
		}
		if counts["rawConnection"] != 2 || counts["rawDisconnection transport close"] != 1 || counts["packetsIn"] < 3 || counts["bytesOut"] == 0 {
			t.Errorf("aggregates %v", counts)
		}
	})
}

// TestServerStatsAreBounded has more namespaces than are listed.
func TestServerStatsAreBounded(t *testing.T) {
	bubble(t, admin.Options{}, "a", func(t *testing.T, nodes []*node) {
		for i := range 1500 {
			nodes[0].srv.Of(fmt.Sprintf("/n%d", i))
		}
		nodes[0].srv.Of("/zz")
		nodes[0].Connect(t, "/zz", nil)
		p := nodes[0].open(t)
		p.expect("config", "*")
		time.Sleep(3 * time.Second)
		nodes[0].srv.Of("/admin").Emit("end")
		p.expect("end")
		list := p.stats[len(p.stats)-1].Namespaces
		if len(list) != 1000 {
			t.Errorf("%d namespaces are listed", len(list))
		}
		for _, name := range []string{"/admin", "/zz"} {
			if !slices.ContainsFunc(list, func(n struct {
				Name         string
				SocketsCount int
			}) bool {
				return n.Name == name && n.SocketsCount == 1
			}) {
				t.Errorf("%s with a socket is not listed", name)
			}
		}
	})
}

// TestEndsWithServer leaves out Close.
func TestEndsWithServer(t *testing.T) {
	for name, builder := range map[string]server.AdapterBuilder{"alone": nil, "memory": adapter.Memory()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, err := server.New(&server.Options{Adapter: builder})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := admin.Instrument(srv, &admin.Options{NoAuth: true}); err != nil {
					t.Fatal(err)
				}
				if err := srv.Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}) // which fails while goroutines are left
		})
	}
}

// TestClose takes everything away.
func TestClose(t *testing.T) {
	bubble(t, admin.Options{Mode: admin.Development}, "a", func(t *testing.T, nodes []*node) {
		n := nodes[0]
		p := n.open(t)
		p.await("all_sockets")
		client := n.Connect(t, "/", nil)
		time.Sleep(time.Second)
		if err := n.admin.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.admin.Close(); err != nil {
			t.Errorf("second: %v", err)
		}
		s, _ := n.srv.Of("/").Socket(client.ID())
		if err := s.Join(t.Context(), "later"); err != nil {
			t.Fatal(err)
		}
		p.Emit("_disconnect", "/", true)
		time.Sleep(10 * time.Second)
		n.srv.Of("/admin").Emit("end")
		for name := ""; name != "end"; {
			var args string
			if name, args = p.next(); strings.Contains(args, "later") {
				t.Errorf("told of %s%s", name, args)
			}
		}
		if !s.Connected() {
			t.Error("a command was carried out")
		}
	})
}

func asJSON(v any) string {
	raw, err := json.Marshal(v)
	return cmp.Or(string(raw), fmt.Sprint(err))
}
