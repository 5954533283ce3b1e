package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

// errInterrupted ends a benchmark that was stopped from outside; its results so far have been printed.
var errInterrupted = errors.New("interrupted")

// benchCommand holds the flags of `sockeye bench`. 0 stands for a default that depends on the scenario; docs/benchmarking.md
// explains them.
type benchCommand struct {
	URL string `arg:"" help:"The server, for example http://localhost:3000; its path is /socket.io/ unless given."`

	Scenario  string `group:"What to do" default:"echo" enum:"idle,connect,echo,burst,single,targeted,sparse,busy,churn,joins,jitter,avalanche" help:"What to do: idle, connect, echo, burst, single, targeted, sparse, busy, churn, joins, jitter or avalanche."`
	Transport string `group:"What to do" default:"websocket" enum:"websocket,polling" help:"websocket or polling."`
	Clients   int    `group:"What to do" help:"Clients to connect; 50 for echo, 2200 for sparse and busy, otherwise 1000."`
	Steps     []int  `group:"What to do" help:"For idle: numbers of clients at which memory is read, ascending, for example 2000,10000."`

	Size     int    `group:"What to do" default:"64" help:"Payload of a message in bytes, at least 48."`
	Binary   bool   `group:"What to do" help:"Payloads are binary attachments; for echo, burst, single and targeted over websocket."`
	Copies   int    `group:"What to do" default:"100" help:"For burst: broadcasts of one burst."`
	Rounds   int    `group:"What to do" help:"Bursts (5) or single broadcasts (50)."`
	Messages int    `group:"What to do" help:"For echo (1000 for each client), targeted and joins (10) and churn (1): messages or cycles in all; for sparse and busy in place of the duration."`
	InFlight int    `group:"What to do" default:"100" help:"For targeted: messages under way at the same time; for joins: clients that join and leave."`
	To       string `group:"What to do" default:"socket" enum:"socket,room,user" help:"For targeted: what messages are sent to, the receiver's socket, a room of its own or its user."`
	Rooms    int    `group:"What to do" help:"For joins: rooms that are joined in turns (1); for targeted: rooms with the clients in them beside those of the messages (0); for jitter and avalanche: rooms that the messages go to in turns, with each client in one of them, or with 1, the default, to all."`
	Warmup   int    `group:"What to do" help:"Rounds or messages before the measurement."`

	MessageRate float64       `group:"At fixed times" help:"For sparse and busy (500), jitter and avalanche (10): messages a second, in all."`
	Duration    time.Duration `group:"At fixed times" help:"How long messages are sent; 10s for sparse and busy, 45s for jitter and avalanche."`
	Senders     int           `group:"At fixed times" help:"For sparse and busy: clients that send, the others are idle; 200."`
	Computing   int           `group:"At fixed times" default:"2" help:"For busy: threads of the server that compute."`

	DropEvery time.Duration `group:"Lost connections" help:"For jitter and avalanche: time from one loss of a client's connection to the next; 15s."`
	DropFor   time.Duration `group:"Lost connections" help:"How long there is no way to the server; 2s."`
	Reconnect string        `group:"Lost connections" default:"stock" enum:"stock,immediate" help:"How clients come back: stock, with the delays of the npm client, or immediate, when there is a way."`

	Rate        float64       `group:"How to do it" help:"Connects, or cycles of churn, a second; as fast as it goes by default."`
	Concurrency int           `group:"How to do it" default:"50" help:"Connects at the same time."`
	Processes   int           `group:"How to do it" help:"Processes to spread the clients over; as many as the limit of descriptors requires by default."`
	Source      []string      `group:"How to do it" help:"Addresses to connect from, for example 127.0.0.2,127.0.0.3; an address has some 28,000 ports."`
	Hold        time.Duration `group:"How to do it" default:"10s" help:"For idle: time from the last connect until memory is read."`
	Timeout     time.Duration `group:"How to do it" default:"15s" help:"How long to wait for a connection, or while no message arrives."`
	Insecure    bool          `group:"How to do it" help:"Do not check the server's certificate."`

	PID     []int    `group:"What to measure" name:"pid" help:"Process of the server, whose CPU and memory are read; with --other those of several nodes, which are added up."`
	PIDTree bool     `group:"What to measure" name:"pid-tree" help:"Include the processes below --pid."`
	Other   []string `group:"What to measure" placeholder:"URL" help:"Further nodes of the cluster; the clients are spread over all of them in turns. Not for jitter and avalanche."`
	Via     string   `group:"What to measure" help:"For burst, single, jitter and avalanche: another node of the cluster, which is asked for the messages."`
	ViaPID  int      `group:"What to measure" name:"via-pid" help:"Process of that node, whose CPU is read."`
	GC      bool     `group:"What to measure" name:"gc" help:"For idle: read memory again after the server has answered the event gc."`
	JSON    string   `group:"Output" name:"json" placeholder:"FILE" help:"Write the result as JSON to FILE; - is the standard output, in place of the table."`
	Quiet   bool     `group:"Output" help:"No progress on the standard error."`
}

// Help is what --help says besides the flags.
func (*benchCommand) Help() string {
	return `The server must answer the events of the bench app: sockeye serve --app bench, or the programs in bench/peers. That is asked
first, with one client.

Examples:
  sockeye serve --app bench &
  sockeye bench http://localhost:3000 --pid $!
      Echoes of 50 clients, with the server's CPU and memory.
  sockeye bench http://localhost:3000 --scenario burst --clients 1000
      Broadcasts to 1,000 clients.
  sockeye bench http://localhost:3000 --scenario idle --steps 2000,10000 --pid $!
      Memory for each idle client.
  sockeye bench http://localhost:3000 --scenario sparse --message-rate 2000 --pid $!
      Echoes of 200 clients at fixed times, beside 2,000 that are idle.
  sockeye serve --app bench --connection-state-recovery 2m &
  sockeye bench http://localhost:3000 --scenario jitter --clients 1000
      What is delivered to clients that lose their connection for 2 s every 15 s.`
}

// Run makes the run and prints its result. It fails if anything was lost.
func (c *benchCommand) Run(ctx context.Context, out *streams) error {
	cfg, err := c.config(out)
	if err != nil {
		return usageError{err}
	}
	result, err := load.Run(ctx, cfg)
	if !c.Quiet && isTerminal(out.stderr) {
		fmt.Fprint(out.stderr, clearLine)
	}
	switch {
	case errors.As(err, new(*load.ConfigError)):
		return usageError{err}
	case errors.As(err, new(*load.NotBenchError)):
		return fmt.Errorf("%w: the scenario %s needs the bench app there (sockeye serve --app bench), or a program with the events that docs/benchmarking.md lists",
			err, c.Scenario)
	case err != nil && ctx.Err() != nil:
		return errInterrupted // before there was anything to tell
	case err != nil:
		return err
	}
	if err := c.write(result, out.stdout); err != nil {
		return err
	}
	if result.Interrupted {
		return errors.Join(errInterrupted, result.Err())
	}
	return result.Err()
}

func (c *benchCommand) config(out *streams) (load.Config, error) {
	target, err := c.target(c.URL)
	if err != nil {
		return load.Config{}, err
	}
	if c.PIDTree && len(c.PID) == 0 {
		return load.Config{}, errors.New("--pid-tree needs --pid")
	}
	if c.ViaPID != 0 && c.Via == "" {
		return load.Config{}, errors.New("--via-pid needs --via")
	}
	cfg := load.Config{
		Target: target, Scenario: c.Scenario, Clients: c.Clients, Steps: c.Steps, Processes: c.Processes, Rate: c.Rate,
		Concurrency: c.Concurrency, Size: c.Size, Binary: c.Binary, Copies: c.Copies, Rounds: c.Rounds, Messages: c.Messages, InFlight: c.InFlight,
		Warmup: c.Warmup, Hold: c.Hold, Timeout: c.Timeout, Duration: c.Duration, DropEvery: c.DropEvery, DropFor: c.DropFor,
		MessageRate: c.MessageRate, Senders: c.Senders, Computing: c.Computing, Rooms: c.Rooms, To: c.To, Reconnect: c.Reconnect, Collect: c.GC,
		Start: func(int) (*load.Link, error) { return startWorker(out.stderr) },
	}
	if len(c.PID) > 0 {
		cfg.Server = load.Process{PID: c.PID[0], Others: c.PID[1:], Tree: c.PIDTree}
	}
	for _, url := range c.Other {
		other, err := c.target(url)
		if err != nil {
			return load.Config{}, err
		}
		cfg.Others = append(cfg.Others, other)
	}
	if c.Via != "" {
		via, err := c.target(c.Via)
		if err != nil {
			return load.Config{}, err
		}
		cfg.Via, cfg.ViaServer.PID = &via, c.ViaPID
	}
	for _, text := range c.Source {
		ip := net.ParseIP(strings.TrimSpace(text))
		if ip == nil {
			return load.Config{}, fmt.Errorf("--source %q is not an IP address", text)
		}
		cfg.Sources = append(cfg.Sources, ip)
	}
	if !c.Quiet {
		cfg.Progress = newProgress(out.stderr)
	}
	return cfg, nil
}

func (c *benchCommand) target(url string) (load.Target, error) {
	t, err := load.ParseTarget(url)
	t.Transport, t.Insecure = c.Transport, c.Insecure
	return t, err
}

func (c *benchCommand) write(result *load.Result, stdout io.Writer) error {
	if c.JSON != "-" {
		if _, err := io.WriteString(stdout, result.Text()); err != nil {
			return err
		}
	}
	if c.JSON == "" {
		return nil
	}
	data, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if c.JSON == "-" {
		_, err = stdout.Write(data)
		return err
	}
	return os.WriteFile(c.JSON, data, 0o644)
}

// workerCommand is a process that holds clients for a `sockeye bench`, which talks to it over its standard input and
// output. A Ctrl-C at a terminal reaches it too, and is left to the bench.
type workerCommand struct{}

// Run works until the standard input ends.
func (workerCommand) Run(out *streams) error { return load.Work(os.Stdin, out.stdout) }

// startWorker runs this program once more, as a worker.
func startWorker(stderr io.Writer) (*load.Link, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "bench-worker")
	cmd.Stderr = stderr
	commands, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &load.Link{Commands: commands, Events: events, Wait: cmd.Wait}, nil
}

const (
	clearLine = "\r\x1b[K"
	logEvery  = 2 * time.Second
)

// newProgress returns a function that shows progress: on a terminal in one line that changes, elsewhere now and then in a
// line of its own.
func newProgress(stderr io.Writer) func(load.Progress) {
	terminal := isTerminal(stderr)
	var last time.Time
	return func(p load.Progress) {
		text := fmt.Sprintf("%s: %d clients, %d messages", p.Phase, p.Clients, p.Messages)
		if terminal {
			fmt.Fprint(stderr, clearLine, text)
			return
		}
		if now := time.Now(); now.Sub(last) >= logEvery {
			last = now
			fmt.Fprintln(stderr, text)
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
