package main

import (
	"net/http"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/metrics"
	"github.com/sockeye-io/sockeye/server/users"
)

// nodeMetrics are what /metrics on the address for operators tells; nil without that address.
type nodeMetrics struct{ *metrics.Metrics }

// metrics has the server count what only it sees, if somebody can ask.
func (c *serveCommand) metrics(opts *server.Options) *nodeMetrics {
	if c.AdminAddr == "" {
		return nil
	}
	m := &nodeMetrics{metrics.New(nil)}
	opts.Hooks = append(opts.Hooks, m.Hooks())
	return m
}

// watch says what is collected. directory and others may be nil.
func (m *nodeMetrics) watch(srv *server.Server, limited *limits.Limits, directory *users.Directory, others *cluster) {
	if m == nil {
		return
	}
	m.Watch(srv)
	m.WatchLimits(limited)
	if directory != nil {
		m.WatchDirectory(directory)
	}
	if others != nil && others.forwarder != nil {
		m.WatchForwarder(others.forwarder)
	}
}

// watchTokens has the tokens of the chat's clients counted.
func (m *nodeMetrics) watchTokens(a *auth.Auth) {
	if m == nil {
		return
	}
	m.WatchTokens(func() map[string]uint64 {
		s := a.Stats()
		results := map[string]uint64{"accepted": s.Accepted, "socket_expired": s.Expired, "socket_revoked": s.Revoked}
		for code, n := range s.Refused {
			results[string(code)] = n
		}
		return results
	})
}

// handler serves them. The engine app has only the process's own.
func (m *nodeMetrics) handler() http.Handler {
	if m == nil {
		m = &nodeMetrics{metrics.New(nil)}
	}
	return m.Handler()
}
