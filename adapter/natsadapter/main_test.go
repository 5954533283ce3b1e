package natsadapter

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/internal/natstest"
)

func TestMain(m *testing.M) {
	natstest.Serve()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(natstest.Goroutine))
}
