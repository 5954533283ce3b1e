package chaos

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

var (
	minutes       = flag.Float64("minutes", 0, "how long TestOperator breaks things in each flavour; 0 means the short forms of all tests")
	seed          = flag.Uint64("seed", 0, "what TestOperator does, as a former run has printed it; 0 means something new")
	withReference = flag.Bool("reference", false, "one of the nodes of TestOperator and TestAcksOnCluster is Node.js; compat-tests/node_modules must exist")
)

func TestMain(m *testing.M) {
	natstest.Serve()
	flag.Parse()
	if *nodeName != "" {
		os.Exit(runNode())
	}
	_ = flag.Set("test.parallel", strconv.Itoa(len(flavours))) // whatever the number of processors: most of it is waiting
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Goroutine))
}

// flavours are the adapters, each in its usual configuration.
var flavours = []string{"pubsub", "sharded", "streams"}

// inAll runs a test for each flavour, all at the same time.
func inAll(t *testing.T, test func(t *testing.T, flavour string)) {
	for _, flavour := range flavours {
		t.Run(flavour, func(t *testing.T) {
			t.Parallel()
			test(t, flavour)
		})
	}
}
