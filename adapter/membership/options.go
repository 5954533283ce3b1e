package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Setting is one that has to be the same on all nodes, by the name of its flag without dashes: {"adapter", "pubsub"}.
type Setting struct{ Flag, Value string }

// Options of Members. Self.ID and Self.Name are required.
type Options struct {
	// Self is this node. Life defaults to ID, Tag to TagOf(Name), Started to now; State is ignored. The name has room for
	// what a second node of that name adds: 236 bytes at most.
	Self Node
	// Settings: nodes work together only if all are equal. The order does not matter.
	Settings []Setting
	// Interval is the time between two heartbeats in a small cluster, 3 s by default; 1 ms to 10 min.
	Interval time.Duration
	// OverAfter is the time of silence after which a life is over, 5 min by default.
	OverAfter time.Duration
	// Logger gets what an operator has to know; by default nothing is logged.
	Logger *slog.Logger
	// OnSelf is told when this node's Tag, Name or Life had to change, in order with the changes that watchers get and on
	// the same goroutine, with no lock held.
	OnSelf func(Node)
}

// Channel says where a body is sent to or came from.
type Channel uint8

const (
	// All is read by all members.
	All Channel = iota
	// Inbox is read by one member.
	Inbox
	// Common is read by every Sockeye of the broker, whatever its settings.
	Common
)

func (c Channel) String() string {
	switch c {
	case All:
		return "all"
	case Inbox:
		return "inbox"
	case Common:
		return "common"
	default:
		return "unknown"
	}
}

// Transport carries what members say. There is one for each broker; it knows nothing of what the bodies mean. Its methods
// may be called from any goroutine. Whether a node gets its own bodies back does not matter, but see the package comment
// about deaf nodes.
type Transport interface {
	// Start subscribes: to the channel of all members, to this node's inbox and to the common channel. It does not wait for
	// the broker. receive gets each body, one call at a time, from a goroutine of the transport, and does not keep it. up is
	// called whenever the subscriptions are in place (again) and down when the broker has been lost; in order, never at the
	// same time. None of the three blocks, and all may be called before Start returns.
	Start(receive func(from Channel, body []byte), up, down func()) error
	// Tell sends to All or Common. It never blocks. The body is never changed and may be kept. For Common an error may
	// mean that the broker's user may not publish there.
	Tell(to Channel, body []byte) error
	// Send sends to one node's inbox, which may be this node's own: that measures the round trip through the broker. It never blocks. The body is never changed and may be kept.
	Send(to ID, body []byte) error
	// Absent returns those of ids whose inbox nobody reads as far as the broker can tell at once; nil if it cannot tell.
	Absent(ctx context.Context, ids []ID) ([]ID, error)
	// Close lets what was told before go out, as far as the broker takes it, and stops. No receive, up or down begins
	// afterwards.
	Close() error
}

// Limits of what is told and of what is believed.
const (
	maxBody     = 256 << 10 // bytes of a body that is read
	maxTold     = 64 << 10  // bytes of a body that is sent
	maxIdentity = 16 << 10  // bytes of a hello without topics
	maxName     = 256       // bytes of a name, an address, a topic and the like
	maxSettings = 32
	maxMembers  = 4096
	maxTopics   = 4096 // of one node
	maxParts    = 256  // of one hello
	maxLife     = 1_000_000_000
	maxInterval = 10 * time.Minute
)

// complete fills in the defaults. It returns the settings as they are told.
func (o *Options) complete() (settings map[string]string, err error) {
	o.Interval = cmp.Or(o.Interval, 3*time.Second)
	o.OverAfter = cmp.Or(o.OverAfter, 5*time.Minute)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	self := &o.Self
	self.Life = cmp.Or(self.Life, string(self.ID))
	self.Tag = cmp.Or(self.Tag, TagOf(self.Name))
	self.State = Alive
	if self.Started.IsZero() {
		self.Started = time.Now()
	}
	self.Started = self.Started.UTC().Round(0) // as others read it

	settings = make(map[string]string, len(o.Settings))
	for _, s := range o.Settings {
		if _, twice := settings[s.Flag]; twice || s.Flag == "" {
			return nil, fmt.Errorf("setting %q is empty or given twice", s.Flag)
		}
		settings[s.Flag] = s.Value
	}
	switch {
	case !self.ID.valid():
		return nil, fmt.Errorf("node id %q is not made of 1 to %d letters, digits, - and _", self.ID, maxID)
	case len(self.Name) > maxName-len(self.ID)-4:
		return nil, fmt.Errorf("node name has %d bytes, at most %d are allowed", len(self.Name), maxName-len(self.ID)-4)
	case self.ID.number(self.Life) == 0:
		return nil, fmt.Errorf("life %q is not one of node %s", self.Life, self.ID)
	case o.Interval < time.Millisecond || o.Interval > maxInterval:
		return nil, fmt.Errorf("interval %v is not between 1ms and %v", o.Interval, maxInterval)
	case o.OverAfter < 0:
		return nil, fmt.Errorf("time after which a life is over is negative: %v", o.OverAfter)
	}
	hello := message{V: wireVersion, Kind: kindHello, From: self.ID, Every: 1, identity: identityOf(self, settings)}
	if err := hello.check(); err != nil {
		return nil, err
	}
	body, err := hello.encode()
	if err != nil {
		return nil, err
	}
	if len(body) > maxIdentity {
		return nil, errors.New("node and settings are too long to be told")
	}
	return settings, nil
}
