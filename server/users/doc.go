// Package users knows on which nodes of a cluster a user is, so that a message to a user goes to those nodes and to no other.
//
//	dir, err := users.New(srv, users.Options{Store: store})
//	main.OnConnection(func(ctx context.Context, s *server.Socket) {
//		err := dir.Bind(ctx, s, userID, nil)
//	})
//	err = dir.User(userID).Emit(ctx, "news", item)
//
// A user may have any number of sockets, on any nodes. Each node keeps a table of the users whose sockets it has, which is the
// truth about this node; a [adapter.UserStore] has for each user the lives of the nodes that hold it. It is written when the first
// socket of a user comes to a node and when the last one goes, and never refreshed. The sockets of a user are in a room too, which is
// the user's id unless Options.RoomPrefix says more, so that nodes without a directory can send to it.
//
// # Who is online
//
// A user is online while a socket is bound to it. When the last one has gone it is away for Options.Grace, in the care of
// the node that had it, so that a reconnect is no event; then it is offline. OnOnline and OnOffline tell of the two ends, each on one
// node of the cluster. Users of a node that is silent cannot be reached, but what is known of them stays; what a life that
// is over has left is swept by one of the others, a grace time after its end. A life that is on the store's roll and is no member
// of the cluster is swept after Options.OverAfter.
//
// # How a message finds its user
//
// The nodes that hold one user know of each other: who comes is told by the store of the others, and tells them before Bind
// returns. Who sends and does not hold the user remembers where it was. A message tells its receivers who else gets it (see mark);
// the first of them is responsible: it sends the message on to holders that are not named. If it does not hold the user itself, it asks
// the store. In both cases the sender is told. What cannot be delivered is looked up once more; what finds nobody is counted in
// Stats.Lost and logged. So nothing is lost while the user is somewhere, and nothing comes twice, but messages of
// which one had to be sent on may change places.
//
// # Clients that come back
//
// In a namespace with connection state recovery, see server.Options.Recovery, a message to a user that is not volatile goes to all nodes
// as a broadcast: it has its place in the history, and nothing is lost that is sent while the user's client is away, its connection is
// dead without anybody knowing, or its node was killed. The holders are named in it, so that nodes that remember a user who has left
// are told. A user whose client may go on is away for as long as that, see server.RecoveryOptions.MaxDisconnectionDuration, if
// that is longer than Options.Grace; Emit returns [ErrKept], and ErrOffline only when nobody can come back any more. A client that goes on
// is bound before it gets anything. Of a user with clients on several nodes only the node that lost the last one counts: if
// that one has left on its own, Options.Grace decides, whatever waits elsewhere.
//
// # When the store fails
//
// While it does not answer, bindings are kept and written later; messages to users that this node does not know of go to all nodes.
// The store's epoch tells when it was emptied or replaced. Then each node writes its users anew, 20,000 a second, and messages go to all
// nodes for 10 s. With connection state recovery nobody is offline for as long as a client may go on, but away. A node notices within 5 s; before it does, a user that comes to a second node at that moment may miss messages
// there. A node that was taken for dead, and swept, writes its users anew, too.
//
// # Goroutines
//
// New starts four, which end with Close: reconcile, which alone writes to the store; watch, which looks at the roll, for nodes without
// a directory, and for lives to sweep; dispatch, which calls OnOnline and OnOffline; presence.run, which
// sends other nodes what they watch, and calls the functions of Watch. One more exists for each node that is being
// told of users, for each user whose messages are being sent on, and while a life is swept, which has another to renew its claim.
//
// # Lock order
//
//	Directory.mu > Directory.spawning
//	strays.mu > Directory.spawning
//
// Those of presence, the cache, of events and of ended are leaves. Directory.mu may be held while one of them is taken. None is held while the
// store, the server or a function of the application is called; but ended.mu while the server is asked who it is.
//
// # Where do I change X
//
//   - options and errors: options.go; binding sockets: directory.go; who is told: bind.go
//   - what this node knows of its users: table.go; how the store is made equal: reconcile.go
//   - lives, epochs, sweeping: roll.go; other nodes: members.go
//   - what directories tell each other: peers.go
//   - sending to a user: send.go; what the message says of who gets it: mark.go; messages that miss their user: stray.go; the cache: cache.go
//   - clients that come back: recover.go
//   - all other questions and commands: ask.go
//   - who is in a room, how many: presence.go; what is sent to nodes that watch: presencesource.go; what watchers are told: presencewatch.go
//   - nodes without a directory: mixed.go; events: events.go; counters: stats.go
package users
