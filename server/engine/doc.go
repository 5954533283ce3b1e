// Package engine is an Engine.IO v4 server: sessions over HTTP long-polling and WebSocket, the upgrade from one to the
// other, heartbeats and orderly closing. It moves opaque text and binary messages and knows nothing of Socket.IO.
//
//	srv, err := engine.New(nil, func(s *engine.Session) engine.Handler { return &echo{s} })
//	http.Handle("/engine.io/", srv)
//
// A Server is an http.Handler and mounts in any mux whose writers can be hijacked. On the wire it does what the npm
// package engine.io 6.6.13 does. Known differences:
//
//   - A session that ends though the server has nothing against its client (Session.SendAway, Server.Close, no pong, input that is
//     too long, no room) says nothing of it: a parked poll is answered with a noop, and the next request is refused; a websocket
//     ends without a close frame. Node sends a close packet or a close frame, of which clients other than the npm one conclude that
//     they are not wanted, or after which they wait for more.
//   - A POST that ends too late for its session is refused; Node says ok and drops what it brought.
//   - A backlog is bounded (Options.OutboxLimit, OutboxMax, OutboxTotal), and so are unfinished input of all clients together
//     (Options.InputTotal), what their sessions keep (Options.StateTotal) and their number (Options.MaxSessions); Node
//     buffers without end.
//   - An upgrade request for revision 3 is refused before the 101 response, not after it.
//   - An ordinary request with transport=websocket for a websocket session is answered 400; Node leaves it open.
//   - A pong that is outstanding when a session is upgraded stays due, PingTimeout from the upgrade.
//   - Discard after Close ends the session at once, also over polling.
//   - Messages that are sent while a poll is being answered may share its body; Node answers with the first alone.
//   - JSONP (the query parameter j) is not spoken: it belongs to revision 3.
//   - With a CORS policy, websocket handshakes of foreign origins are refused; Node leaves them to the application.
//   - net/http answers some malformed requests itself, does not begin with a pipelined request before the one in front of
//     it is answered (a parked poll, say), and a request that is not under the path gets 404. docs/http.md has the list.
//   - Requests of a session on several connections may overtake each other but for connections of NewListener's listener
//     (arrival.go).
//
// # Goroutines
//
// Each has an owner that Server.Close waits for.
//
//   - One poller while there are connections that it watches (poller_linux.go): websocket connections over plain TCP or
//     Unix sockets on Linux, and those over TLS from NewListener's listener (listener_unix.go), unless Options.ReadMode
//     says otherwise. Such a connection has no goroutine of its own. Without TLS it is no net.Conn any more, but a descriptor
//     that the runtime's poller does not know.
//   - With ReadHot that poller is a leader (leader_linux.go): it reads the connections itself and runs what is quick, beside up to
//     GOMAXPROCS-2 workers while much is queued (helper). One more, until it is done, for each of them that was stuck and replaced.
//     Another one, the watch, is woken by a timer of the kernel (stuckalarm_linux.go) when a leader has been at its queue for a while.
//   - Elsewhere one reader for each websocket connection, parked while nothing arrives (reader, read.go); its stack stays
//     small, because it hands each batch to a worker and waits.
//   - Workers (workers.go) read connections that the poller found readable, and handle batches. Handler's OnText and
//     OnBinary run there, or on the goroutine of a POST request. What they give to Session.Continue runs there too, after
//     the connection has been let go; for that part Close does not wait. A few workers stay a moment for the next job.
//   - One worker for each shard while its dirty list is not empty (shard.work, outbox.go): it writes what SendQueued has
//     queued, never waiting for a peer.
//   - One writer for a connection whose peer does not keep up, or which has no descriptor of its own such as TLS, until
//     its backlog is written (wsConn.drainFrom, flush.go).
//   - One for all deadlines while there are any (internal/timerwheel): pings, pongs, upgrades, closing handshakes.
//   - One for each OnClose call that does not follow another callback of the session.
//   - net/http's own: a poll that waits holds the goroutine of its request and another, unless it is parked. A websocket request's
//     goroutine ends with the handshake.
//
// Two belong to a listener of NewListener (parking_linux.go) and not to a Server, while anything is parked: one waits for events of parked
// sockets, one for their deadlines. The Close of the listener that brings them back ends them.
//
// An idle websocket session has no writer, no timer of its own, no buffer and no request. A polling session whose poll is parked has the
// text of that request.
//
// # Who owns the socket of a poll
//
// net/http owns it, until the goroutine of a poll that has waited for a while gives the poll a seat (parkedGET.parkLocked) and returns. From
// then on what net/http writes to the connection goes nowhere, and its Close, which follows, gives the socket to the lot. Whoever has
// something for the poll finds the seat under the session's lock, and resumes it. An event of the socket does that, too: that it is the
// client's going away, or the next request, is net/http's to find. The lot takes the socket out of its set under its lock and queues it as
// a new connection, to which the text of the request is the first that there is to read. net/http reads it, the outermost handler sees that it
// goes on with a poll and calls no other, and the poll takes what is queued, or waits as if it had never been parked. A socket whose seat was
// resumed before net/http had let go of it goes from there to the queue. Server.Close resumes all; whoever closes the lot has waited for
// those (settle), and ends the sessions of the rest as if their clients had gone.
//
// # Who owns what when a leader is taken over
//
// A leader owns the wait for events and their buffer; the queue of connections that are readable is under poller.mu, and whoever
// takes one out of it becomes its reader by pollState.wake. The watch, when it finds the leader in its turn with one connection for
// too long, names another goroutine as the leader under poller.mu. From that moment:
//
//   - The new leader owns the wait, the buffer, what is queued and the alarm. The former one is in a turn, so that it is not waiting,
//     and looks under poller.mu who leads before it takes from the queue, stops the alarm or waits again; it finds that it does not,
//     and ends.
//   - The watch owns nothing but its wait for the alarm. It ends when the alarm is closed, with the last connection.
//   - The former one keeps the connection that it reads, as its only reader, and what runs in its turn for the application. Events of
//     that connection are noted in its pollState meanwhile. If it has let go of the connection (Session.ContinueQuick), the new
//     leader reads it: what a handler waits for can come.
//   - Server.Close waits for a leader, but not while it runs what was continued, as for workers.
//   - The last leader closes the epoll descriptor, when the last connection has gone. A leader whose handler calls runtime.Goexit
//     names its successor before it ends, and leaves its connection to another goroutine.
//
// # Seams
//
// A Session speaks one revision of the protocol (revision.go): who pings, and how packets are framed. It is connected
// by one transport (transport.go) at a time, which moves packets and does not look into them. Framings (framing.go) turn
// messages into bytes and bytes into packets, and know neither session nor connection. What is built for the wire is a form of
// a Message (form.go), shared by all who send it.
//
//   - A new transport is a file with its transportKind, its connections (which implement transport, and candidate if
//     sessions may move there) and how its requests open them; and a line in transportKinds.
//   - A new revision is a file with its framings and a line in revisions. The heartbeats of both directions exist.
//   - Limits and metrics are written on Options.AllowRequest, Options.Observe and Options.OnConnectionError.
//
// # Locks
//
// Session.mu comes before the locks of the timer wheel, of tasks, of Server.mu and of Message.mu; poller.mu comes before
// that of tasks; a table shard's lock is taken before or without them, and roomMaker.mu before all of them, so that HoldInput
// and KeepState must be called with none. workers.mu also comes before that of tasks. arrivals.mu is a leaf. No lock is held
// while a Handler, an Observer, a hook or a write runs.
//
// # Where do I change X
//
//   - an option, its default or its check: options.go; CORS: cors.go; the cookie: cookie.go
//   - which requests are refused, with what: verify.go, errors.go
//   - routing of a request, session ids, the open packet, closing the server: server.go
//   - the life of a session, dispatch of packets, pausing: session.go; how it ends, and what its client is told of that: ending.go
//   - which transports there are, what a session asks of one: transport.go
//   - which revisions there are: revision.go; pings and pongs of each: heartbeat.go
//   - what packets look like: revision 4 in revision4.go, payloads and base64 in payload.go; how websocket messages and
//     polling payloads are made of them: framing.go
//   - polling sessions and polls that wait: polling.go; what becomes of their connections, and of those between two requests:
//     parking_linux.go; how a poll is answered: answer.go; compression of answers:
//     compress.go; POST requests: post.go; bodies that nobody wants: unread.go
//   - the order among the requests of a session: arrival.go, arrival_linux.go
//   - websocket handshakes and connections: websocket.go; frames and their parser: internal/websocket
//   - the move from one transport to another: upgrade.go; from one server to another, before it has begun: handover.go; requests of
//     sessions that other servers have: elsewhere.go
//   - how bytes are read from a connection: with a goroutine read.go, without readpoll.go and poller_linux.go; on whose
//     goroutine handlers run: workers.go, leader_linux.go, and when another one takes over: stuckalarm_linux.go; how events are waited for: epollwait_linux.go; the system calls: nonblocking_unix.go; sockets that the runtime does not watch:
//     descriptor_linux.go; what crypto/tls keeps: tlsbuffers.go
//   - what is told about a session to limits and metrics: observer.go; what goes on from its request: context.go
//   - connections of the HTTP server that wait for requests: conns.go
//   - the budget for unfinished input: input.go; for what sessions keep, and for their number: state.go; who ends to make room:
//     pool.go; the budget for what is queued: budget.go
//   - queues, limits, slow consumers, the dirty lists: outbox.go; how a batch is written: flush.go
//   - messages, and what of them is encoded once and shared: message.go, form.go
//   - what is kept of the first request: handshake.go; query strings: query.go; who asks behind proxies: forwarded.go
//   - counters: stats.go
package engine
