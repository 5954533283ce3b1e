package kafkaadapter

import (
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(kafkatest.Exit), goleak.IgnoreAnyFunction(redistest.Goroutine))
}

var long = flag.Bool("long", false, "run also the tests that take brokers of their own for long: leaders that are killed, outages of stores; make chaos does")

// onlyLong skips what would make `make test` too long. Package outage has a short outage of Kafka for it.
func onlyLong(t testing.TB) {
	t.Helper()
	if !*long {
		t.Skip("with -long only: make chaos")
	}
}

// fake starts a Kafka within the process.
func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// quiet is a logger for what is expected.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// prefixOf keeps the topics of tests on one Kafka apart, and those of runs of the same test.
func prefixOf(t testing.TB) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, filepath.Base(filepath.Dir(t.TempDir()))) // which has the name of the test, and a number of this run
}

// TestSuite runs the suite on a real Kafka.
func TestSuite(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) { testSuite(t, nodes, []string{kafkatest.Shared(t).Addr}) })
	}
}

// TestSuiteFake runs it on three brokers within the process.
func TestSuiteFake(t *testing.T) {
	testSuite(t, 3, fake(t, kfake.NumBrokers(3)).ListenAddrs())
}

func testSuite(t *testing.T, nodes int, seeds []string) {
	prefix := prefixOf(t) // every cluster finds what the one before has left
	adaptertest.Run(t, nodes, func(t *testing.T, n int) []adapter.Builder {
		builders := make([]adapter.Builder, n)
		for i := range builders {
			builders[i] = New(&Options{Seeds: seeds, Prefix: prefix, Logger: quiet()})
		}
		return builders
	})
}
