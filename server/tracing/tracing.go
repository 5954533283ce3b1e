// Package tracing makes OpenTelemetry spans of what a server does: CONNECT packets, events of clients, emits, and questions to clients
// and other nodes. Without it a server does nothing for tracing.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/sockeye-io/sockeye/server"
)

// Scope is the name under which Hooks make their spans.
const Scope = "github.com/sockeye-io/sockeye/server"

// Attributes of spans. Names of events are chosen by clients, so that they are attributes and no part of a span's name.
const (
	NamespaceKey = attribute.Key("socketio.namespace")
	SocketKey    = attribute.Key("socketio.socket")
	EventKey     = attribute.Key("socketio.event")
	ClusterKey   = attribute.Key("socketio.cluster") // other nodes may be told or asked
)

// Hooks make spans with the provider's tracer:
//
//	srv, err := server.New(&server.Options{Hooks: []server.Hooks{tracing.Hooks(otel.GetTracerProvider())}})
//
// The spans are called "socketio connect", "socketio event", "socketio emit" and "socketio ask". Middlewares and handlers get a
// context with theirs: a question that is asked with it is a child of it. Emit takes no context: its span is a child of the handler's if
// that was given by WithContext, else it begins a trace of its own.
//
//	s.WithContext(ctx).Emit("progress", 1)
//	chat.To("#news").WithContext(ctx).Emit("headline", text)
//
// An error that an operation ends with makes the span's status an error.
func Hooks(provider trace.TracerProvider) server.Hooks {
	tracer := provider.Tracer(Scope)
	return server.Hooks{Begin: func(ctx context.Context, op server.Operation) (context.Context, func(error)) {
		ctx, span := tracer.Start(ctx, "socketio "+string(op.Kind), trace.WithSpanKind(kindOf(op.Kind)), trace.WithAttributes(attributes(op)...))
		return ctx, func(err error) {
			if err != nil {
				span.RecordError(err)
				span.SetStatus(codes.Error, err.Error())
			}
			span.End()
		}
	}}
}

func kindOf(kind server.OperationKind) trace.SpanKind {
	switch kind {
	case server.OperationEmit:
		return trace.SpanKindProducer
	case server.OperationAsk:
		return trace.SpanKindClient
	default:
		return trace.SpanKindServer
	}
}

func attributes(op server.Operation) []attribute.KeyValue {
	list := make([]attribute.KeyValue, 0, 4)
	list = append(list, NamespaceKey.String(op.Namespace))
	if op.Socket != "" {
		list = append(list, SocketKey.String(op.Socket))
	}
	if op.Event != "" {
		list = append(list, EventKey.String(op.Event))
	}
	if op.Cluster {
		list = append(list, ClusterKey.Bool(true))
	}
	return list
}
