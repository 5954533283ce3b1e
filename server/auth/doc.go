// Package auth lets only those into a namespace who show a JSON Web Token, and ends their sockets when the token does.
//
//	keys, err := auth.ReadKeys("public.pem")
//	a, err := auth.New(auth.Options{Keys: keys, Audience: []string{"chat"}})
//	srv, err := server.New(&server.Options{Hooks: []server.Hooks{a.Hooks()}})
//	remove, err := a.Protect(srv.Of("/"), nil)
//
// A client sends its token in the auth object, io(url, {auth: {token}}); Options name other places. A handler asks Subject and
// ClaimsOf who it is. A client without a token that is in order gets CONNECT_ERROR with RefusalData as data, whose code says to
// programs what to do; its connection stays open. docs/authentication.md is the guide, for front ends too.
//
// # The end of a token
//
// Options.Window before the token of a socket expires the client gets EventExpiring. It answers with EventRenew and a new token of
// the same user. If none comes the socket gets EventExpired, Options.Grace after the expiry, and its connection closes: it is a
// connection that was lost, to the client, which is back by itself if it gets a new token for each attempt, and is refused as
// CodeExpired, without trying again, if not.
//
// RevokeBefore makes tokens void before they expire, DisconnectUser throws a user out, both on all nodes. Each node has all
// revocations in memory: it reads them from Options.Revocations when it starts, is told of new ones by the node that RevokeBefore was
// called on, and reads every 5 s what it may have missed. So no storage is asked when a client connects, and while the storage is away
// nodes go on with what they know; one that has never read it lets nobody in, see Options.ServeUnread.
//
// # Cost
//
// A token is verified once for however many attempts come with it within 5 min, by as many goroutines at a time as there are processors.
// For all sockets there is one timer.
//
// # Goroutines
//
// New starts one, which reads the revocations until Close; FetchKeys one that fetches keys until Keys.Close, and another for each fetch
// because of an unknown key. The timer's function runs on a goroutine of its own, which Close waits for.
//
// # Lock order
//
// live.mu, subjects.mu, revoked.mu, verifier.mu and remote.mu are leaves, Auth.mu comes before them. None is held while the server, the store or a function of the
// application is called.
//
// # Where do I change X
//
//   - options: options.go; what lets a socket in and what is registered: auth.go; where a token may be: source.go
//   - signatures, rules, the memory of verified tokens: verify.go; claims and subjects: claims.go; what a client learns: refusal.go
//   - keys: keys.go, of files: keyfile.go, publickey.go, behind a URL: jwks.go; making tokens: sign.go
//   - expiry: expiry.go, session.go, renew.go; revocation: revoke.go, memorystore.go; other nodes: reach.go; whose sessions are whose: subjects.go; counters: stats.go
package auth
