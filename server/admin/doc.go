// Package admin lets operators watch and steer a server with the page of the npm package @socket.io/admin-ui: it is the counterpart
// of that package's instrument. The page comes unchanged from the package (its ui/dist) or from https://admin.socket.io, and works
// with clusters of Go and Node.js nodes alike.
//
//	ui, err := admin.Instrument(srv, &admin.Options{
//		Auth: &admin.BasicAuth{Username: "operator", PasswordHash: "$2a$10$..."},
//	})
//	...
//	defer ui.Close()
//
// The page connects as a client of the server, to the namespace /admin. The server's cross-origin policy must allow its origin,
// with credentials.
//
// # What the page gets
//
// Every two seconds each node tells the pages on all nodes how many clients and sockets it has and how much went in and out: see
// [Production], the default. That costs the same however many sockets there are. In [Development] the page also gets a list of all
// sockets of the cluster and is told of each connection, room and event, as it happens: that costs a broadcast for each event and
// each of its recipients, and is for small clusters. What cannot be sent on fast enough is dropped and counted.
//
// # Where do I change X
//
//   - what the page may do, options and defaults: options.go
//   - who comes in: login.go; how often somebody may try: attempts.go; sessions of pages: store.go
//   - what operators do: commands.go; the numbers every two seconds: statistics.go
//   - what happens to single sockets: watch.go; the list of all sockets: list.go, catchup.go; their form: details.go; the queue of what is told: queue.go
//
// # Differences from the npm package
//
//   - Authentication must be given, or be switched off by Options.NoAuth. The default is Production.
//   - Attempts to log in are limited, sessions in memory end, and session ids have 128 random bits.
//   - A page is told its session after the answer to its CONNECT packet, not before: its client drops what comes before, so that with Node
//     each reload asks for the password.
//   - A server is named by its NodeName, so that two on one host are two.
//   - The address of a socket is the one that the server trusts, never one that headers claim. Cookies and credentials in headers are
//     not shown.
//   - Packets of the aggregates are all of Engine.IO's, heartbeats included, and their bytes; in Node those with data.
//   - A socket of another node that does not say which connection it has counts as a client of its own.
package admin
