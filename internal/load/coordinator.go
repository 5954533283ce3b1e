package load

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// reportTime is how long workers may take to say what they have seen, also after an interruption.
const reportTime = 20 * time.Second

var errNoProgress = errors.New("no progress")

// Run runs a scenario. When ctx ends early the result so far comes with Interrupted set and no error. Messages that are
// lost are no error either: see Result.Err.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	cfg, err := cfg.normal()
	if err != nil {
		return nil, &ConfigError{err}
	}
	if err := probe(ctx, &cfg); err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, events: make(chan workerEvent, 64), result: Result{
		Scenario: cfg.Scenario, Address: cfg.Target.Address, Transport: cfg.Target.Transport, Started: time.Now(),
		Clients: cfg.Clients, Processes: cfg.Processes, Size: cfg.Size,
	}}
	if cfg.Server.PID != 0 {
		if _, err := cfg.Server.read(); err != nil {
			return nil, err
		}
		r.result.Server = &ServerUse{PID: cfg.Server.PID}
	}
	if cfg.ViaServer.PID != 0 {
		if _, err := cfg.ViaServer.read(); err != nil {
			return nil, err
		}
		r.result.Via = &ServerUse{PID: cfg.ViaServer.PID}
	}
	err = r.start()
	if err == nil {
		err = r.scenario(ctx)
		if err != nil && ctx.Err() != nil {
			r.result.Interrupted, err = true, nil
		}
		if err == nil {
			err = r.finish()
		}
	}
	return &r.result, errors.Join(err, r.end())
}

// run is a coordinator at work. Everything is owned by Run's goroutine; each worker's events are read by a goroutine that
// ends with them.
type run struct {
	cfg     Config
	workers []*remote
	events  chan workerEvent
	readers int // goroutines that read events

	tag    string
	phase  string
	rounds int64 // broadcasts asked for
	sent   int64 // by the stream
	before usage // of the server
	via    usage // of the node that broadcasts are asked of
	began  time.Time
	result Result
}

// remote is what is known of a worker.
type remote struct {
	link            *Link
	commands        *lines
	clients         int
	messages        int64
	received, acked int64
	answer          int64 // the number that came with the newest acknowledgement
	done            bool
	report          *report
}

type workerEvent struct {
	from *remote
	event
	err error // the events have ended
}

// start starts the workers and gives each its plan.
func (r *run) start() error {
	var tag [4]byte
	_, _ = rand.Read(tag[:]) // never fails
	r.tag = hex.EncodeToString(tag[:])
	for i := range r.cfg.Processes {
		link, err := r.startOne(i)
		if err != nil {
			return fmt.Errorf("start worker %d: %w", i, err)
		}
		w := &remote{link: link, commands: newLines(link.Commands)}
		r.workers = append(r.workers, w)
		r.readers++
		go r.listen(w)
		if err := w.commands.write(command{Op: opSetup, Plan: r.plan(i)}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) startOne(i int) (*Link, error) {
	if r.cfg.Start != nil && r.cfg.Processes > 1 {
		return r.cfg.Start(i)
	}
	commands, out := io.Pipe()
	in, events := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Work(commands, events)
		_ = events.CloseWithError(err)
		ended <- err
	}()
	return &Link{Commands: out, Events: in, Wait: func() error { return <-ended }}, nil
}

func (r *run) plan(i int) *plan {
	p := &plan{
		Target: r.cfg.Target, Others: r.cfg.Others, Worker: i, Workers: r.cfg.Processes, First: r.cfg.Clients * i / r.cfg.Processes, Clients: r.cfg.Clients,
		Rooms: r.cfg.Rooms, To: r.cfg.To, Room: Room, Tag: r.tag, Size: r.cfg.Size, Binary: r.cfg.Binary, Copies: 1, Targeted: r.cfg.Scenario == Targeted,
		InFlight: max(share(r.cfg.InFlight, i, r.cfg.Processes), 1), Rate: r.cfg.Rate / float64(r.cfg.Processes),
		Concurrency: max(share(r.cfg.Concurrency, i, r.cfg.Processes), 1), Timeout: r.cfg.Timeout,
		Senders: max(share(r.cfg.Senders, i, r.cfg.Processes), 1), MessageRate: r.cfg.MessageRate / float64(r.cfg.Processes),
	}
	if r.cfg.Scenario == Burst {
		p.Copies = int64(r.cfg.Copies)
	}
	if p.Via = r.cfg.Target; r.cfg.Via != nil {
		p.Via = *r.cfg.Via
	}
	if r.cfg.dropping() {
		p.Drops = &drops{
			Every: r.cfg.DropEvery, For: r.cfg.DropFor, Duration: r.cfg.Duration, Together: r.cfg.Scenario == Avalanche,
			Immediate: r.cfg.Reconnect == ReconnectImmediate, Rate: r.cfg.MessageRate, Rooms: r.cfg.Rooms,
			Clients: r.cfg.Clients, First: r.cfg.Clients * i / r.cfg.Processes,
		}
	}
	for _, ip := range r.cfg.Sources {
		p.Sources = append(p.Sources, ip.String())
	}
	return p
}

// listen passes a worker's events on until they end.
func (r *run) listen(w *remote) {
	dec := json.NewDecoder(w.link.Events)
	for {
		e := workerEvent{from: w}
		if err := dec.Decode(&e.event); err != nil {
			r.events <- workerEvent{from: w, err: err}
			return
		}
		r.events <- e
	}
}

// await takes events until ok holds. It gives up when ctx ends, or when nothing has moved for idle, unless that is 0.
func (r *run) await(ctx context.Context, idle time.Duration, ok func(*remote) bool) error {
	var silence <-chan time.Time
	var timer *time.Timer
	if idle > 0 {
		timer = time.NewTimer(idle)
		defer timer.Stop()
		silence = timer.C
	}
	for {
		waiting := 0
		for _, w := range r.workers {
			if !ok(w) {
				waiting++
			}
		}
		if waiting == 0 {
			return nil
		}
		select {
		case e := <-r.events:
			moved, err := r.take(e)
			if err != nil {
				return err
			}
			if moved && timer != nil {
				timer.Reset(idle)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-silence:
			return errNoProgress
		}
	}
}

// take notes an event and reports whether anything has moved.
func (r *run) take(e workerEvent) (moved bool, err error) {
	w := e.from
	if e.err != nil {
		r.readers--
		return false, fmt.Errorf("a worker has ended early: %w", e.err)
	}
	switch e.Op {
	case evFailed:
		return false, errors.New(e.Error)
	case evProgress:
		moved = w.clients != e.Clients || w.messages != e.Messages
		w.clients, w.messages = e.Clients, e.Messages
		r.tellProgress()
		return moved, nil
	case evDone:
		w.done = true
	case evHushed:
		w.done, r.sent = true, e.Number
	case evReceived:
		w.received = max(w.received, e.Number)
	case evAcked:
		w.acked, w.answer = max(w.acked, e.Number), e.Answer
	case evReport:
		w.report = e.Report
	}
	return true, nil
}

func (r *run) tellProgress() {
	if r.cfg.Progress == nil {
		return
	}
	p := Progress{Phase: r.phase}
	for _, w := range r.workers {
		p.Clients += w.clients
		p.Messages += w.messages
	}
	r.cfg.Progress(p)
}

// each has every worker do something that ends with evDone, and waits. Workers bound their time themselves.
func (r *run) each(ctx context.Context, make func(i int) command) error {
	for i, w := range r.workers {
		w.done = false
		if err := w.commands.write(make(i)); err != nil {
			return err
		}
	}
	return r.await(ctx, 0, func(w *remote) bool { return w.done })
}

// finish collects the reports and makes the result of them.
func (r *run) finish() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), reportTime, errors.New("a worker does not report"))
	defer cancel()
	for _, w := range r.workers {
		w.report = nil
		if r.result.Interrupted {
			if err := w.commands.write(command{Op: opStop}); err != nil {
				return err
			}
		}
		if err := w.commands.write(command{Op: opReport}); err != nil {
			return err
		}
	}
	if err := r.await(ctx, 0, func(w *remote) bool { return w.report != nil }); err != nil {
		return err
	}
	return r.sum()
}

func (r *run) sum() error {
	var total report
	times := make([]*hdrhistogram.Histogram, len(total.times()))
	for i := range times {
		times[i] = newHistogram()
	}
	for _, w := range r.workers {
		total.add(w.report)
		for i, packed := range w.report.times() {
			if err := mergePacked(times[i], *packed); err != nil {
				return err
			}
		}
	}
	res := &r.result
	res.Latency, res.Connecting = percentiles(times[0]), percentiles(times[1])
	res.Behind = percentiles(times[5])
	if r.cfg.dropping() {
		res.Drops = newDrops(&total, times[2:5])
	}
	res.Connections = Connections{Opened: total.Opened, Failed: total.Failed, Lost: total.Lost, Reasons: total.Reasons}
	m := &res.Messages
	*m = Messages{Expected: total.Sent, Delivered: total.Got, Duplicate: total.Double, Late: total.Late, Foreign: total.Foreign}
	if r.rounds > 0 {
		m.Expected = r.rounds * int64(r.cfg.Copies) * total.Opened
	}
	m.Lost = m.Expected - m.Delivered
	res.Drops.share(m)
	if res.Interrupted && !r.cfg.dropping() {
		m.Lost = max(0, m.Lost-r.underWay(&total))
	}
	res.ClientCPU = total.CPU.Seconds()
	return nil
}

// underWay is how many messages an interruption may have stopped.
func (r *run) underWay(total *report) int64 {
	if r.rounds > 0 {
		return int64(r.cfg.Copies) * total.Opened
	}
	if r.cfg.open() {
		return total.Sent
	}
	return int64(max(r.cfg.InFlight, r.cfg.Concurrency))
}

// end lets the workers go.
func (r *run) end() error {
	var errs []error
	for _, w := range r.workers {
		_ = w.commands.write(command{Op: opStop})
		_ = w.link.Commands.Close()
	}
	for r.readers > 0 {
		if e := <-r.events; e.err != nil {
			r.readers--
		}
	}
	for _, w := range r.workers {
		errs = append(errs, w.link.Wait())
	}
	return errors.Join(errs...)
}
