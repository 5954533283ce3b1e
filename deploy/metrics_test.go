package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"sigs.k8s.io/yaml"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestAlertRules has Prometheus' own program read the rules, and run their tests.
func TestAlertRules(t *testing.T) {
	promtool := require(t, "promtool", "prometheus")
	output(t, "prometheus", promtool, "check", "config", "prometheus.yml")
	// Debian's Prometheus knows no Kubernetes; the rest of that file it can check.
	discovery := regexp.MustCompile(`(?s)kubernetes_sd_configs:.*?relabel_configs:`)
	dir := t.TempDir()
	checked := discovery.ReplaceAllString(read(t, "prometheus/kubernetes.yml"), "static_configs: [{targets: [a]}]\n    relabel_configs:")
	write(t, filepath.Join(dir, "kubernetes.yml"), checked)
	write(t, filepath.Join(dir, "rules.yml"), read(t, "prometheus/rules.yml"))
	output(t, dir, promtool, "check", "config", "kubernetes.yml")
	output(t, "prometheus", promtool, "test", "rules", "rules_test.yml")
}

// panelQuery is one query of a dashboard.
type panelQuery struct{ where, expr string }

// panelQueries reads the queries of all dashboards, as Grafana would fill in its variables with all nodes chosen.
func panelQueries(t *testing.T) (queries []panelQuery) {
	t.Helper()
	files, err := filepath.Glob("grafana/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("dashboards %v, error %v", files, err)
	}
	filled := strings.NewReplacer("$instance", ".*", "$__rate_interval", "10s")
	for _, file := range files {
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal([]byte(read(t, file)), &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				queries = append(queries, panelQuery{filepath.Base(file) + ": " + p.Title, filled.Replace(target.Expr)})
			}
		}
	}
	return queries
}

// TestDashboards asks a real Prometheus, which scrapes a real cluster under load, everything that dashboards and rules ask. Then it
// makes trouble, and the answers must tell of it.
func TestDashboards(t *testing.T) {
	redis := redistest.Single(t)
	key := filepath.Join(t.TempDir(), "key")
	write(t, key, strings.Repeat("secret", 8))
	nodes := make([]*metricsNode, 3)
	for i := range nodes {
		nodes[i] = startMetricsNode(t, redis.Addr, key, i+1)
	}
	prom := startPrometheus(t, nodes)
	const clients = 12
	for i := range clients {
		chatClient(t, nodes[i%len(nodes)].addr, key, i, clients)
	}

	prom.await(`sum(sockeye_connections{state="open"})`, func(v float64) bool { return v == clients })
	prom.await(`sum(rate(sockeye_packets_total[10s]))`, func(v float64) bool { return v > clients })
	prom.await("sum(sockeye_broker_round_seconds_count)", func(v float64) bool { return v > 1 })
	prom.await("sum(sockeye_message_latency_seconds_count)", func(v float64) bool { return v > 1 })
	prom.await("min(sockeye_cluster_members{state='alive'})", func(v float64) bool { return v == 3 })
	for _, q := range panelQueries(t) {
		prom.awaitAnswer(q.where, q.expr)
	}
	prom.checkRules(t)

	redis.Pause()
	prom.await("max(sockeye_broker_up)", func(v float64) bool { return v == 0 })
	redis.Resume()
	prom.await("min(sockeye_broker_up)", func(v float64) bool { return v == 1 })

	oversized(t, nodes[0].addr)
	prom.await(`sum(sockeye_limit_hits_total{kind="body_size"})`, func(v float64) bool { return v == 1 })

	if err := nodes[2].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	prom.await(`sum(up{job="sockeye"} == bool 0)`, func(v float64) bool { return v == 1 })
	prom.await(`max(sum by (instance) (sockeye_cluster_members{state!="alive"}))`, func(v float64) bool { return v == 1 })
	for _, q := range panelQueries(t) {
		prom.awaitAnswer(q.where+", in trouble", q.expr)
	}
}

// metricsNode is a node of the cluster that is watched.
type metricsNode struct {
	cmd         *exec.Cmd
	addr, admin string
}

func startMetricsNode(t *testing.T, redis, key string, number int) *metricsNode {
	t.Helper()
	n := &metricsNode{addr: redistest.FreeAddr(t), admin: redistest.FreeAddr(t)}
	n.cmd = background(t, binary(t), "serve", "--addr", n.addr, "--admin-addr", n.admin, "--redis", "redis://"+redis,
		"--node-name", "node-"+strconv.Itoa(number), "--drain-grace", "0s", "--limits", "public", "--auth", "jwt", "--jwt-key", key)
	awaitListening(t, n.addr)
	return n
}

// background runs a program until the test ends.
func background(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := redistest.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			t.Logf("%s %s:\n%s", filepath.Base(program), strings.Join(args, " "), read(t, log.Name()))
		}
	})
	return cmd
}

func awaitListening(t *testing.T, addr string) {
	t.Helper()
	redistest.Eventually(t, addr+" listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// chatClient logs a user in, joins a room, and sends somebody a message ten times a second until the test ends.
func chatClient(t *testing.T, addr, key string, number, clients int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, _, _, err := ws.Dial(ctx, "ws://"+addr+"/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	say := func(format string, args ...any) { _ = wsutil.WriteClientText(conn, fmt.Appendf(nil, format, args...)) }
	token := output(t, ".", binary(t), "token", "--jwt-key", key, "--user", fmt.Sprintf("user-%d", number))
	say(`40{"token":%q}`, strings.TrimSpace(token))
	for joined := false; !joined; {
		text, err := wsutil.ReadServerText(conn)
		if err != nil {
			t.Fatal(err)
		}
		joined = strings.HasPrefix(string(text), "40")
	}
	say(`42["login","user-%d"]`, number)
	say(`42["join","#room-%d"]`, number%3)
	over := make(chan struct{}, 2)
	go func() {
		defer func() { over <- struct{}{} }()
		for {
			text, err := wsutil.ReadServerText(conn)
			if err != nil {
				return
			}
			if string(text) == "2" {
				say("3")
			}
		}
	}()
	go func() {
		defer func() { over <- struct{}{} }()
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for i := 1; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				say(`42["send",{"to":"user-%d","message":"hello"}]`, (number+i)%clients)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = conn.Close()
		<-over
		<-over
	})
}

// oversized sends more than a message may be long.
func oversized(t *testing.T, addr string) {
	t.Helper()
	base := "http://" + addr + "/socket.io/?EIO=4&transport=polling"
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(get(t, base), "0")), &open); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(base+"&sid="+open.SID, "text/plain", strings.NewReader("4"+strings.Repeat("x", 2_000_000)))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// prometheus is one that runs.
type prometheus struct {
	t    *testing.T
	addr string
}

// startPrometheus has it read the configuration that people copy, with the addresses of the nodes, every second.
func startPrometheus(t *testing.T, nodes []*metricsNode) *prometheus {
	t.Helper()
	program := require(t, "prometheus", "prometheus")
	var targets []string
	for _, n := range nodes {
		targets = append(targets, strconv.Quote(n.admin))
	}
	config := regexp.MustCompile(`targets: \[.*\]`).ReplaceAllString(read(t, "prometheus/prometheus.yml"), "targets: ["+strings.Join(targets, ", ")+"]")
	config = regexp.MustCompile(`(scrape|evaluation)_interval: \d+s`).ReplaceAllString(config, "${1}_interval: 1s")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prometheus.yml"), config)
	write(t, filepath.Join(dir, "rules.yml"), read(t, "prometheus/rules.yml"))
	p := &prometheus{t, redistest.FreeAddr(t)}
	background(t, program, "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", p.addr)
	awaitListening(t, p.addr)
	redistest.Eventually(t, "Prometheus is ready", func() bool { return strings.Contains(get(t, "http://"+p.addr+"/-/ready"), "Ready") })
	return p
}

type sample struct {
	Metric map[string]string
	Value  [2]any
}

// ask returns what Prometheus answers to a query; an error is what it says is wrong with it.
func (p *prometheus) ask(query string) ([]sample, error) {
	var answer struct {
		Status, Error string
		Data          struct{ Result []sample }
	}
	if err := json.Unmarshal([]byte(get(p.t, "http://"+p.addr+"/api/v1/query?query="+url.QueryEscape(query))), &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, errors.New(cmp.Or(answer.Error, answer.Status))
	}
	return answer.Data.Result, nil
}

// numbers are the finite values among samples.
func numbers(samples []sample) (values []float64) {
	for _, s := range samples {
		text, _ := s.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && v-v == 0 {
			values = append(values, v)
		}
	}
	return values
}

// await waits until the only value of a query fits.
func (p *prometheus) await(query string, fits func(float64) bool) {
	p.t.Helper()
	var last []sample
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		samples, err := p.ask(query)
		if err != nil {
			p.t.Fatalf("%s: %v", query, err)
		}
		if v := numbers(samples); len(v) == 1 && fits(v[0]) {
			return
		}
		last = samples
		time.Sleep(100 * time.Millisecond) // Prometheus looks at the nodes once a second
	}
	p.t.Fatalf("%s: %v", query, last)
}

// awaitAnswer waits until a query has a number for an answer. None may be negative.
func (p *prometheus) awaitAnswer(where, query string) {
	p.t.Helper()
	var last []sample
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		samples, err := p.ask(query)
		if err != nil {
			p.t.Errorf("%s: %s: %v", where, query, err)
			return
		}
		if v := numbers(samples); len(v) > 0 {
			if slices.Min(v) < 0 {
				p.t.Errorf("%s: %s is negative: %v", where, query, v)
			}
			return
		}
		last = samples
	}
	p.t.Errorf("%s: %s has no answer: %v", where, query, last)
}

// metricName finds what may be the name of a metric in a rule.
var metricName = regexp.MustCompile(`\b(sockeye_[a-z_]+|process_[a-z_]+|up)\b`)

// checkRules: Prometheus evaluates each rule without an error, and each metric in a rule is one that there is.
func (p *prometheus) checkRules(t *testing.T) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/rules.yml")), &file); err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			rules++
			if !strings.Contains(read(t, "../docs/operations.md"), "| `"+rule.Alert+"` |") {
				t.Errorf("docs/operations.md does not say what to do about %s", rule.Alert)
			}
			if _, err := p.ask(rule.Expr); err != nil {
				t.Errorf("%s: %v", rule.Alert, err)
			}
			for _, name := range metricName.FindAllString(rule.Expr, -1) {
				p.awaitAnswer(rule.Alert, "count("+name+")")
			}
		}
	}
	if rules < 10 {
		t.Errorf("only %d rules were found", rules)
	}
	if health := get(t, "http://"+p.addr+"/api/v1/rules"); strings.Contains(health, `"health":"err"`) {
		t.Errorf("rules with errors: %s", health)
	}
}

// TestDashboardsAreThere: the page that shows the dashboards without Grafana knows each of them.
func TestDashboardsAreThere(t *testing.T) {
	page := read(t, "grafana/view.html")
	err := fs.WalkDir(os.DirFS("grafana"), ".", func(name string, _ fs.DirEntry, err error) error {
		if board, ok := strings.CutSuffix(name, ".json"); ok && !strings.Contains(page, strconv.Quote(board)) {
			t.Errorf("view.html does not show %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
