// Package limits bounds how fast and how much each client, address and user may take of a server that anybody can reach.
//
//	l, err := limits.New(limits.Public())
//	...
//	opts := &server.Options{...}
//	l.Install(opts) // last, when the options are complete
//	srv, err := server.New(opts)
//
// Package server bounds what clients make it keep, and these bounds are always on. This package bounds rates, which depend on the
// application, and shares of one address. Each limit is off at its zero value, and so with [Internal]; [Public] has values for the
// open internet that ordinary applications do not reach.
//
// # What happens at a limit
//
// [Drop] refuses what is too much: an event is acknowledged with {"error": {message, data}} if the client waits for it, a CONNECT
// gets CONNECT_ERROR, Socket.Join returns a *server.ClientError. Data is {code, retryAfter}: the kind of the limit, as in Stats, and
// the seconds after which it makes sense to try again; or {code, maxBytes} for what is too long. [SlowDown] handles what has come and reads nothing from the connection until
// the rate is kept again: the client loses nothing, and its kernel holds back what it sends. [Disconnect] closes the connection.
// Requests that open a session are refused with 429 and Retry-After, or with 503 where the node as a whole is at its limit.
//
// Every hit is counted, see Limits.Stats. One line with level WARN in a minute tells of hits of one kind.
//
// # Whose limit
//
// The address is that of the client behind EngineOptions.TrustedProxies: without them all clients of a proxy are one. A host with IPv6
// picks the last 64 bits as it likes, so that an IPv6 address means its /64; the network is the /24 of IPv4 and the /48 of IPv6.
// Who has no address, on a Unix socket, is bound by the limits of the node alone. All sockets of a connection share its limits: it
// cannot multiply them by joining namespaces.
//
// # How exact
//
// A [Rate] is a bucket of Burst tokens that is refilled when it is empty, for the time since it last was: no clock is read for most
// packets. Nothing that a plain token bucket allows is refused. In any time t a client gets at most 2*Burst + t*PerSecond through.
//
// A user's messages are counted on each node for itself, against the limit divided by the number of nodes that hold the user. That
// number is known without asking anybody where a users.Directory is followed, see Limits.Follow; otherwise it is 1. A user whose connections
// move to other nodes can be over its limit by one burst for each of them. The connections of a user are counted on each node against the
// whole limit, for a node that is drained sends all of a user's to the others.
//
// # State
//
// What is known of a connection goes with it. Connections are counted by address as long as there are any. Rates of handshakes, and of users
// without connections, are kept in tables of a fixed size: who comes with a million addresses makes the table forget who was
// there before, and is bound by the limit of the node.
package limits
