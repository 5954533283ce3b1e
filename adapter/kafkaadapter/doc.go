// Package kafkaadapter connects the nodes of a cluster through Apache Kafka, version 2.1 or later. [New] is an adapter.Builder for
// server.Options.Adapter:
//
//	srv, err := server.New(&server.Options{Adapter: kafkaadapter.New(&kafkaadapter.Options{Seeds: []string{"kafka-1:9092", "kafka-2:9092"}})})
//
// # Topics
//
//	<prefix>.log      what is said to all nodes, questions among it. A namespace has one of its 8 partitions, so that everything in
//	                  it has one order, and a place that is one number. Kept for an hour.
//	<prefix>.direct   what is said to one node: answers, directed messages, canaries. A node has one of the 32 partitions, which it
//	                  shares with others in a large cluster; a header names the addressee, and the others skip the record by that.
//	<prefix>.control  what nodes say of themselves to all: one partition. Kept, like the former, for ten minutes.
//
//	<prefix>.sessions what clients go on with that come back: one partition, for nodes with server.Options.Recovery
//
// They are created if they are missing and the rights allow it, else the state is Down and the log has the command. Partitions are
// chosen by FNV-1a of the namespace's name or the node's id, so their numbers are the same on all nodes.
//
// A record's value is the envelope of Node's cluster adapters, JSON or with binary MessagePack, as in the sharded Redis adapter. Its headers say who has
// sent it, of what kind it is, in which namespace, and where it stands in the order (see record.go); its key is the room, if it is for
// one room alone. By these a node throws away what it does not need before it decodes anything.
//
// # Promises
//
// There is no consumer group. A node reads the partitions that it needs from the end that they had before it served, and from then on
// from where it is: after an outage, or when it was frozen, it hears everything that was said meanwhile, in order and once. What a node
// says is written by an idempotent producer with acks=all, in order and once; while Kafka is away it waits, up to Options.QueueLimit
// and Options.QueueAge. What is of no use later is not kept: volatile packets, questions and answers are refused while Kafka is away,
// dropped when they have waited for two seconds, and dropped by the reader when they are older than five.
//
// How old a record is tells the broker's clock, which stamps what is appended: nodes learn it from what they send to themselves, and
// write it into what is of no use later. Clocks of nodes may be apart as they like. The clocks of several brokers must not differ by
// more than a second or two. Where a topic has the clocks of the senders (message.timestamp.type=CreateTime) a minute is allowed
// instead of five seconds, and the clocks must not be further apart than that.
//
// What Kafka has removed or lost before it was read is counted in Stats.Lost, logged, and ends the questions that are open. The reading
// goes on with the first record that is there; at the end if the broker has lost what was there (an election of a leader that had not
// everything); at the start of a topic that was deleted and made anew.
//
// Messages to all and to one node take two ways; package adapter keeps the order that its table promises for several ways.
//
// Kafka does not know who reads a partition. There are no nodes but the members, and questions wait for one that was killed
// until membership finds it silent.
//
// # Rights
//
// A node needs, for one prefix of topics:
//
//	kafka-acls.sh --add --allow-principal User:sockeye --resource-pattern-type prefixed --topic sockeye. \
//	    --operation READ --operation WRITE --operation DESCRIBE
//
// and to create the topics itself --operation CREATE, to know how long messages may be --operation DESCRIBE_CONFIGS. Brokers before
// version 3 need --cluster --operation IDEMPOTENT_WRITE, too. There is no group to be allowed, but for an [Ingest]: --group sockeye.
// --operation READ, and the topics that it reads.
//
// # Users
//
// A [UserStore] keeps the directory of users in a fourth topic, <prefix>.users, which is compacted and which every node reads into
// memory, about 100 bytes for a user: 100 MB for a million. A change is a record whose outcome is decided by its place, see
// userTable. Beyond some million users, or where nodes must be there within a second of their start, Redis keeps them better:
// redisadapter.NewUserStore works beside every adapter.
//
// # Revoked tokens, the admin UI
//
// A [RevocationStore] keeps revoked tokens in <prefix>.revoked, an [AdminStore] the sessions of pages that have logged in to package
// server/admin in <prefix>.admin: topics with one partition, from which Kafka removes what is old.
//
// # Clients that come back
//
// The log is also what a client has missed: an offset is a place in the partition of its namespace. It is read again by a client of franz-go
// of its own, since Kafka answers a connection's questions one after the other, and the node's own reading takes its time. What a topic had
// that was deleted and made anew, what was removed, and what a new leader has not got, is a gap.
//
// Sessions are in <prefix>.sessions and in the memory of each node that has recovery, about 300 bytes and the texts of rooms and data for
// each client of the cluster. A change is a record, and what came of it is decided by its place, see sessionTable. A node reads what is
// as old as four times RecoveryOptions.MaxDisconnectionDuration when it starts. Each connected client is written every half of that
// duration, and read by every node: 100,000 clients and 2 min are 1,700 records a second. Beyond that the streams adapter of Redis does better.
// A session whose time is over is told of by the node whose record of that comes first. A node that has not read some of the topic begins
// with what is left of it.
//
// # Other programs
//
// An [Emitter] writes to the log what a node would. An [Ingest] makes events of the records of any topic: their headers name the event,
// and whom it is for, their value has the arguments.
//
// # How it fits together
//
// A server has one broker, which owns one client of franz-go and these goroutines, from Open to Close:
//
//   - publisher: hands what is queued to the client. Each partition has a lane, so that one whose leader is away holds up no other.
//     A request costs a hundred times what a record does, so above some hundred requests a second records are gathered for 2 ms;
//   - readers: sort what the client has fetched. Each partition has a worker while there is something to handle, which decodes and
//     hands on; what it cannot keep up with waits in Kafka;
//   - monitor: sees to the topics, asks each second for the ends of the partitions that are read, which shows that their leaders
//     answer, and watches that the readers reach these ends and that what is written is acknowledged. It alone sets the state and
//     tells the client what to read;
//   - one that tells the membership when Kafka comes and goes.
//
// # Where do I change X
//
//   - options, how the client logs in: options.go; how it is set up, starting and closing: broker.go
//   - topics, their configuration, creating and checking them: topics.go
//   - what a record looks like: record.go; how old one may be: clock.go
//   - what is queued, refused, dropped: publisher.go, lane.go; gathering: pace.go
//   - where reading begins and goes on: readers.go, reader.go
//   - states: monitor.go, state.go; counters: stats.go
//   - a namespace: bus.go; offsets, and the log of a namespace: history.go; reading again what was read: past.go
//   - sessions: what a record says: sessionrecord.go; what they say together: sessiontable.go; the topic and the store: sessions.go;
//     telling of those that are over: sessionreap.go
//   - users: what a change does: userstate.go; what the records of a partition say: usertable.go; records: userrecord.go; reading and
//     writing the topic: userlog.go; the store: users.go
//   - what is kept for a time in a topic of its own: ledger.go; revoked tokens: revocations.go; the admin UI's sessions: adminstore.go
//   - programs that are no nodes: emitter.go; records that become events: ingest.go, ingestargs.go; what others have done of them: ingestrecall.go
package kafkaadapter
