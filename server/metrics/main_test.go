package metrics_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Goroutine), goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.init.0.func1"))
}
