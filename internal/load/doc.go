// Package load is a lean Socket.IO v4 client and a load generator made of it, for any server that speaks the protocol. It
// is what `sockeye bench` runs.
//
// A coordinator (Run) tells workers what to do and adds up what they saw. A worker (Work) holds clients; it talks to the
// coordinator in JSON lines, so that it may be another process: one process can hold only so many descriptors. What a
// worker knows of the others is nothing; a message's latency is taken from the wall clock that the processes share.
//
// # Goroutines
//
// One goroutine reads each websocket client and calls its handler. A polling client has one for its polls, and one more
// while packets wait to be posted. They end with the connection. A worker has one that reads commands and one that reports
// progress; both end with the commands.
//
// # Accounting
//
// Every message carries the tag of the run, a number and the time it was sent at. A receiver knows which numbers must come
// and how often (see tally), so that a message that is lost, comes twice or overtakes another is counted. Messages of
// another run are counted as foreign.
package load
