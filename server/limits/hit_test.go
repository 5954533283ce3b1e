package limits_test

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/limits"
)

// TestLoggedID: who reads the log cannot poll in a client's place.
func TestLoggedID(t *testing.T) {
	var log logtest.Log
	n := start(t, &limits.Options{Namespaces: 1, NamespacesAction: limits.Disconnect}, &server.Options{Logger: log.Logger()})
	s := n.connect(t, "192.0.2.1:1")
	sid := s.Client().SID()
	s.Client().Send("40/a,")
	s.Client().ExpectClosed()
	if text := log.String(); !strings.Contains(text, "sid="+sid[:12]) || strings.Contains(text, sid) {
		t.Errorf("logged %s of session %s", text, sid)
	}
}
