// Package natsadapter connects the nodes of a cluster through NATS, see [New]. It takes servers of NATS by their addresses, or one in
// the same process.
//
// # What NATS promises, and what it does not
//
// A message is delivered at most once. What one node sends in one namespace takes one way and arrives in order, whether it is for all
// nodes, for those of a room or for one: a server handles what comes on a connection in order, and servers of a cluster keep one route
// for each account. Lost is
//
//   - what is under way when a connection or a server ends. Of what this node has written, what the server had not confirmed is
//     counted in Stats.Failed; what was for this node and did not come is not known, so that Stats.Losses counts how often that
//     may have been. Questions that were open end with adapter.ErrClusterUnavailable;
//   - what waits for longer than Options.QueueAge, or does not fit into Options.QueueLimit, while NATS is away; both are counted. All else
//     that is no question and not volatile is kept and sent when NATS is back and the other nodes have subscribed again: this node
//     waits for them for 2.5 s at most;
//   - what comes to a server on which it is not known yet that this node listens. A join that has returned is known everywhere. Where a
//     node makes sockets of other nodes join a room (SocketsJoin), what it sends to the room in the next 5 s goes to all nodes of the
//     namespace and misses nobody; what a third node sends to the room before the sockets have joined does.
//
// A connection that ends is noticed at once, a server that is frozen or cannot be reached within Options.AnswerTimeout and a moment. NATS
// tells at once when nobody reads a node's inbox, so that a node that was killed holds up no question; it does not count who listens,
// so that what counts nodes are the members.
//
// # Subjects
//
//	<prefix>.ns.<namespace>.all            for all nodes of a namespace
//	<prefix>.ns.<namespace>.room.<room>    broadcasts to one room, for nodes with somebody in it
//	<prefix>.ns.<namespace>.node.<node>    for one node: directed messages, answers
//	<prefix>.members.all.<node>.<server>   what a node tells the others of itself, and where it is connected
//	<prefix>.members.node.<node>           the same, for one node
//	<prefix>.members.sync.<node>           whether a node on another server hears us
//	<prefix>.replies.<node>.<number>       NATS says here that nobody listens
//	<prefix>.users.>                       what user stores say to each other
//	<prefix>.log.<namespace>               broadcasts that are kept, in the stream of logs
//	<prefix>.logged.<namespace>            the same, when they are stored
//	<prefix>.sessions.<namespace>.<secret> sessions, in a stream of their own
//	<prefix>.answers.<node>.>              what JetStream answers a node
//	sockeye.hello                          every node says hello here, whatever its prefix; they do without it
//
// So a user of NATS needs the right to publish on and to subscribe to <prefix>.> and, to be warned of nodes with other settings,
// sockeye.hello. Names of namespaces and rooms are written as [token] has it: what is neither a letter nor a digit nor common in names is
// %XX, and names of more than 128 bytes are hashes. Rooms of 20 bytes, as the ids of sockets are, have no subject: what is for them goes to all.
// A body is that of the sharded adapter of @socket.io/redis-adapter, package internal/envelope.
//
// # Users
//
// [UserStore] keeps the users of package users in the memory of one node, the keeper. JetStream's key-value store was the alternative: it
// wants JetStream on all servers and a majority of them, so that of three embedded servers two must be there, and with one replica all is
// gone with its server. What users are where is known to the nodes themselves, who write it anew when it was lost; so a keeper that
// begins without anything needs neither disk nor majority. It costs the keeper about 200 bytes for each user, and on a change of keepers
// all nodes 10 s in which messages to users go to everybody.
//
// A keeper says every 500 ms that it is one. A store that hears of none for 3 s, or finds that nobody reads its keeper's subject, asks who
// else would keep; after 500 ms the one with the smallest id begins. Where two keep, since a cluster was in two, the one that began later
// goes on. A keeper that was frozen or lost NATS is none any more.
//
// # Revoked tokens, the admin UI
//
// Every user store also has a notebook: which tokens are revoked, and which pages have logged in to package server/admin. The keeper takes
// a note and tells all stores; a store that reads asks the keeper for what it has not heard, and tells a new keeper what that does not
// know. Notes only come, and end by themselves, so that notebooks of nodes that were apart can be put together. They are lost when all
// nodes have ended: see [RevocationStore].
//
// # Clients that come back
//
// With server.Options.Recovery broadcasts that are kept go through JetStream: into the stream <prefix>_log (dots in the prefix are = there), in
// which a namespace is one subject. Its leader publishes each entry that is stored, with its number and that of the entry before
// (RePublish), and all nodes hear that: so the log is the channel, in one order for all, at the price of the way to the leader and of
// copies on most replicas. All else takes the ways above; package adapter keeps the order among them. See keptLog for why there is never a hole,
// and logWriter for what becomes of broadcasts while JetStream has no leader.
//
// A consumer of JetStream for each namespace and node was the alternative. It needs the leader of all of JetStream whenever one begins, is lost
// with the one server that has it, and that is noticed after seconds; what a leader publishes comes as any message of NATS does, and what was
// missed can be read on any server that has a replica, also while there is no leader.
//
// Sessions are in the stream <prefix>_sessions, of which the last message of each subject is kept; JetStream removes each in its time. A node writes
// one if it is as the node has seen it last (Nats-Expected-Last-Subject-Sequence), so that of several nodes one goes on with it. The keeper's
// notebook was the alternative: it is in all nodes' memory, but tells of a change after it has answered, so that with the
// keeper a session could be lost that a client has, and two nodes could go on with one while two keep.
//
// JetStream must be there: version 2.11 or later, enabled for the account, with room for Options.RecoveryMaxBytes twice. If it is not, recovery
// is off, one line in the log says what is missing, and the node is up all the same; it looks again every 10 s. While it is there but
// has no leader, or no majority, this node's sockets get broadcasts after a second, without offset, those of other nodes when there is a
// leader again, 4 to 9 s after it was killed; after 20 s all goes past the log, as without recovery, and clients that come back start anew. A user needs
// beside <prefix>.> the right to publish on
//
//	$JS.API.STREAM.INFO.<stream>, $JS.API.STREAM.CREATE.<stream>, $JS.API.STREAM.MSG.GET.<stream>, $JS.API.DIRECT.GET.<stream>
//
// for both streams; without CREATE somebody else has to make them.
//
// # How it fits together
//
// A builder opens a broker for each server, which owns one hub: everything that the server has open to NATS, which is one connection
// after the other. A connection is a session; when it ends, for whatever reason, the hub makes the next one,
// which waits, a second at most, until NATS has read the former one to its end: a server that was frozen may do so late. nats.go does not reconnect by
// itself: it would send what is too old by then, and subscribe without telling when that has been done. A hub has
//
//   - a queue of what is to be written, bounded in bytes, since a connection may block;
//   - the subscriptions that are wanted;
//   - the peers: other nodes, and the servers that they are connected to.
//
// All subscriptions of a session share one channel, so that what comes on a connection keeps its order until it is in the feed of its
// namespace (adapter/internal/inflow), whose worker exists only while there are messages. The channel has room for 32,768 messages, and what
// reads it only sorts; what comes when it is full is lost and counted, Stats.Overrun.
//
// # Goroutines
//
// A hub has two: run, which connects, makes subscriptions and writes, and keep, which drops what is too old. A session has two more: sort,
// and attend, which has the server confirm subscriptions and messages by an answer that follows them. The broker has one that tells the
// membership when NATS comes and goes. With recovery there is one that looks after the streams (jetStream.watch), and one for each namespace while it has something to
// write. A user store has one. nats.go has three for a connection, and one for each subscription of a user store. Close ends and awaits all of them.
//
// # Lock order
//
// roomSubjects.mu, keptLog.hearing > subscriptions.mu; keptLog.hearing, logWriter.mu > jetStream.mu, queue.mu; jetStream.mu > hub.mu; hub.mu > the state's; keeping.mu. The others are leaves. None is held while nats.go or the application is called, but
// for the logger of the state.
//
// # Where do I change X
//
//   - options, addresses, prefixes: options.go; what a connection is told, servers, dialing: connect.go
//   - subjects, names in them: subjects.go
//   - what is said in a namespace: bus.go; rooms: rooms.go, ../internal/freshrooms; what members say: broker.go
//   - what waits, what is dropped and why: queue.go; subscriptions: subscriptions.go
//   - a connection from its beginning to its end: session.go; one after the other, up and down: hub.go
//   - other servers know of a subscription: reach.go; what NATS refuses: refusals.go; who was there before an outage: peers.go
//   - clients that come back: the streams, and what is asked of JetStream: jetstream.go; the log of a namespace: keptlog.go, and what is read
//     of it again: keptreading.go; what is written to it: keptwriter.go; what an entry looks like: keptentry.go; an offset: keptoffset.go;
//     sessions: sessions.go, sessionrecord.go
//   - the user store: users.go, who keeps and what is kept: keeping.go; its wire form: userwire.go
//   - what all nodes remember: notebook.go; revoked tokens and the admin UI's sessions in it: revocations.go
//   - figures: stats.go; kinds of trouble: state.go
package natsadapter
