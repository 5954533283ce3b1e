package chaos

import (
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// This file stands in for identity_test.go, and for the tests, where a node is built with a Sockeye whose nodes had no identity.

func TestMain(*testing.M) {
	flag.Parse()
	os.Exit(runNode())
}

func identify(*server.Options) {}

func registerNodes(*http.ServeMux, *server.Server) {}
