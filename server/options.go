package server

import (
	"cmp"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Defaults of Options.
const (
	defaultPath           = "/socket.io"
	defaultConnectTimeout = 45 * time.Second
	defaultAckTimeout     = 10 * time.Second
	defaultInboxLimit     = 1 << 20
	defaultMaxAttachments = 10
	defaultMaxNamespaces  = 1000
	defaultMaxDynamic     = 50_000
	defaultMaxAuth        = 256 << 10
	defaultMaxName        = 4 << 10
	defaultMaxRooms       = 10_000
	defaultMaxData        = 1 << 20
	defaultMaxPendingAcks = 50_000
	defaultMaxConnecting  = 10_000
	defaultMaxMessage     = 1_000_000 // the engine's default of MaxHTTPBufferSize
)

// Options configure a server. The zero value, and nil, mean the defaults of the Node reference.
type Options struct {
	// Engine holds the options of the connections. Its Path defaults to "/socket.io" here.
	Engine EngineOptions

	// Adapter connects the nodes of a cluster. Default: none, a server alone.
	Adapter AdapterBuilder

	// NodeName is what operators call this server: in logs, in what other nodes know of it, and as the source of the tag with
	// which its session ids begin. It should be the same after a restart, and another one than that of all other nodes.
	// Default: the host's name and the process id.
	NodeName string

	// NodeAddress is where other nodes reach this one, for example "10.0.0.7:3001". They are told, nothing listens there by
	// itself. Default: "".
	NodeAddress string

	// Forwarder brings requests to the nodes that have their sessions: see package forward. Default: none, requests of a session
	// must come to the node that has it.
	Forwarder Forwarder

	// ConnectTimeout is how long a connection may exist before it has joined a namespace. Default 45 s.
	ConnectTimeout time.Duration

	// AckTimeout is how long to wait for acknowledgements when the context has no deadline. Default 10 s.
	AckTimeout time.Duration

	// InboxLimit bounds the events of one client that wait for their handlers, in bytes, in all its namespaces together. At
	// the bound, reading from the client pauses. What all clients have waiting counts towards Engine.InputTotal. Default
	// 1 MiB.
	InboxLimit int64

	// HandlerConcurrency is how many events of one socket may be handled at the same time. Above 1 handlers of one socket
	// run in no particular order. Default 1. Namespace.SetHandlerConcurrency overrides it.
	HandlerConcurrency int

	// MaxAttachments bounds the binary attachments of one packet from a client. Text and attachments together, each of
	// them one message, may be as long as that many messages of Engine.MaxHTTPBufferSize. Default 10.
	MaxAttachments int

	// MaxNamespaces bounds how many namespaces one client may be in at the same time; a CONNECT packet beyond it is refused.
	// Node has no such bound. Default 1000.
	MaxNamespaces int

	// MaxDynamicNamespaces bounds how many namespaces there may be that clients have caused, see Server.OfFunc and
	// OfPattern. At the bound one that nobody is in is removed to make room, as with CleanupEmptyChildNamespaces; if none is
	// found, a CONNECT packet for a new one is refused. Default 50,000.
	MaxDynamicNamespaces int

	// MaxAuth bounds the auth objects of one client in all its namespaces together, in bytes of JSON; a CONNECT packet
	// beyond it is refused. Default 256 KiB.
	MaxAuth int

	// MaxName bounds the name of a room that a socket joins and of a namespace that a client asks for, in bytes: Socket.Join
	// returns ErrLimit, a CONNECT packet is refused. Default 4 KiB.
	MaxName int

	// MaxRooms bounds how many rooms one socket is in at the same time, its own not counted: Socket.Join returns ErrLimit and
	// joins none, SocketsJoin leaves the socket out. Default 10,000.
	MaxRooms int

	// MaxData bounds the values that Data holds for one socket, in bytes of keys and JSON: Data.Set returns ErrLimit. Default
	// 1 MiB.
	MaxData int

	// MaxPendingAcks bounds how many acknowledgements of one socket are waited for at the same time: EmitWithAck returns
	// ErrLimit, a broadcast takes the socket for one that has gone. Default 50,000.
	MaxPendingAcks int

	// MaxConnecting bounds how many CONNECT packets of all clients may be in middlewares and OfFunc, or come back to what they
	// had, at the same time; further ones wait for their turn. It spares what middlewares ask, such as a database, when all clients come back at once. A
	// middleware that waits for a client's next CONNECT may wait for its own end. Default 10,000.
	MaxConnecting int

	// Codecs are the encodings of packets that clients may speak, the first one by default; each says by a connection's first
	// message whether it is the one, so that no client has to be configured, see [parser.Codec]. A server with a single
	// codec does not ask, as Node with its option parser. At most 8. Default: parser.JSON alone.
	Codecs []parser.Codec

	// CleanupEmptyChildNamespaces removes a dynamic namespace when its last socket has left.
	CleanupEmptyChildNamespaces bool

	// DisableClientFiles stops serving the client bundle below Engine.Path.
	DisableClientFiles bool

	// ClientFiles holds the bundle (socket.io.js, socket.io.min.js, socket.io.esm.min.js, socket.io.msgpack.min.js and a
	// .map for each): what `sockeye client-files DIR` writes, or the dist directory of the npm package socket.io-client. Files
	// with .br and .gz appended are used as compressed forms. Default none: the paths answer 404, and say this.
	ClientFiles fs.FS

	// Recovery lets clients go on where their connection was lost, on any node of the cluster: with their socket's id, rooms and data,
	// and with what they have missed. Events that want no acknowledgement and are not volatile then have their offset as one more
	// argument, as in the reference, where the option is connectionStateRecovery. Default nil: every client starts anew.
	Recovery *RecoveryOptions

	// Hooks are asked and told in this order. Default none.
	Hooks []Hooks

	// CloseOnPanic disconnects a socket when one of its handlers panics. Without it only the event fails.
	CloseOnPanic bool

	// Logger receives handler errors and contained panics. Default: slog.Default().
	Logger *slog.Logger
}

// settings returns a checked copy with all defaults filled in.
func (o *Options) settings() (Options, error) {
	var s Options
	if o != nil {
		s = *o
	}
	// The first error counts.
	err := cmp.Or(
		setting("ConnectTimeout", &s.ConnectTimeout, defaultConnectTimeout),
		setting("AckTimeout", &s.AckTimeout, defaultAckTimeout),
		setting("InboxLimit", &s.InboxLimit, defaultInboxLimit),
		setting("HandlerConcurrency", &s.HandlerConcurrency, 1),
		setting("MaxAttachments", &s.MaxAttachments, defaultMaxAttachments),
		setting("MaxNamespaces", &s.MaxNamespaces, defaultMaxNamespaces),
		setting("MaxDynamicNamespaces", &s.MaxDynamicNamespaces, defaultMaxDynamic),
		setting("MaxAuth", &s.MaxAuth, defaultMaxAuth),
		setting("MaxName", &s.MaxName, defaultMaxName),
		setting("MaxRooms", &s.MaxRooms, defaultMaxRooms),
		setting("MaxData", &s.MaxData, defaultMaxData),
		setting("MaxPendingAcks", &s.MaxPendingAcks, defaultMaxPendingAcks),
		setting("MaxConnecting", &s.MaxConnecting, defaultMaxConnecting),
	)
	if err != nil {
		return s, err
	}
	if s.Codecs, err = checkCodecs(s.Codecs); err != nil {
		return s, err
	}
	if s.Recovery, err = s.Recovery.settings(); err != nil {
		return s, err
	}
	if s.Engine.Path == "" {
		s.Engine.Path = defaultPath
	}
	if s.Adapter == nil {
		s.Adapter = adapter.Memory()
	}
	if s.NodeName == "" {
		s.NodeName = defaultNodeName()
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.Engine.Logger == nil {
		s.Engine.Logger = s.Logger
	}
	return s, nil
}

// setting checks a value and fills its default in.
func setting[T int | int64 | time.Duration](name string, value *T, def T) error {
	if *value < 0 {
		return fmt.Errorf("%s must not be negative, got %v", name, *value)
	}
	if *value == 0 {
		*value = def
	}
	return nil
}

// limits returns what the decoder of a client allows: a text and its attachments, each as long as a message may be.
func (o *Options) limits() parser.Limits {
	message := o.Engine.MaxHTTPBufferSize
	if message == 0 {
		message = defaultMaxMessage
	}
	limits := parser.Limits{MaxAttachments: o.MaxAttachments, MaxBytes: math.MaxInt64}
	if n := int64(o.MaxAttachments) + 1; message < math.MaxInt64/n {
		limits.MaxBytes = n * message
	}
	return limits.WithDefaults()
}
