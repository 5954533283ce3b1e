package load

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// workerVariable makes this test binary a worker.
const workerVariable = "SOCKEYE_LOAD_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerVariable) != "" {
		if err := Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
