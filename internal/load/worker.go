package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	progressEvery = 250 * time.Millisecond
	maxReasons    = 20
)

var errStopped = errors.New("stopped")

// Work runs a worker: it reads commands until they end, and writes what happens. It returns when every client is gone.
func Work(commands io.Reader, events io.Writer) error {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	w := &worker{events: newLines(events)}
	w.live.pending = make(map[int64]int)
	queue := make(chan command, 16)
	var readErr error
	go func() {
		defer close(queue)
		defer stop(errStopped)
		dec := json.NewDecoder(commands)
		for {
			var c command
			if err := dec.Decode(&c); err != nil {
				if !errors.Is(err, io.EOF) {
					readErr = fmt.Errorf("read a command: %w", err)
				}
				return
			}
			if c.Op == opStop {
				stop(errStopped)
				continue
			}
			queue <- c
		}
	}()
	ticking := w.progress()
	for c := range queue {
		if err := w.obey(ctx, c); err != nil {
			_ = w.events.write(event{Op: evFailed, Error: err.Error()})
		}
	}
	ticking()
	_, _ = w.hush()
	w.cutAll()
	return readErr
}

// worker holds clients and does what it is told.
type worker struct {
	events  *lines
	plan    plan // static after opSetup
	sources []net.IP

	// Owned by the goroutine that obeys; during an operation its goroutines own one slot each.
	clients []*slot
	sender  *Client

	latency    latencies // of messages
	connecting latencies
	behind     latencies // of messages that were to be sent at a fixed time: how late they were
	received   atomic.Int64
	open       atomic.Int64  // clients connected
	remaining  atomic.Int64  // messages that an exchange may still send
	tokens     atomic.Int64  // messages of an exchange under way, or of a steady rate that have not come yet
	answers    atomic.Int64  // acknowledgements that clients have got
	exchanged  chan struct{} // closed when there are none any more

	live live

	// Of connections that are lost, see dropper: from the drop's end, or from the attempt to connect, until the namespace is entered;
	// and until all has come that was missed.
	resuming, answering, catching latencies

	stream *stream // owned by the goroutine that obeys; nil while there is none
	due    int64   // the same; messages of all streams, 0 until told

	mu    sync.Mutex
	total report // guarded by mu; of clients that are gone, and of connections
}

// slot is the place of one client, which changes only by churn. Its receiver is nil while it is empty. A dropper has no other client.
type slot struct {
	client   *Client
	receiver *receiver
	dropper  *dropper
}

// live finds out when all clients have a broadcast.
type live struct {
	mu sync.Mutex
	// Guarded by mu.
	clients int
	pending map[int64]int // number of a broadcast -> clients that have it
	newest  int64         // reported
}

func (w *worker) obey(ctx context.Context, c command) error {
	switch c.Op {
	case opSetup:
		return w.setUp(c.Plan)
	case opConnect:
		return errors.Join(w.connect(ctx, c.Count), w.done())
	case opBroadcast:
		return w.broadcast(ctx, c)
	case opCollect:
		return w.ask(ctx, `["gc"]`, c.Number)
	case opExchange:
		w.exchange(ctx, int64(c.Count))
		return w.done()
	case opSteady:
		w.steady(ctx, int64(c.Count))
		return w.done()
	case opCompute:
		return w.ask(ctx, `["compute",`+strconv.Itoa(c.Count)+`]`, c.Number)
	case opEnter:
		return errors.Join(w.enter(ctx), w.done())
	case opJoins:
		w.joins(ctx, int64(c.Count))
		return w.done()
	case opChurn:
		w.churn(ctx, c.Count)
		return w.done()
	case opStream:
		return w.startStream(ctx)
	case opDrops:
		w.drops(ctx, time.Unix(0, c.Number))
		return w.done()
	case opHush:
		n, err := w.hush()
		return errors.Join(err, w.events.write(event{Op: evHushed, Number: n}))
	case opSettle:
		w.due = c.Number
		w.settle(ctx)
		return w.done()
	case opReset:
		w.latency.take()
		w.connecting.take()
		w.behind.take()
		return w.done()
	case opReport:
		r, err := w.report()
		return errors.Join(err, w.events.write(event{Op: evReport, Report: r}))
	}
	return fmt.Errorf("unknown command %q", c.Op)
}

func (w *worker) setUp(p *plan) error {
	if p == nil {
		return errors.New("a setup without a plan")
	}
	w.plan = *p
	for _, text := range p.Sources {
		ip := net.ParseIP(text)
		if ip == nil {
			return fmt.Errorf("source %q is not an IP address", text)
		}
		w.sources = append(w.sources, ip)
	}
	return nil
}

// progress starts telling the coordinator how far things are, until the returned function is called.
func (w *worker) progress() (stop func()) {
	ended := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
				w.tellProgress()
			}
		}
	})
	return func() {
		close(ended)
		ticking.Wait()
	}
}

// done tells how far things are, and that an operation is over.
func (w *worker) done() error {
	w.tellProgress()
	return w.events.write(event{Op: evDone})
}

func (w *worker) tellProgress() {
	_ = w.events.write(event{Op: evProgress, Clients: int(w.open.Load()), Messages: w.received.Load()})
}

// connect opens clients until there are count, several at a time and not faster than the rate.
func (w *worker) connect(ctx context.Context, count int) error {
	first := len(w.clients)
	for len(w.clients) < count {
		w.clients = append(w.clients, &slot{})
	}
	pace := newPace(w.plan.Rate)
	var next atomic.Int64
	next.Store(int64(first))
	var openers sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range min(w.plan.Concurrency, count-first) {
		openers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= count || !pace.wait(ctx) {
					return
				}
				if err := w.fill(ctx, i); exhausted(err) {
					cancel(err)
				}
			}
		})
	}
	openers.Wait()
	if err := context.Cause(ctx); exhausted(err) {
		return err
	}
	return nil
}

// exhausted reports whether this machine, not the server, is at an end.
func exhausted(err error) bool {
	var local *UnreachableError
	return errors.As(err, &local) && local.here()
}

// fill opens the client of a slot and counts what comes of it.
func (w *worker) fill(ctx context.Context, i int) error {
	err := w.fillSlot(ctx, i)
	if err != nil && ctx.Err() == nil {
		w.failed(err, &w.total.Failed)
	}
	return err
}

func (w *worker) fillSlot(ctx context.Context, i int) error {
	if p := w.plan.Drops; p != nil {
		d := &dropper{w: w, index: p.First + i, ended: make(chan error, 1)}
		if err := d.connect(ctx, time.Time{}); err != nil {
			return err
		}
		w.clients[i].dropper = d
		return nil
	}
	r := newReceiver(w)
	began := time.Now()
	client, err := w.dial(ctx, w.plan.node(i), i, w.plan.Room, r, nil)
	if err != nil {
		return err
	}
	w.connecting.add(i, time.Since(began))
	w.joined()
	w.clients[i].client, w.clients[i].receiver = client, r
	return nil
}

// failed counts a connection that did not come about; count is one of w.total.
func (w *worker) failed(err error, count *int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*count++
	w.reasonLocked("connect: " + reason(err))
}

// dial connects a client for the number i; s is its session, nil for none.
func (w *worker) dial(ctx context.Context, t *Target, i int, room string, h Handler, s *session) (*Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.plan.Timeout, fmt.Errorf("not done after %v", w.plan.Timeout))
	defer cancel()
	var source net.IP
	if len(w.sources) > 0 {
		source = w.sources[i%len(w.sources)]
	}
	return resume(ctx, t, source, room, i, h, s)
}

// reason is an error's text without the addresses of the one connection that it is about.
func reason(err error) string {
	text := err.Error()
	if op, ok := errors.AsType[*net.OpError](err); ok {
		text = strings.Replace(text, op.Error(), op.Op+": "+op.Err.Error(), 1)
	}
	return text
}

// reasonLocked counts why something went wrong; a server may word each case differently, so that there is a bound.
func (w *worker) reasonLocked(reason string) {
	if w.total.Reasons == nil {
		w.total.Reasons = make(map[string]int64)
	}
	if _, known := w.total.Reasons[reason]; !known && len(w.total.Reasons) >= maxReasons {
		reason = "other"
	}
	w.total.Reasons[reason]++
}

// opened counts a connection that has come about.
func (w *worker) opened() {
	w.open.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total.Opened++
}

// joined and left follow how many clients a broadcast has to reach.
func (w *worker) joined() {
	w.opened()
	w.live.mu.Lock()
	defer w.live.mu.Unlock()
	w.live.clients++
}

func (w *worker) left() {
	w.open.Add(-1)
	w.live.mu.Lock()
	defer w.live.mu.Unlock()
	w.live.clients--
	w.settleLocked()
}

// has notes that a client has all copies of a broadcast.
func (w *worker) has(number int64) {
	w.live.mu.Lock()
	defer w.live.mu.Unlock()
	w.live.pending[number]++
	w.settleLocked()
}

func (w *worker) settleLocked() {
	for number, clients := range w.live.pending {
		if clients < w.live.clients {
			continue
		}
		delete(w.live.pending, number)
		if number > w.live.newest {
			w.live.newest = number
			_ = w.events.write(event{Op: evReceived, Number: number})
		}
	}
}

// broadcast has the sender ask for a broadcast, and waits until the server says that it is made.
func (w *worker) broadcast(ctx context.Context, c command) error {
	if err := w.connectSender(ctx); err != nil {
		return err
	}
	return w.emit(w.sender, strconv.FormatInt(c.Number, 10), `["bcast",`+strconv.FormatInt(w.plan.Copies, 10)+`,`, c.Number, time.Now())
}

// ask sends an event through the sender, and tells when it is acknowledged.
func (w *worker) ask(ctx context.Context, args string, number int64) error {
	if err := w.connectSender(ctx); err != nil {
		return err
	}
	return w.sender.Emit([]byte("42" + strconv.FormatInt(number, 10) + args))
}

// connectSender connects the sender, a client in no room, if there is none yet.
func (w *worker) connectSender(ctx context.Context) error {
	if w.sender != nil {
		return nil
	}
	client, err := w.dial(ctx, &w.plan.Via, 0, "", senderHandler{w}, nil)
	if err != nil {
		return fmt.Errorf("connect the sender: %w", err)
	}
	w.sender = client
	return nil
}

// senderHandler listens to the client that asks for broadcasts.
type senderHandler struct{ w *worker }

func (h senderHandler) OnEvent(*Client, []byte) {}

func (h senderHandler) OnAck(_ *Client, id int, args []byte) {
	var answer []int64
	_ = json.Unmarshal(args, &answer) // most answers are no number
	_ = h.w.events.write(event{Op: evAcked, Number: int64(id), Answer: append(answer, 0)[0]})
}

func (h senderHandler) OnEnd(_ *Client, err error, closed bool) {
	if !closed {
		h.w.lost(err)
	}
}

func (w *worker) lost(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total.Lost++
	w.reasonLocked("lost: " + reason(err))
}

// report adds up what has been seen so far.
func (w *worker) report() (*report, error) {
	w.mu.Lock()
	sum := w.total
	sum.Reasons = nil
	sum.add(&report{Reasons: w.total.Reasons})
	w.mu.Unlock()
	for _, s := range w.clients {
		if s.receiver != nil {
			sum.add(s.receiver.report())
		}
		if s.dropper != nil {
			sum.add(s.dropper.report(w.due))
		}
	}
	sum.CPU = ownCPU()
	var errs []error
	for i, times := range []*latencies{&w.latency, &w.connecting, &w.resuming, &w.answering, &w.catching, &w.behind} {
		packed, err := packHistogram(times.take())
		*sum.times()[i] = packed
		errs = append(errs, err)
	}
	return &sum, errors.Join(errs...)
}

func (w *worker) cutAll() {
	for _, s := range w.clients {
		if s.client != nil {
			s.client.Cut()
		}
		if s.dropper != nil {
			s.dropper.cut()
		}
	}
	if w.sender != nil {
		w.sender.Cut()
	}
}

// pace spreads events evenly in time.
type pace struct {
	every time.Duration // 0 for no limit
	begin time.Time
	next  atomic.Int64
}

func newPace(rate float64) *pace {
	p := &pace{begin: time.Now()}
	if rate > 0 {
		p.every = time.Duration(float64(time.Second) / rate)
	}
	return p
}

// wait returns when the next event may happen; false if ctx has ended.
func (p *pace) wait(ctx context.Context) bool {
	if p.every > 0 {
		at := p.begin.Add(time.Duration(p.next.Add(1)-1) * p.every)
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}
