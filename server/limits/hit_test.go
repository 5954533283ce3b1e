package limits_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/limits"
)

// logBuffer is a buffer for a logger.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLoggedID: who reads the log cannot poll in a client's place.
func TestLoggedID(t *testing.T) {
	var log logBuffer
	n := start(t, &limits.Options{Namespaces: 1, NamespacesAction: limits.Disconnect}, &server.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := n.connect(t, "192.0.2.1:1")
	sid := s.Client().SID()
	s.Client().Send("40/a,")
	s.Client().ExpectClosed()
	if text := log.String(); !strings.Contains(text, "sid="+sid[:12]) || strings.Contains(text, sid) {
		t.Errorf("logged %s of session %s", text, sid)
	}
}
