package outage

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// Server is a broker's process. Its methods fail the test when they cannot do what they say.
type Server interface {
	// Kill ends the process as a crash would, Start starts it again on its port with what it keeps on disk.
	Kill()
	Start()
	// Pause stops the process without closing anything, Resume undoes that.
	Pause()
	Resume()
}

// Flavour is one adapter with its broker.
type Flavour struct {
	Name string
	// Serve starts a broker and returns it with its address.
	Serve func(t testing.TB) (server Server, addr string)
	// Node returns the builder of a node that reaches the broker at via, which is a way to addr, and tells of its state.
	Node func(t testing.TB, addr, via string, changed func(adapter.BrokerState)) adapter.Builder
	// Promise tells what holds in a trouble.
	Promise func(what Trouble) Promise
}

// Trouble is what happens to the broker or to the way of a node to it.
type Trouble string

// Troubles.
const (
	Killed    Trouble = "broker killed, started after"
	Frozen    Trouble = "broker frozen for"
	CutSender Trouble = "sender cut off for"
	CutTarget Trouble = "receiver cut off for"
	Restarted Trouble = "broker killed and started at once"
)

// Promise is what an adapter promises in a trouble. Times have slack for slow machines in them.
type Promise struct {
	Lossless bool          // nothing that was accepted is lost
	Noticed  time.Duration // within which the nodes that are concerned know; 0 if they need not
	Crossing time.Duration // within which messages cross again when the trouble is over
}

// way is how a message goes to the other node.
type way int

const (
	toAll way = iota
	toRoom
	toNode
	ways
)

func (w way) String() string { return [...]string{"all", "room", "node"}[w] }

// Outcome is what became of the messages.
type Outcome struct {
	Sent, Refused              int // accepted by the adapter, and not
	Lost, Doubled, Reordered   int // of those accepted
	ByWay                      [ways]tally
	NoticedSender, NoticedPeer time.Duration // after the trouble began; -1: not at all
	Crossing                   time.Duration // after it was over, on the slowest way
	UpSender, UpPeer           time.Duration // after it was over; -1: they were not down then
}

// tally is an Outcome of one way.
type tally struct{ sent, refused, lost, doubled, reordered int }
