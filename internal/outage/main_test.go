package outage

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestMain(m *testing.M) {
	natstest.Serve()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction(redistest.Goroutine))
}
