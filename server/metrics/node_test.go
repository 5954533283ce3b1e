package metrics_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/metrics"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// node is a server with metrics.
type node struct {
	*servertest.Server
	srv     *server.Server
	metrics *metrics.Metrics
}

// newNode makes one that serves until the test ends; prepare, unless nil, gets the server before the first client.
func newNode(t *testing.T, opts server.Options, own *metrics.Options, prepare func(*server.Server)) *node {
	t.Helper()
	m := metrics.New(own)
	opts.Hooks = append(opts.Hooks, m.Hooks())
	srv, err := server.New(&opts)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(srv)
	}
	m.Watch(srv)
	return &node{Server: servertest.New(t, srv, nil), srv: srv, metrics: m}
}

// scrape returns the families that a registry with the node's metrics alone gathers, by name.
func (n *node) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(n.metrics)
	list, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*dto.MetricFamily, len(list))
	for _, f := range list {
		all[f.GetName()] = f
	}
	return all
}

// value returns one value of a scrape, or how many durations a histogram has; labels are "name=value". It is -1 if there is none.
func value(all map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	for _, m := range all[name].GetMetric() {
		have := make(map[string]bool)
		for _, l := range m.GetLabel() {
			have[l.GetName()+"="+l.GetValue()] = true
		}
		missing := false
		for _, l := range labels {
			missing = missing || !have[l]
		}
		switch {
		case missing:
		case m.Histogram != nil:
			return float64(m.GetHistogram().GetSampleCount())
		case m.Gauge != nil:
			return m.GetGauge().GetValue()
		default:
			return m.GetCounter().GetValue()
		}
	}
	return -1
}

// expect compares values of a scrape, by name or by "name label=value label=value".
func (n *node) expect(t *testing.T, want map[string]float64) {
	t.Helper()
	all := n.scrape(t)
	for what, v := range want {
		words := strings.Split(what, " ")
		if got := value(all, words[0], words[1:]...); got != v {
			t.Errorf("%s is %v, want %v", what, got, v)
		}
	}
}
