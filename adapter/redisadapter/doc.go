// Package redisadapter connects the nodes of a cluster through Redis, byte-compatible with the adapters of Node's
// Socket.IO, so that Go and Node nodes can serve one application together:
//
//   - [NewPubSub]: the classic adapter, createAdapter of @socket.io/redis-adapter 8.3;
//   - [NewSharded]: Redis 7 sharded pub/sub, createShardedAdapter of the same package;
//   - [NewStreams]: @socket.io/redis-streams-adapter 0.3.
//
// Each is an adapter.Builder for server.Options.Adapter and takes any client of go-redis. [Emitter] reaches the sockets of a
// cluster from a process that serves none.
//
// # How it fits together
//
// A builder opens a broker for each server, which owns one hub: everything that the server has open to Redis, whatever the number
// of its namespaces. Two servers never share connections: Redis counts connections, and each server answers for itself. A hub
// has
//
//   - a publisher: the queue of what is sent, with one pipe, on Redis Cluster one for each master: a connection with a goroutine that
//     connects and writes what waits, in order, and one that reads the answers. One more goroutine drops what is too old and
//     finds the pipe of each command;
//   - a subscriber: one connection, or on Redis Cluster one for each master that has a channel of ours. Each has a goroutine
//     that reads and only sorts messages into the feeds of the namespaces, and one that connects, sends what has gathered
//     and watches that it is answered. One more goroutine places the channels on the connections;
//   - a monitor: a goroutine that finds out whether Redis answers and still counts our subscription.
//
// The broker carries what the nodes say of themselves (package membership), on <prefix>-members# and <prefix>-members#<id>#, and
// on sockeye#hello, which all nodes of a Redis share; a goroutine tells the membership when Redis comes and goes. A namespace is
// an adapter.Bus: its wire form (internal/classic for the classic adapter, internal/envelope for the others), and a
// mailbox (adapter/internal/inflow), whose worker exists only while there are messages. What a message means is decided in package
// adapter, for all three alike.
package redisadapter
