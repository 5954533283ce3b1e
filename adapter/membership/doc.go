// Package membership knows the nodes of a cluster: who they are, which of them are heard, and whose life is over.
//
// [Members] speak over a [Transport], which each broker has. A node says hello when its transport is up and is answered at once by
// everybody, at its own inbox, so that it knows all within one round trip. From then on it sends a heartbeat; at the end
// it says good-bye. A heartbeat tells when the next one comes, and a version of what its sender serves. Who hears one of
// somebody unknown, or of another version, asks that node's inbox for a hello, so that whatever was lost is made good with
// the next heartbeat.
//
// Nodes of other implementations, such as Node.js servers, are no members and are not disturbed: they do not read these
// channels, or can read what comes on them.
//
// # Two different ends
//
// A member is [Silent] when nothing was heard of it for three of its intervals and a bit, 10 s in a small cluster, or when it let a
// question run out; it is [Absent] when the broker says that nobody reads its inbox. A cut link, a broker that starts again
// and 15 s in a debugger look the same, so that nothing may be concluded but that it is not worth waiting for. It is
// [Alive] again with the next thing that is heard of it. Its hello says that its transport was down and is up again
// ([Change.Back]): what was sent to it before may be lost.
//
// A life is [Over] when the node says good-bye; when its name comes back with another id and nothing is heard of it when it
// is asked once (at once if the broker says that it is absent, else a second after a ping); or after minutes of silence.
// Only then may what it owned be swept. A node whose life was declared over although it lives is told so by whoever hears
// it, and goes on with a new life: the same id, another [Node.Life]. To others the old life ends then, if it has not, and
// a newcomer serves the same topics.
//
// Time does not count while the transport is down, nor while this node was frozen, which it notices by its own timer: then
// everybody gets a fresh allowance. A node that used to get its own heartbeats back from the transport and gets them no
// more is deaf; as long as that lasts, others fall silent for it, but no life ends by silence.
//
// # Names and tags
//
// Two lives that are both heard under one name are a misconfiguration. Both nodes warn, and the younger one, which started
// later or else has the larger id, adds four characters of its id to its name. Nothing is swept. A node that meets its
// own tag in the hello of an elder one draws another at random. OnSelf is told of both.
//
// # Nodes that cannot work together
//
// Every node also says hello on one channel that all nodes of a broker share, whatever their settings. A node that meets
// another combination of settings there, or another major version of these messages, warns once and names both values. It
// is answered, so that the other can warn too, by one node or a few for all of the same settings.
//
// # What it costs
//
// A heartbeat has about 75 bytes. The interval is 3 s, or 10 ms for each node if that is more, so that no node
// receives more than 100 a second:
//
//	nodes   interval   silent after   sent          received          the broker delivers
//	10      3 s        10 s           0.33 /s       3 /s, 0.2 KB/s    30 /s
//	100     3 s        10 s           0.33 /s       33 /s, 2.5 KB/s   3,300 /s
//	1,000   10 s       33 s           0.1 /s        100 /s, 7.5 KB/s  100,000 /s, 7.5 MB/s
//
// With each heartbeat come two canaries, messages that measure how long messages take, see [Members.Latencies]: one to the node's own
// inbox, and one to the inbox of another node, which answers it. A node receives three messages more for each of its intervals by that,
// about one a second or less, which the interval of a large cluster allows for.
//
// A newcomer costs each node one hello of about 300 bytes plus its topics, and one answer of that kind; when the
// broker comes back each node gets a hello of all others, and of each a heartbeat as an answer. A change of topics costs
// each node one message, at most ten a second from each sender.
//
// # Goroutines and locks
//
// New starts two goroutines, which end with Close: keep does what is due, and is the only one that sends; dispatch calls
// watchers, OnSelf and the logger. A third one exists while the broker is asked about members whose name has come back.
// There is none for a member. Members.mu is the only lock; neither the transport nor any callback is called with it held.
//
// # Where do I change X
//
//   - what a node is, ids, tags, names of lives: node.go
//   - options, the transport, limits: options.go
//   - what is on the wire, and what is refused: message.go
//   - what a message does: hear.go
//   - names, tags and lives of this node, strangers: identity.go
//   - when a member is silent, absent, in doubt or over: state.go; by time, and when things are sent: turn.go
//   - how long messages take: canary.go
//   - topics, splitting a hello: topics.go
//   - watchers, reasons of changes: watch.go
//   - snapshots, counters, starting and closing: members.go
package membership
