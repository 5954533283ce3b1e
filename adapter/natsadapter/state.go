package natsadapter

import (
	"context"
	"errors"
	"net"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

// State says whether the cluster can be reached through NATS, see adapter.BrokerState. It is Up when the server has confirmed our
// subscriptions, answers, and refuses nothing that is needed.
type State = adapter.BrokerState

// States of the way to NATS.
const (
	Starting = adapter.BrokerStarting
	Up       = adapter.BrokerUp
	Down     = adapter.BrokerDown
)

var (
	errNoAnswer = errors.New("no answer from nats")
	errClosed   = errors.New("the server closes")
	errTooOld   = errors.New("nats did not take the message in time")
	errLameDuck = errors.New("the nats server is about to stop")
	errLost     = errors.New("the connection to nats ended")
)

// Kinds of trouble, in Stats.Failed.
const (
	troubleConnection = "connection"
	troubleTimeout    = "timeout"
	troubleAuth       = "auth"
	troublePermission = "permission"
	troubleLimit      = "limit"
)

// trouble names the kind of an error in statistics.
func trouble(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return troublePermission
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired):
		return troubleAuth
	case errors.Is(err, nats.ErrMaxConnectionsExceeded), errors.Is(err, nats.ErrMaxAccountConnectionsExceeded),
		errors.Is(err, nats.ErrMaxSubscriptionsExceeded), errors.Is(err, nats.ErrMaxPayload):
		return troubleLimit
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNoAnswer), errors.Is(err, nats.ErrTimeout),
		errors.Is(err, nats.ErrStaleConnection), errors.As(err, &timeout) && timeout.Timeout():
		return troubleTimeout
	}
	return troubleConnection
}

// newStatus returns the state of a hub.
func newStatus(opts Options) *brokerstate.Status {
	return brokerstate.New(brokerstate.Options{Name: "nats adapter", Logger: opts.Logger, OnChange: opts.OnStateChange})
}
