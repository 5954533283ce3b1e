package soak

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"
)

var (
	sessions  = flag.Int("sessions", 0, "sessions of the churn test over TCP; 0 means the short form")
	waves     = flag.Int("waves", 10, "waves in which the long form of the churn test opens its sessions")
	profiles  = flag.String("profiles", "", "directory for a heap profile after each wave of the churn test")
	clients   = flag.Int("clients", 300, "clients of the freeze test")
	processes = flag.Int("processes", 0, "processes that the clients of the freeze test are spread over; 0 means in this one")
	readMode  = flag.String("read-mode", "auto", "how the server reads: auto, hot, poller or goroutine")
	attackers = flag.Int("attackers", 6, "hostile clients of each kind")

	listenTo     = flag.String("listen-to", "", "be a process of the freeze test: connect to this address")
	listenFrozen = flag.Int("listen-frozen", 0, "how many clients of this process stop reading")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *listenTo != "" {
		os.Exit(listenInProcess())
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")) // it sleeps before it closes a connection
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
