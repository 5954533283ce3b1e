// Package classic is the wire form of the classic Redis adapter, createAdapter of npm @socket.io/redis-adapter 8.3.0, and
// of @socket.io/redis-emitter 5.1.0. It is made of pure functions over bytes.
//
// With the prefix K, the namespace N and a uid of six characters for each node of a namespace:
//
//	K#N# and K#N#<room>#     broadcasts, msgpack [uid, packet, opts]; the second when there is exactly one room
//	K-request#N#             questions and commands, a map with a type, in JSON or (type 7) msgpack
//	K-response#N#            answers, read by all nodes
//	K-response#N#<uid>#      answers, read by the node that asked
//
// A node subscribes to all of them: to the broadcasts with the pattern K#N#*, to the answers with its own uid. Redis
// brings it what it publishes itself too.
//
// The bytes are Node's. Node ignores keys that it does not know; what Sockeye adds is
//
//	sids      in type 7: true, the node that asks is one of ours
//	sid       in type 9: the socket that acknowledged
//	uid       in every answer: who answers; always the last key
//	type 100  the sockets named by sids will not acknowledge any more; only for a node that is one of ours
//
// The ids of questions begin with the uid of the node that asks, so that it knows answers to itself among those to all.
//
// Binary data in JSON, that is in server-side events, their answers and the data of sockets, is written as JSON.stringify
// writes a Buffer and stays as it is when read, as in Node.
package classic
