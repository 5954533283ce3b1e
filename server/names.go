package server

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/engine"
)

// What belongs to the connections has its names here too, so that a program needs no import of package engine.
type (
	// EngineOptions configure the connections, see Options.Engine.
	EngineOptions = engine.Options
	// CORS is the cross-origin policy of the connections.
	CORS = engine.CORS
	// Cookie describes the cookie that carries the session id.
	Cookie = engine.Cookie
	// PerMessageDeflate configures the compression of websocket messages.
	PerMessageDeflate = engine.PerMessageDeflate
	// HTTPCompression configures the compression of polling answers.
	HTTPCompression = engine.HTTPCompression
	// ReadMode is how the bytes of idle websocket connections are waited for.
	ReadMode = engine.ReadMode
	// TrustedProxies may say for whom they ask, see EngineOptions.TrustedProxies.
	TrustedProxies = engine.TrustedProxies
	// Peer is who has sent a request, see TrustedProxies.Peer.
	Peer = engine.Peer
	// Refusal is an error of EngineOptions.AllowRequest whose text is told to the client.
	Refusal = engine.Refusal
	// ConnectionError describes a refused request to EngineOptions.OnConnectionError.
	ConnectionError = engine.ConnectionError
	// Conn is the connection of a client, which its sockets share; see Socket.Conn.
	Conn = engine.Session
)

// ParseTrustedProxies reads prefixes and addresses, such as "10.0.0.0/8" and "::1".
func ParseTrustedProxies(texts ...string) (TrustedProxies, error) {
	return engine.ParseTrustedProxies(texts...)
}

// Values of EngineOptions.Transports and EngineOptions.ReadMode.
const (
	TransportPolling   = engine.TransportPolling
	TransportWebSocket = engine.TransportWebSocket
	ReadAuto           = engine.ReadAuto
	ReadPoller         = engine.ReadPoller
	ReadHot            = engine.ReadHot
	ReadGoroutine      = engine.ReadGoroutine
)

// What belongs to the cluster has its names here too, so that a program needs no import of package adapter.
type (
	// AdapterBuilder makes the adapters of a server's namespaces, see Options.Adapter.
	AdapterBuilder = adapter.Builder
	// NodeID names a node of the cluster.
	NodeID = adapter.NodeID
	// Node is what is known of a node of the cluster, see Server.Nodes.
	Node = adapter.Node
	// NodeState says whether a node is heard.
	NodeState = adapter.NodeState
	// NodeChange is what happened to a node, see Server.OnNodeChange.
	NodeChange = adapter.NodeChange
)

// Result is the outcome of a question to the whole cluster: what arrived, and who did not answer.
type Result[T any] = adapter.Result[T]

// States of a node, see package adapter/membership.
const (
	NodeAlive  = adapter.NodeAlive
	NodeSilent = adapter.NodeSilent
	NodeAbsent = adapter.NodeAbsent
	NodeOver   = adapter.NodeOver
)
