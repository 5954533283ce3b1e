package redisadapter

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

// State says whether the cluster can be reached through Redis, see adapter.BrokerState. It is Up when commands are answered, all
// subscriptions are confirmed and Redis counts them.
type State = adapter.BrokerState

// States of the way to Redis.
const (
	Starting = adapter.BrokerStarting
	Up       = adapter.BrokerUp
	Down     = adapter.BrokerDown
)

var (
	errNoAnswer   = errors.New("no answer from redis")
	errNotCounted = errors.New("redis does not count our subscription")
	errUnsettled  = errors.New("subscriptions are not confirmed yet")
	errLost       = errors.New("subscriptions were lost")
)

// trouble names the kind of an error in statistics.
func trouble(err error) string {
	var refusal redis.Error
	if errors.As(err, &refusal) {
		word, _, _ := strings.Cut(refusal.Error(), " ")
		switch word {
		case "READONLY", "LOADING", "CLUSTERDOWN", "OOM", "NOPERM", "MOVED", "ASK", "TRYAGAIN", "MASTERDOWN", "MISCONF", "BUSY", "NOREPLICAS", "NOSCRIPT":
			return strings.ToLower(word)
		case "NOAUTH", "WRONGPASS":
			return "auth"
		case "ERR":
			if strings.Contains(refusal.Error(), "invalid password") {
				return "auth"
			}
		}
		return "other"
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errNoAnswer) || errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout"
	}
	return "connection"
}

// notReady reports whether Redis answered that it takes no commands for now. It has not executed the command then.
func notReady(err error) bool {
	switch trouble(err) {
	case "loading", "auth", "masterdown", "busy", "clusterdown", "tryagain", "noscript":
		return true
	}
	return false
}

// newStatus returns the state of a hub.
func newStatus(opts Options) *brokerstate.Status {
	return brokerstate.New(brokerstate.Options{Name: "redis adapter", Logger: opts.Logger, OnChange: opts.OnStateChange})
}

// isReply reports whether an error is an answer of Redis, not trouble with the connection.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// redirected reports whether a server of a Redis Cluster has not executed a command because of its slot.
func redirected(err error) bool {
	kind := trouble(err)
	return kind == "moved" || kind == "ask"
}
