// Package logtest has a log that tests read.
package logtest

import (
	"log/slog"
	"strings"
	"sync"
)

// Log keeps what is written to it. The zero value is empty; all methods may be called concurrently.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Logger returns a logger that writes lines of text to the log.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count tells how often a text is in the log.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Reset forgets what was written.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}
