// Package classic is the wire form of the classic Redis adapter, createAdapter of npm @socket.io/redis-adapter 8.3.0, and
// of @socket.io/redis-emitter 5.1.0. It is made of pure functions over bytes.
//
// With the prefix K, the namespace N and a uid for each node (Node draws one of six characters for each namespace):
//
//	K#N# and K#N#<room>#     broadcasts, [uid, packet, opts]; the second when there is exactly one room
//	K-request#N#             questions and commands, a map with a type
//	K-response#N#            answers, read by all nodes
//	K-response#N#<uid>#      read by one node: answers to it, and what another node of ours says to it alone
//
// Broadcasts, requests of type 7 and answers of type 9 are in an [Encoding], which is [MessagePack] unless all nodes have another
// one (Node's option parser); the rest is JSON in any case.
//
// A node subscribes to all of them: to the broadcasts with the pattern K#N#*, to the answers with its own uid. Redis
// brings it what it publishes itself too.
//
// The bytes are Node's. Node ignores keys that it does not know; what Sockeye adds is
//
//	sids      in type 7: true, the node that asks is one of ours
//	only      in type 5: "ids" or "count", all that is wanted of the sockets; the answer has them as sids or as clientCount
//	          beside an empty list of sockets
//	seq, after, directed
//	          the numbers of a message, left out when 0: in opts of broadcasts and requests, which then have opts whatever
//	          their type, and beside the type of answers
//	sid       in type 9: the socket that acknowledged
//	uid       in every answer: who answers; always the last key
//	type 100  the sockets named by sids will not acknowledge any more; only for a node that is one of ours
//
// The ids of questions begin with the uid of the node that asks and a dot, so that it knows answers to itself among those to
// all, and others know by it that the node is one of ours: they answer on its private channel.
//
// What comes on a private channel has the form that it has elsewhere, and is told apart by its first bytes: a broadcast is an
// array, a request a map that begins with the uid, any other map an answer. That holds for all that Node and our nodes write
// there; what has no uid, or not as the first key, comes from emitters and old nodes, which write to all.
//
// Binary data in JSON, that is in server-side events, their answers and the data of sockets, is written as JSON.stringify
// writes a Buffer and stays as it is when read, as in Node.
package classic
