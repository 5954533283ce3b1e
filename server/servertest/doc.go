// Package servertest runs a Socket.IO server in memory and gives tests a client that speaks its wire protocol: no port,
// no sleep, and it works inside a [testing/synctest] bubble, where ping timeouts pass in no time.
//
// A test makes a [Server] from an http.Handler, usually a *server.Server, and dials it:
//
//	func TestGreeting(t *testing.T) {
//		srv, err := server.New(nil)
//		...
//		alice := servertest.New(t, srv, nil).Connect(t, "/", nil)
//		alice.Emit("hello", "Alice")
//		alice.Expect("greeting", "Hello Alice")
//	}
//
// There are two layers. A [Client] is one connection: Engine.IO packets in and out, over websocket or polling, with the
// means to misbehave: raw bytes, a cut line, a reader that stops, an upgrade that is never completed, a poll that never
// comes. A [Socket] is a client in one namespace: events, acknowledgements, disconnects.
//
// # Heartbeat
//
// A client reads in the background and answers pings as the npm client does, whether or not the test reads, so that it
// stays connected while virtual time passes. [Client.Stall] and [DialOptions].Raw end that.
//
// # Goroutines
//
// Methods without an error result may fail the test through t.Fatal and are therefore for the goroutine that runs it.
// [Client.Read], [Client.Write], [Client.Cut], [Client.Stall], [Client.Resume], [Server.TryDial] and
// [Server.DialContext] never fail the test and may be called from any goroutine. A Socket and its Client are one for
// this purpose.
//
// Everything ends with the test: clients are cut, the server is closed, and no goroutine remains. In a synctest
// bubble, call [New] with the bubble's t.
package servertest
