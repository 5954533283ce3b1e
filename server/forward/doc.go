// Package forward brings requests to the nodes that have their sessions, so that a load balancer may send each request to any
// node.
//
// The first four characters of a session id name the node that made it. A request of a session that is on another node goes to
// that node's private listener: a poll or a POST by net/http/httputil.ReverseProxy over kept connections, a websocket as bytes, both
// ways, over a connection of its own.
//
//	fwd, err := forward.Listen(&forward.Options{Addr: "10.0.0.7:0"})
//	srv, err := server.New(&server.Options{Adapter: builder, Forwarder: fwd})
//
// # Who may send
//
// The private listener takes requests with a pass: a header that names the sender, the receiver, a number, the session, and the
// client, signed together with method and request target (sign.go). The key is one that the receiver has told the members of its
// cluster over the broker, or comes of Options.ClusterSecret. A number is taken once, so that a request cannot be repeated. The pass
// does not cover the other headers and the body, and nothing is encrypted: where the network between the nodes is not trusted,
// Options.TLS is needed.
//
// # What can go wrong
//
// Where a request cannot be brought to its session, the client is told, in the reference's words, that the session is unknown, and
// begins a new one: Stats counts it by Reason. A node that cannot be reached is not tried again for a second. An answer that breaks
// off breaks the client's connection. A request travels once, and a second time only along the pointer of a session that has moved.
//
// # Young sessions
//
// A stock client opens its session by polling and upgrades at once, so that behind a load balancer that spreads requests most
// websockets land on a node that has not got their session. With Options.HandoverWindow the session goes there instead
// (handover.go).
//
// # Where do I change X
//
//   - what a node says of a request that it passes on, and how it is checked: sign.go, listener.go
//   - which node has a session, and whether it can be asked: peers.go
//   - polls and POSTs: request.go; websockets: upgrade.go, relay.go, relay_linux.go
//   - the addresses: options.go
//
// # Goroutines and locks
//
// The listener has the goroutines of an http.Server. Each relay loop has one while it has relays. All end with Shutdown. peers.mu,
// windows.mu, pointers.mu, arrivals.mu and loop.mu are leaves: nothing else is locked while one of them is held, but for counters.
package forward
