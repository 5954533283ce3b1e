package layout_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sockeye-io/sockeye/"

// rule says what a package of the module may import: own packages by prefix, foreign modules by prefix. The first
// rule whose path matches holds. The standard library is always allowed.
type rule struct {
	path    string // a package, or with a trailing slash everything below
	own     []string
	foreign []string
}

var rules = []rule{
	{path: "cmd/", own: []string{""}, foreign: []string{""}},
	{path: "compat-tests/", own: []string{""}, foreign: []string{""}},
	// What users write needs neither package adapter nor the packages below server.
	{path: "examples/cluster", own: []string{"server", "adapter/redisadapter"}, foreign: []string{"github.com/redis/go-redis/"}},
	{path: "examples/", own: []string{"server"}},
	{path: "web-demo"},
	{path: "server", own: []string{"adapter", "server/engine", "server/parser", "server/latency", "internal/"}},
	{path: "server/engine", own: []string{"server/latency", "internal/"}, foreign: []string{"github.com/klauspost/compress/"}},
	{path: "server/latency"},
	{path: "server/parser", own: []string{"internal/jsontext"}},
	{path: "server/servertest", own: []string{"server", "server/engine", "server/parser", "adapter", "internal/websocket"}},
	{path: "server/proxyprotocol", own: []string{"server"}, foreign: []string{"github.com/pires/go-proxyproto"}},
	{path: "server/users", own: []string{"server", "adapter", "internal/seldom", "internal/memoryusers"}},
	{path: "server/forward", own: []string{"server", "server/engine", "adapter", "internal/seldom", "internal/websocket"}},
	// The add-ons stand on the public API alone: what they can do, a user's program can.
	{path: "server/metrics", own: []string{"server", "server/engine", "server/users", "server/forward", "server/limits", "server/latency", "adapter"}, foreign: []string{"github.com/prometheus/"}},
	{path: "server/tracing", own: []string{"server"}, foreign: []string{
		"go.opentelemetry.io/otel/trace", "go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/codes",
	}},
	{path: "server/limits", own: []string{"server", "server/engine", "server/users", "adapter"}, foreign: []string{"golang.org/x/time/"}},
	{path: "server/auth", own: []string{"server", "server/engine", "server/users", "adapter"}, foreign: []string{"github.com/golang-jwt/", "github.com/MicahParks/", "golang.org/x/time/"}},
	{path: "server/api", own: []string{"server", "server/parser", "server/users", "adapter"}},
	{path: "server/admin", own: []string{"server", "server/engine", "adapter"}, foreign: []string{"golang.org/x/crypto/"}},
	{path: "server/", own: []string{"server", "adapter"}},
	{path: "adapter", own: []string{"adapter/membership", "adapter/internal/question", "server/parser", "server/latency"}},
	{path: "adapter/membership", own: []string{"server/latency"}},
	{path: "adapter/internal/question"},
	// What the adapters of all brokers have in common.
	{path: "adapter/internal/inflow", own: []string{"adapter", "internal/seldom"}},
	{path: "adapter/internal/outflow", own: []string{"adapter/internal/inflow", "internal/seldom"}},
	{path: "adapter/internal/freshrooms", own: []string{"adapter"}},
	{path: "adapter/internal/brokerstate", own: []string{"adapter"}},
	{path: "adapter/internal/defaults"},
	{path: "adapter/internal/store", own: []string{"adapter"}},
	{path: "adapter/redisadapter", own: []string{"adapter", "adapter/membership", "adapter/internal/freshrooms", "adapter/internal/inflow", "adapter/internal/outflow", "adapter/internal/brokerstate", "adapter/internal/defaults", "adapter/internal/store", "server/parser", "internal/msgpack", "internal/envelope", "internal/classic", "internal/lenient", "internal/seldom"}, foreign: []string{"github.com/redis/go-redis/"}},
	{path: "adapter/kafkaadapter", own: []string{"adapter", "adapter/membership", "adapter/internal/inflow", "adapter/internal/outflow", "adapter/internal/brokerstate", "adapter/internal/defaults", "adapter/internal/store", "server/parser", "internal/msgpack", "internal/envelope", "internal/seldom"}, foreign: []string{"github.com/twmb/franz-go"}},
	{path: "adapter/natsadapter", own: []string{"adapter", "adapter/membership", "adapter/internal/freshrooms", "adapter/internal/inflow", "adapter/internal/outflow", "adapter/internal/brokerstate", "adapter/internal/defaults", "adapter/internal/store", "server/parser", "internal/msgpack", "internal/envelope", "internal/seldom", "internal/memoryusers"}, foreign: []string{"github.com/nats-io/nats.go", "github.com/nats-io/nkeys"}},
	{path: "adapter/adaptertest", own: []string{"adapter", "adapter/membership", "server/parser", "internal/"}},
	{path: "internal/envelope", own: []string{"adapter", "server/parser", "internal/lenient", "internal/msgpack"}},
	{path: "internal/classic", own: []string{"adapter", "server/parser", "internal/lenient", "internal/msgpack"}},
	{path: "internal/httpserve", own: []string{"internal/seldom"}},
	{path: "internal/layout/", foreign: []string{}},
	{path: "internal/websocket", foreign: []string{"github.com/gobwas/", "github.com/klauspost/compress/"}},
	{path: "internal/load", own: []string{"internal/websocket"}, foreign: []string{"github.com/HdrHistogram/"}},
	{path: "internal/msgpack", own: []string{"server/parser", "internal/jsontext"}, foreign: []string{"github.com/tinylib/msgp/msgp"}},
	{path: "internal/lenient", own: []string{"server/parser"}},
	{path: "internal/outage", own: []string{"adapter", "adapter/adaptertest", "adapter/redisadapter", "server/parser", "internal/redistest"}},
	{path: "internal/redistest", own: []string{"internal/freeze"}, foreign: []string{"github.com/redis/go-redis/"}},
	{path: "internal/returning", own: []string{"server", "server/servertest"}},
	{path: "internal/memoryusers", own: []string{"adapter"}},
	{path: "internal/natstest", own: []string{"internal/freeze", "internal/redistest"}, foreign: []string{"github.com/nats-io/"}},
	{path: "internal/kafkatest", own: []string{"internal/freeze", "internal/redistest"}, foreign: []string{"github.com/twmb/franz-go"}},
	{path: "internal/"},
}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// TestImports holds the import rules: a package that no rule names must get one before it may exist.
func TestImports(t *testing.T) {
	for _, pkg := range list(t) {
		path := strings.TrimPrefix(pkg.ImportPath, module)
		r, ok := ruleFor(path)
		if !ok {
			t.Errorf("%s: no rule says what it may import", path)
			continue
		}
		for _, imported := range pkg.Imports {
			if !r.allows(imported) {
				t.Errorf("%s must not import %s", path, imported)
			}
		}
	}
}

// TestEngineStandsAlone looks through the whole dependency graph: the engine must be usable without Socket.IO, and
// the library without a Redis client, metrics or an HTTP framework.
func TestEngineStandsAlone(t *testing.T) {
	forbidden := map[string][]string{
		"server/engine": {module + "server/parser", module + "adapter"},
		"adapter":       {module + "server/engine"},
		"server": {
			"github.com/redis/", "github.com/nats-io/", "github.com/twmb/", "github.com/prometheus/", "go.opentelemetry.io/", "github.com/alecthomas/", "github.com/gin-gonic/",
			"github.com/labstack/", "github.com/go-chi/",
		},
	}
	for _, pkg := range list(t) {
		path := strings.TrimPrefix(pkg.ImportPath, module)
		for _, dep := range pkg.Deps {
			for _, bad := range forbidden[path] {
				if strings.HasPrefix(dep, bad) {
					t.Errorf("%s depends on %s", path, dep)
				}
			}
		}
	}
}

func ruleFor(path string) (rule, bool) {
	i := slices.IndexFunc(rules, func(r rule) bool { return r.path == path })
	if i < 0 {
		i = slices.IndexFunc(rules, func(r rule) bool {
			return strings.HasSuffix(r.path, "/") && strings.HasPrefix(path+"/", r.path)
		})
	}
	if i < 0 {
		return rule{}, false
	}
	return rules[i], true
}

func (r rule) allows(imported string) bool {
	if own, ok := strings.CutPrefix(imported, module); ok {
		return slices.ContainsFunc(r.own, func(allowed string) bool { return matches(own, allowed) })
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return true // standard library
	}
	return slices.ContainsFunc(r.foreign, func(prefix string) bool { return strings.HasPrefix(imported, prefix) })
}

func matches(path, allowed string) bool {
	if allowed == "" || strings.HasSuffix(allowed, "/") {
		return strings.HasPrefix(path, allowed)
	}
	return path == allowed
}

func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg listed
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, pkg)
	}
	if len(packages) == 0 {
		t.Fatal("go list found no package")
	}
	return packages
}
