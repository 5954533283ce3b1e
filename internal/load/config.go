package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// Scenarios of the generator.
const (
	Idle     = "idle"     // connect, join the room, stay
	Connects = "connect"  // connect and join, with latencies
	Echo     = "echo"     // each client sends, and sends again when its message is back
	Burst    = "burst"    // many broadcasts at once to the room of all clients
	Single   = "single"   // the next broadcast when all clients have the last
	Targeted = "targeted" // messages from client to client
	Sparse   = "sparse"   // an open loop: some clients send at fixed times, beside many that are idle
	Busy     = "busy"     // the same while the server computes
	Churn    = "churn"    // clients leave and come back
	Joins    = "joins"    // clients join and leave rooms

	Jitter    = "jitter"    // clients lose their connections now and then, while messages are sent
	Avalanche = "avalanche" // all of them at once
)

// What the messages of Targeted are sent to.
const (
	ToSocket = "socket" // the id of the receiver's socket
	ToRoom   = "room"   // a room that the receiver alone is in
	ToUser   = "user"   // the user that the receiver has logged in as
)

// How clients that have lost their connection come back.
const (
	ReconnectStock     = "stock"     // as the npm client does with its defaults: after 1 s, 2 s, 4 s, 5 s..., each up to half longer or shorter
	ReconnectImmediate = "immediate" // as soon as there is a way to the server, and then as the npm client does
)

// Scenarios lists them all.
var Scenarios = []string{Idle, Connects, Echo, Burst, Single, Targeted, Sparse, Busy, Churn, Joins, Jitter, Avalanche}

// Room is the one that all clients join; the bench app's broadcasts go there.
const Room = "room"

const (
	// perProcess is how many descriptors of a process are left to other things than clients.
	perProcess = 200
	// portsPerSource is how many connections one source address is used for when addresses of the loopback network are
	// taken by themselves, which happens when the server is on this machine and Linux's 28,000 ports do not suffice.
	portsPerSource = 25_000
)

// Config is a run of one scenario. Zero values mean the defaults named.
type Config struct {
	Target   Target
	Others   []Target // further nodes of the cluster: the clients are spread over all of them in turns
	Scenario string

	Clients     int      // 50 for echo, 2200 for sparse and busy, otherwise 1000
	Steps       []int    // Idle only: ascending numbers of clients at which memory is read; Clients is the last of them
	Processes   int      // as many as the descriptors require
	Sources     []net.IP // addresses to connect from, in turns; the system chooses, but see portsPerSource
	Rate        float64  // connects (or cycles of churn) a second; 0 is as fast as it goes
	Concurrency int      // connects at the same time; 50
	Size        int      // payload in bytes; 64
	Binary      bool     // payloads are binary attachments; over WebSocket, for Echo, Burst, Single and Targeted
	Copies      int      // broadcasts of a burst; 100
	Rounds      int      // bursts or single broadcasts; 5 and 50
	// Messages of echo, targeted, sparse, busy, churn and joins, in all; 1000 for each client of echo, 10 of targeted and joins, 1 of churn;
	// MessageRate for the Duration of sparse and busy.
	Messages int
	InFlight int           // messages of targeted under way, or clients of joins at work, at the same time; 100
	To       string        // Targeted only: ToSocket, unless told
	Warmup   int           // rounds or messages before the measurement, whose messages count but not their cost
	Hold     time.Duration // from the last connect until memory is read; 10 s
	Timeout  time.Duration // without any progress; 15 s

	// Sparse and Busy, Jitter and Avalanche only.
	Duration    time.Duration // 10 s or 45 s, in which messages are sent and connections lost
	MessageRate float64       // messages a second, in all; 500 or 10

	// Sparse and Busy only.
	Senders   int // clients that send, the others are idle; 200
	Computing int // Busy only: threads of the server that compute; 2

	// Jitter and Avalanche only.
	DropEvery time.Duration // from one loss of a client's connection to the next; 15 s
	DropFor   time.Duration // in which there is no way to the server; 2 s
	Reconnect string        // ReconnectStock, unless told

	// Rooms of Jitter and Avalanche: 1 for messages to all clients; otherwise each is in one of so many rooms, which get the messages in
	// turns. Of Targeted: so many rooms with the clients in them, beside those of the messages; 0. Of Joins: 1.
	Rooms int

	Server Process // whose CPU and memory are read

	// Via is another node of the cluster, which is asked for the messages of Burst, Single, Jitter and Avalanche; nil is Target.
	Via       *Target
	ViaServer Process // that node's, whose CPU is read
	Collect   bool    // Idle only: read memory once more after the event "gc" has been acknowledged

	// Start starts a worker as another process, as if it were number n; nil runs the one worker in this process.
	Start func(n int) (*Link, error)
	// Progress, unless nil, is called now and then, by one goroutine.
	Progress func(Progress)
}

// Link is the way to a worker: another process that runs Work.
type Link struct {
	Commands io.WriteCloser
	Events   io.Reader
	Wait     func() error // returns when the worker has ended, after Commands has been closed
}

// Progress says how far a run is.
type Progress struct {
	Phase    string
	Clients  int // connected
	Messages int64
}

// ConfigError says what is wrong with a Config.
type ConfigError struct{ Err error }

// Error is the problem in one sentence.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the problem.
func (e *ConfigError) Unwrap() error { return e.Err }

// normal returns the config with defaults, or what is wrong with it.
func (c Config) normal() (Config, error) {
	if !slices.Contains(Scenarios, c.Scenario) {
		return c, fmt.Errorf("unknown scenario %q", c.Scenario)
	}
	if c.Via != nil && !slices.Contains([]string{Burst, Single, Jitter, Avalanche}, c.Scenario) {
		return c, errors.New("another node can be asked for broadcasts only: burst, single, jitter and avalanche")
	}
	if len(c.Others) > 0 && c.dropping() {
		return c, errors.New("clients that lose their connection are at one node")
	}
	if err := c.drops(); err != nil {
		return c, err
	}
	if c.To = orUsual(c.To, ToSocket); !slices.Contains([]string{ToSocket, ToRoom, ToUser}, c.To) || c.To != ToSocket && c.Scenario != Targeted {
		return c, fmt.Errorf("messages go to %q in targeted only: to a socket, a room or a user", c.To)
	}
	if len(c.Steps) > 0 {
		if c.Scenario != Idle || !slices.IsSorted(c.Steps) || c.Steps[0] < 1 {
			return c, errors.New("steps belong to the idle scenario, and ascend from 1")
		}
		c.Clients = c.Steps[len(c.Steps)-1]
	}
	for _, field := range []struct {
		value *int
		name  string
		least int
		usual int
	}{
		{&c.Clients, "clients", 1, c.usualClients()},
		{&c.Concurrency, "concurrency", 1, 50},
		{&c.Size, "size", MinSize, 64},
		{&c.Copies, "copies", 1, 100},
		{&c.Rounds, "rounds", 1, c.usualRounds()},
		{&c.InFlight, "messages in flight", 1, 100},
		{&c.Senders, "senders", 1, min(200, orUsual(c.Clients, c.usualClients()))},
		{&c.Computing, "computing threads", 1, 2},
	} {
		if *field.value == 0 {
			*field.value = field.usual
		}
		if *field.value < field.least {
			return c, fmt.Errorf("%s must be at least %d", field.name, field.least)
		}
	}
	c.Messages = orUsual(c.Messages, c.usualMessages())
	if c.Binary && (c.Target.Transport == Polling || !slices.Contains([]string{Echo, Burst, Single, Targeted}, c.Scenario)) {
		return c, errors.New("payloads are binary over WebSocket only, in echo, burst, single and targeted")
	}
	if c.Size > readBuffer {
		c.Target.ReadBuffer = min(c.Size, maxReadBuffer)
	}
	if c.Senders > c.Clients {
		return c, errors.New("there are more senders than clients")
	}
	if c.Messages < 1 || c.Rate < 0 || c.Warmup < 0 || c.Hold < 0 || c.Timeout < 0 {
		return c, errors.New("rate, warm-up and times must not be negative, and there must be a message")
	}
	c.Hold, c.Timeout = orUsual(c.Hold, 10*time.Second), orUsual(c.Timeout, 15*time.Second)
	switch c.Scenario {
	case Single:
		c.Copies = 1
	case Echo:
		c.InFlight = c.Clients
	}
	if len(c.Steps) == 0 {
		c.Steps = []int{c.Clients}
	}
	return c.spread()
}

// drops fills in what concerns lost connections and steady rates, and checks it.
func (c *Config) drops() error {
	duration, rate := 45*time.Second, 10.
	if c.open() {
		duration, rate = 10*time.Second, 500
	}
	c.Duration, c.DropEvery = orUsual(c.Duration, duration), orUsual(c.DropEvery, 15*time.Second)
	c.DropFor, c.MessageRate = orUsual(c.DropFor, 2*time.Second), orUsual(c.MessageRate, rate)
	c.Reconnect = orUsual(c.Reconnect, ReconnectStock)
	if c.dropping() || c.Scenario == Joins {
		c.Rooms = orUsual(c.Rooms, 1)
	}
	switch {
	case c.Duration < 0 || c.DropFor < 0 || c.DropEvery <= c.DropFor:
		return errors.New("times must not be negative, and connections must hold for a while before they are lost again")
	case c.Rooms > 0 && !c.dropping() && c.Scenario != Joins && c.Scenario != Targeted:
		return errors.New("rooms belong to targeted, joins, jitter and avalanche")
	case c.Rooms < 0 || c.MessageRate <= 0:
		return errors.New("there must be a room and messages")
	case c.dropping() && c.MessageRate*(c.Duration.Seconds()+60)/float64(c.Rooms) > maxSeen:
		return fmt.Errorf("more than %d messages to a room", maxSeen)
	case c.Reconnect != ReconnectStock && c.Reconnect != ReconnectImmediate:
		return fmt.Errorf("unknown way to reconnect %q", c.Reconnect)
	}
	return nil
}

// dropping reports whether connections are lost on purpose.
func (c *Config) dropping() bool { return c.Scenario == Jitter || c.Scenario == Avalanche }

// open reports whether messages are sent at fixed times.
func (c *Config) open() bool { return c.Scenario == Sparse || c.Scenario == Busy }

// spread decides how many processes there are.
func (c Config) spread() (Config, error) {
	descriptors := c.Clients
	if c.Target.Transport == Polling {
		descriptors *= 2
	}
	room := maxDescriptors() - perProcess
	if room < 1 {
		return c, errors.New("this process may open too few descriptors; see `ulimit -n`")
	}
	if len(c.Sources) == 0 && descriptors > portsPerSource && c.Target.loopback() {
		for i := range (descriptors + portsPerSource - 1) / portsPerSource {
			c.Sources = append(c.Sources, net.IPv4(127, 0, 0, byte(i+1)))
		}
	}
	needed := (descriptors + room - 1) / room
	if c.Processes == 0 {
		c.Processes = needed
	}
	switch {
	case c.Processes < needed:
		return c, fmt.Errorf("%d clients need %d processes here, each of which may open %d descriptors", c.Clients, needed, room+perProcess)
	case c.Processes > c.Clients:
		return c, errors.New("there are more processes than clients")
	case c.Processes > 1 && c.Start == nil:
		return c, errors.New("more than one process, and no way to start them")
	}
	return c, nil
}

func (c Config) usualClients() int {
	switch c.Scenario {
	case Echo:
		return 50
	case Sparse, Busy:
		return 2200
	}
	return 1000
}

func (c Config) usualRounds() int {
	if c.Scenario == Single {
		return 50
	}
	return 5
}

func (c Config) usualMessages() int {
	switch c.Scenario {
	case Echo:
		return 1000 * c.Clients
	case Targeted, Joins:
		return 10 * c.Clients
	case Sparse, Busy:
		return max(int(c.MessageRate*c.Duration.Seconds()), 1)
	default:
		return c.Clients
	}
}

func orUsual[T comparable](value, usual T) T {
	var zero T
	if value == zero {
		return usual
	}
	return value
}

// share is worker i's part of n.
func share(n, i, workers int) int { return n*(i+1)/workers - n*i/workers }
