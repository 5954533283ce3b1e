package limits

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// Action is what happens at a limit.
type Action uint8

// Actions. The zero value is the limit's own default.
const (
	// Drop refuses what is too much, with an error that the client sees.
	Drop Action = iota + 1
	// SlowDown handles it and reads nothing more from the connection until the rate is kept again.
	SlowDown
	// Disconnect closes the connection.
	Disconnect
)

// Rate is how often something may happen: PerSecond on average, Burst at once.
type Rate struct {
	PerSecond float64 // 0: no limit
	Burst     int     // default PerSecond, at least 1
	Action    Action
}

// Options say what is limited. The zero value limits nothing.
type Options struct {
	// ConnectionsPerAddress and ConnectionsPerNetwork bound the open connections; 0 is no limit. One more is refused with 429.
	ConnectionsPerAddress, ConnectionsPerNetwork int
	// HandshakesPerAddress and HandshakesPerNetwork bound the requests that open a session; one more is refused with 429. Their
	// actions do not count.
	HandshakesPerAddress, HandshakesPerNetwork Rate
	// HandshakesPerNode bounds them for the whole server, which refuses more with 503. Its action does not count.
	HandshakesPerNode Rate
	// Unjoined bounds the connections that have not joined a namespace yet, of the whole server; 0 is no limit. One more is refused
	// with 503. A connection counts until a moment after the answer to its first CONNECT.
	Unjoined int

	// Packets and Bytes bound what one connection sends, whatever it is: events, acknowledgements, heartbeats. Bytes are those of
	// Engine.IO packets. Default action SlowDown; they cannot be dropped.
	Packets, Bytes Rate
	// Events bounds the events of one connection, in all its namespaces together. Default action SlowDown.
	Events Rate
	// EventOverrides replace Events for events of these names. A rate of 0 is no limit.
	EventOverrides map[string]Rate
	// EventBytes bounds the payload of one event, attachments included, in bytes; 0 is no limit but the server's for messages. Default
	// action Drop; SlowDown is not possible.
	EventBytes       int
	EventBytesAction Action
	// EventBytesOf replaces EventBytes where a namespace, or who a client is, makes a difference. It is called for each event and must
	// be quick. Default: EventBytes for all.
	EventBytesOf func(*server.Socket) int
	// Joins bounds the rooms that the sockets of one connection join, whoever asks for it. What is joined by one call counts at most
	// as much as the burst. Default action Drop.
	Joins Rate
	// Connects bounds the CONNECT packets of one connection. Default action Drop.
	Connects Rate
	// Namespaces bounds the namespaces that one connection is in at the same time; 0 is no limit. Those whose middlewares run do
	// not count yet. Default action Drop; SlowDown is not possible.
	Namespaces       int
	NamespacesAction Action

	// UserOf returns who a socket belongs to, "" for nobody. It is called for each socket that joins and each event, and must be quick. Default: nobody, or the
	// user of the directory that Limits.Follow names.
	UserOf func(*server.Socket) string
	// UserEvents bounds the events of a user on all its connections. Default action Drop.
	UserEvents Rate

	// ConnectionsPerUser bounds the connections of a user on this node; 0 is no limit. It takes a users.Directory that Limits.Follow
	// names, whose Bind returns a *server.ClientError for one more: in a middleware, as with package auth, that is a CONNECT_ERROR,
	// in a handler the event's acknowledgement. With UserOf sockets are counted when they have joined, and one too many is
	// disconnected. Who can call itself as it likes can use up another's connections: it is a limit for users who are
	// authenticated. Default action Drop; SlowDown is not possible.
	ConnectionsPerUser    int
	UserConnectionsAction Action

	// SameOrigin refuses pages of other origins on every transport, if the options of the server have no policy in Engine.CORS.
	// Requests without an Origin, which no page sends, are let in.
	SameOrigin bool

	// NetworkBits4 and NetworkBits6 are the lengths of a network's prefix, 8 to 32 and 16 to 64. Default 24 and 48.
	NetworkBits4, NetworkBits6 int
	// TableSize is how many addresses, and users who are not connected, are remembered for their rates, 16 bytes each. Default 65,536.
	TableSize int

	// OnHit is told of each hit of a limit, on the goroutine that hit it: it must be quick. Default nobody.
	OnHit func(Hit)
	// Logger gets a line for each kind of hit, at most one in a minute. Default: that of the server's options.
	Logger *slog.Logger
}

// Hit is one time that a limit was hit.
type Hit struct {
	Kind    string       // as in Limits.Stats
	Address string       // of the client
	User    string       // if it is the user's limit
	Conn    *server.Conn // nil for a request that opens none
}

// Internal returns the options for a server that only trusted clients reach: nothing is limited.
func Internal() *Options { return &Options{} }

// Public returns the options for a server on the open internet. They are wide enough for an office or a school behind one address, and for
// applications that send some dozen events a second; a game or an editor needs more.
func Public() *Options {
	return &Options{
		ConnectionsPerAddress: 256,
		ConnectionsPerNetwork: 2048,
		HandshakesPerAddress:  Rate{PerSecond: 20, Burst: 200},
		HandshakesPerNetwork:  Rate{PerSecond: 100, Burst: 1000},
		HandshakesPerNode:     Rate{PerSecond: 1000, Burst: 2000},
		Unjoined:              10_000,
		Packets:               Rate{PerSecond: 200, Burst: 1000},
		Bytes:                 Rate{PerSecond: 1 << 20, Burst: 1 << 20},
		Events:                Rate{PerSecond: 100, Burst: 500},
		Joins:                 Rate{PerSecond: 20, Burst: 200},
		Connects:              Rate{PerSecond: 5, Burst: 30},
		Namespaces:            20,
		UserEvents:            Rate{PerSecond: 200, Burst: 1000},
		ConnectionsPerUser:    100,
		EventBytes:            1 << 20,
		SameOrigin:            true,
	}
}

// maxRefill is how long an empty bucket may take to be full.
const maxRefill = 30 * 24 * time.Hour

// settings returns a checked copy with the defaults filled in.
func (o *Options) settings() (Options, error) {
	var s Options
	if o != nil {
		s = *o
	}
	if s.NetworkBits4 == 0 {
		s.NetworkBits4 = 24
	}
	if s.NetworkBits6 == 0 {
		s.NetworkBits6 = 48
	}
	if s.TableSize == 0 {
		s.TableSize = 65_536
	}
	for _, v := range []struct {
		name       string
		n, lo, top int
	}{
		{"ConnectionsPerAddress", s.ConnectionsPerAddress, 0, math.MaxInt},
		{"ConnectionsPerNetwork", s.ConnectionsPerNetwork, 0, math.MaxInt},
		{"ConnectionsPerUser", s.ConnectionsPerUser, 0, math.MaxInt},
		{"EventBytes", s.EventBytes, 0, math.MaxInt},
		{"Unjoined", s.Unjoined, 0, math.MaxInt},
		{"Namespaces", s.Namespaces, 0, math.MaxInt},
		{"NetworkBits4", s.NetworkBits4, 8, 32},
		{"NetworkBits6", s.NetworkBits6, 16, 64},
		{"TableSize", s.TableSize, 1, 1 << 24},
	} {
		if v.n < v.lo || v.n > v.top {
			return s, fmt.Errorf("%s must be from %d to %d, got %d", v.name, v.lo, v.top, v.n)
		}
	}
	for name, a := range map[string]Action{
		"NamespacesAction": s.NamespacesAction, "UserConnectionsAction": s.UserConnectionsAction, "EventBytesAction": s.EventBytesAction,
	} {
		if a == SlowDown || a > Disconnect {
			return s, fmt.Errorf("%s must be Drop or Disconnect", name)
		}
	}
	return s, s.checkRates()
}

func (o *Options) checkRates() error {
	rates := map[string]Rate{
		"HandshakesPerAddress": o.HandshakesPerAddress, "HandshakesPerNetwork": o.HandshakesPerNetwork,
		"HandshakesPerNode": o.HandshakesPerNode, "Packets": o.Packets, "Bytes": o.Bytes, "Events": o.Events,
		"Joins": o.Joins, "Connects": o.Connects, "UserEvents": o.UserEvents,
	}
	for name, r := range o.EventOverrides {
		rates[fmt.Sprintf("EventOverrides[%q]", name)] = r
	}
	for name, r := range rates {
		if !(r.PerSecond >= 0 && r.PerSecond <= 1e9) || r.Burst < 0 {
			return fmt.Errorf("%s must be from 0 to 1e9 a second with a burst that is not negative, got %v and %d", name, r.PerSecond, r.Burst)
		}
		if r.PerSecond > 0 && float64(max(r.Burst, 1)) > maxRefill.Seconds()*r.PerSecond {
			return fmt.Errorf("%s: a burst of %d would take longer than %v to come back at %v a second", name, r.Burst, maxRefill, r.PerSecond)
		}
		if r.Action > Disconnect {
			return fmt.Errorf("%s: action %d is none", name, r.Action)
		}
	}
	if o.Packets.Action == Drop || o.Bytes.Action == Drop {
		return errors.New("packets and bytes cannot be dropped")
	}
	return nil
}
