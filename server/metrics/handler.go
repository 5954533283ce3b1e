package metrics

import (
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes is how many answers of Handler may be under way.
const maxScrapes = 4

// Handler serves the metrics, and those of the process and of Go. A program that has a registry of its own registers Metrics there
// instead.
func (m *Metrics) Handler() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true})
}

// built is what a program was built from.
type built struct{ version, revision, release string }

func (b built) labels() []string { return []string{b.version, b.revision, b.release} }

var build = sync.OnceValue(func() built {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return built{"unknown", "unknown", "unknown"}
	}
	b := built{"unknown", "unknown", info.GoVersion}
	for _, module := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if module.Path == "github.com/sockeye-io/sockeye" && module.Version != "" {
			b.version = module.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.revision = s.Value
		}
	}
	return b
})
