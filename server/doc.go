// Package server is a Socket.IO server: the Go counterpart of the npm package socket.io, for unchanged clients of
// protocol version 5 (socket.io-client 3 and 4).
//
// A [Server] is an http.Handler. Its namespaces hold what is registered once for all sockets: middlewares, handlers,
// lifecycle hooks. Handlers are made from functions with typed arguments by [Func], [FuncAck] and [FuncReply]. A
// [Socket] is one client in one namespace; a [BroadcastOperator] selects sockets of the whole cluster. What crosses nodes
// goes through the namespace's adapter, see package adapter. [Hooks] are where limits and metrics sit.
//
// Every method that registers something, whose name begins with On, Handle or Use, returns a function that removes it.
//
// # Concurrency
//
// Every method may be called from any goroutine. Emitting never blocks. Packets that one goroutine sends arrive in the
// order of the calls, and all sockets of a room see the broadcasts of this node in one order.
//
// A socket's callbacks run one after the other in this order: OnConnection, its events as they arrived, OnDisconnecting,
// OnDisconnect. They run on the socket's worker and may block, even for an acknowledgement of the same client. A panic in
// any callback is contained, logged with its stack and counted.
//
// # Goroutines
//
//   - Reading side: the engine calls a client's OnText and OnBinary, one at a time. Packets are decoded, acknowledgements
//     resolved and events queued there; no application code runs but a codec's and Hooks.
//   - Worker: exists while a socket's inbox is not empty, and runs the socket's callbacks. The goroutine that read the
//     first event becomes it, once it has let go of the connection (engine.Session.Continue). With engine.ReadHot that can be the
//     one goroutine that reads all connections: it handles events whose callbacks are known to be quick (tempo.go), and leaves the
//     rest to others. It does not even read while Hooks are not known to be quick, nor a client that is observed (client.Quick).
//     With a handler concurrency above 1 there may be several for events, never beside a lifecycle step.
//   - Attempt: runs middlewares, OfFunc and OnNewNamespace for one CONNECT packet and then becomes the socket's first
//     worker. A namespace without middlewares needs none.
//   - Server-side worker: exists while a namespace has events of other nodes to handle.
//   - Keeper: exists while saved sessions of a namespace are to be written. Reaper: one for each namespace with RecoveryOptions.Expired, if
//     saved sessions outlive their nodes.
//
// All of them are counted in Stats.Workers, and Shutdown waits for them. An idle socket has none, and no timer; a timer runs
// for each connection only until it has joined a namespace, and while attachments are awaited.
//
// A callback that ends its goroutine by runtime.Goexit, as a failed assertion does, counts as a panic; another
// goroutine takes the place of its worker.
//
// When the inboxes of a client's sockets together exceed Options.InboxLimit, or less when EngineOptions.InputTotal runs
// short, reading from the client pauses until half of it is handled. Acknowledgements cannot arrive meanwhile, so that
// calls of EmitWithAck to this client end with [ErrInboxFull].
//
// # Words
//
//   - A node is one server of the cluster, never one of a broker.
//   - A session is a client's connection, as package engine has it. What recovery keeps of a socket is a saved session, adapter.Session.
//   - A worker is a goroutine that runs callbacks of one socket, or of a namespace for events of other nodes. Stats.Workers counts
//     every goroutine that may be in application code.
//   - A task is what waits in a socket's inbox for a worker: an event, or a step of the socket's life.
//   - A question goes to other nodes, which answer. A client acknowledges. Hooks allow or refuse.
//   - A socket's phase is how far it has come: connecting, connected, closed. A [State] is what an application keeps on sockets. The
//     state of a connection, in package engine, is what it has the server keep, in bytes.
//   - Local limits an operation to the sockets of this node. adapter.Local is a namespace as its adapter sees it.
//
// # Lock order
//
// Outermost first; none is held across application code, adapter calls, channel operations or I/O:
//
//	Server.mu > ParentNamespace.mu > Namespace.order > client.mu > Socket.mu
//	Socket.mu > room index shard > room set
//	Socket.mu > the session's outbox
//
// recovery.mu and keeper.mu are leaves. shedding.mu is outermost. draining.mu is held while the engine and the cluster are told that the server drains, neither of which
// blocks. registry.mu, askedServers.mu, serverSideQueue.mu, Data.mu and clientFiles.mu are leaves. The sink of a broadcast acknowledgement
// and the adapter's count of answers are called with no lock of this package held.
//
// # Where do I change X
//
//   - requests of sessions on other nodes: forwarder.go, package forward
//   - options and defaults: options.go; errors and reasons: errors.go
//   - what happens on CONNECT: connect.go; where application code decides about it: attempt.go, how many at a time: turn.go
//   - dynamic namespaces: parent.go, server.go
//   - a socket that goes on after its connection was lost: recovery.go, restore.go; what its pongs prove that it has got: client.OnPong, recovery.answered; who is asked and told: recoveryhooks.go; saved sessions in a store that outlives the node: recoverykeeper.go
//   - packets of a client, protocol violations: client.go
//   - a client that leaves a namespace, or leaves and comes back at once: departure.go
//   - which codec a client speaks, encoding for one client and for many: codec.go; what a foreign codec may not do:
//     codecguard.go; what an encoding is: parser/codec.go
//   - the queue in front of handlers, its limit, and when reading pauses: inbox.go; which events are handled where they are read: tempo.go; what one client may have of anything else: bounds.go
//   - order of catch-all, middlewares and handlers: dispatch.go; the end of a socket, disconnect hooks: close.go
//   - what becomes of errors and panics of callbacks: failure.go
//   - what is sent to one socket: emit.go; to many: broadcast.go; to the handlers of other nodes, and by them: serverside.go
//   - goroutines that Shutdown waits for: goroutines.go
//   - registration: registry.go, namespacehooks.go, parenthooks.go; typed handlers: handler.go; argument lists: args.go;
//     what is said when arguments do not fit: misfit.go
//   - how much one client, address or user may do in a time: package limits
//   - what Prometheus is told: package metrics; spans: package tracing; tokens: package auth
//   - what operators ask over HTTP: package api; the page of @socket.io/admin-ui: package admin
//   - what traces are told of one socket: observe.go
//   - what limits and metrics are asked and told: hooks.go; names from packages engine and adapter: names.go
//   - acknowledgements to the client: reply.go; from the client: ack.go; of broadcasts: broadcast.go, one by one: ackstream.go
//   - local delivery and everything else an adapter asks for: local.go; order among broadcasts: order.go; counting: count.go
//   - handshake object: handshake.go; values of the request: context.go; sockets of other nodes: remote.go
//   - what is said to some nodes alone, and told of by them; changes of rooms: directed.go
//   - socket data, and who is told of its changes: data.go; what is kept on this node alone: state.go
//   - who asks behind proxies: engine/forwarded.go; behind balancers that work on TCP: package proxyprotocol
//   - client bundle: clientfiles.go; shutdown: shutdown.go; what tracing is told: operations.go; counters: stats.go; of each namespace: namespacestats.go
//   - how a server is emptied before it ends: drain.go; how nodes get even: shed.go, rebalance.go
//   - the HTTP server around it, its deadlines and what happens without descriptors: listen.go, internal/httpserve
//
// # Known differences from the reference
//
// What a client sees is the same but for these; package engine lists those of the connections.
//
//   - Handlers of one socket run one after the other, by default; in Node those that await run interleaved.
//   - Of several CONNECT packets for a namespace that are not decided the newest counts, and the contexts of the others end.
//     In Node each becomes a socket. One that crosses the answer to the one before it, because the client left and came
//     back, replaces the socket, which can cost an acknowledgement that was due; what such a client sends in the belief that an
//     answer was for another CONNECT is dropped; in Node the connection closes. A DISCONNECT takes an undecided CONNECT back, and a
//     CONNECT right behind a DISCONNECT is served; in Node both close the connection.
//   - Events right in front of a DISCONNECT are handled; Node drops those that came in one segment with it.
//   - A volatile packet is dropped when the connection cannot take it; in Node also right behind another packet.
//   - A handler's error acknowledges the event with {"error": {message, data}} if the client waits; in Node nothing comes.
//   - Acknowledgements are waited for 10 s without a deadline, Options.AckTimeout; in Node for ever. Those of a broadcast
//     end early for sockets that go, which are named.
//   - A client that reads too slowly or sends faster than its handlers work is bounded, see EngineOptions.OutboxLimit,
//     OutboxMax and Options.InboxLimit; what all clients together keep unfinished, by EngineOptions.InputTotal. Namespaces, auth objects,
//     rooms, data and unfinished attachments of a client are bounded too; docs/operations.md lists all bounds.
//   - An operator that was given an empty list of rooms selects nobody, in Node everybody.
//   - Rooms can still be read in OnDisconnect, in Node only in "disconnecting". A socket cannot leave its own room.
//   - An attachment that occurs several times in a packet is sent on once. Acknowledgement ids beyond 2^53-1 are refused.
//   - A server may have several codecs and finds out which one a client speaks; in Node the option parser is one for all.
//   - Socket data is kept as JSON. The client bundle is served only with Options.ClientFiles.
package server
