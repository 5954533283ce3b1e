package natsadapter

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

const (
	// entryBytes is how much goes into one entry, unless one broadcast alone is longer; entryList how many broadcasts.
	entryBytes = 256 << 10
	entryList  = 1000
	// entryOverhead is about what an entry has beside its bodies.
	entryOverhead = 512
	// writeAgain is the time until another try to write, breakEvery the least time between two breaks.
	writeAgain = 100 * time.Millisecond
	breakEvery = time.Second
)

// logWriter writes what this node broadcasts in a namespace to its log: one entry after the other, so that nothing overtakes anything when
// JetStream chooses another leader, and each with an id, so that an entry is stored once however often it is sent. What is broadcast
// meanwhile is in the next entry. What JetStream does not take for longer than an election lasts goes past the log, as all does without
// recovery, and so does what follows, until a break is in the log. Its goroutine exists while there is something to do.
type logWriter struct {
	// Static after construction.
	log *keptLog
	id  string // begins those of the entries

	// Guarded by mu, which is held while something is published past the log: it is to keep its order.
	mu       sync.Mutex
	waiting  outflow.Queue[*keptMessage]
	bytes    int
	running  bool      // there is the goroutine
	past     bool      // what is broadcast goes past the log
	asked    uint64    // how often a break was wanted
	done     uint64    // how many of these are in the log
	broke    time.Time // when the last one was written
	complain seldom.Counted

	number uint64 // of the last entry; owned by the goroutine
}

// keptMessage is a broadcast that waits.
type keptMessage struct {
	keptBody
	queued time.Time
	sent   func(adapter.Receipt) // may be nil
}

func (k *keptMessage) size() int { return overhead + len(k.body) }

// tell tells what has become of it.
func (k *keptMessage) tell(err error) {
	switch {
	case k.sent == nil:
	case err != nil:
		k.sent(adapter.Receipt{Err: unavailable(err), Receivers: -1})
	default:
		k.sent(adapter.Receipt{Receivers: -1})
	}
}

var errNotBegun = errors.New("the log has not been found yet")

func newLogWriter(l *keptLog) *logWriter { return &logWriter{log: l, id: rand.Text() + "-"} }

// put queues a broadcast. It does not block.
func (w *logWriter) put(body []byte, m *adapter.Message) error {
	hub := w.log.bus.hub
	k := &keptMessage{keptBody{m.Seq, body}, time.Now(), m.Sent}
	if err := hub.queue.fits(len(body)+entryOverhead, w.log.subject); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.past:
		return w.pastLocked(k)
	case w.bytes+k.size() > hub.opts.QueueLimit && w.bytes > 0:
		hub.stats.Drop(outflow.Full, 1)
		return adapter.ErrQueueFull
	}
	if !w.beginLocked() {
		hub.stats.Drop(outflow.Closed, 1)
		return unavailable(errClosed)
	}
	w.waiting.Push(k)
	w.bytes += k.size()
	return nil
}

// beginLocked sees to it that somebody writes. It reports false if the server closes.
func (w *logWriter) beginLocked() bool {
	if !w.running {
		w.running = w.log.jet.write(w.work)
	}
	return w.running
}

// pastLocked publishes a broadcast as it would be without a log.
func (w *logWriter) pastLocked(k *keptMessage) error {
	b := w.log.bus
	sent := func(r adapter.Receipt) {
		if r.Past = true; k.sent != nil {
			k.sent(r)
		}
	}
	return b.hub.publish(b.subjects.all, k.body, post{namespace: b.local.Name(), sent: sent})
}

// breakUp has a break written.
func (w *logWriter) breakUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	w.beginLocked()
}

// breaking reports whether a break is wanted that is not in the log.
func (w *logWriter) breaking() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked != w.done
}

// breaks is how many were wanted.
func (w *logWriter) breaks() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// work writes until nothing is left.
func (w *logWriter) work() {
	ctx := w.log.jet.ctx
	for {
		batch, breaks, wait := w.next()
		switch {
		case len(batch) > 0:
			w.write(ctx, batch)
		case breaks == 0:
			return
		case wait > 0:
			_ = pause(ctx, wait)
		case ctx.Err() == nil:
			w.writeBreak(ctx, breaks)
		}
		if ctx.Err() != nil {
			w.giveUp()
		}
	}
}

// next returns what is to be written: broadcasts, or a break after some time. breaks is how often that was wanted. If there is neither
// the goroutine is to end.
func (w *logWriter) next() (batch []*keptMessage, breaks uint64, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	size, most := 0, w.log.bus.hub.queue.most(entryBytes+entryOverhead)-entryOverhead
	for w.waiting.Len() > 0 && len(batch) < entryList {
		k := w.waiting.First()
		if size += k.size(); size > most && len(batch) > 0 {
			break
		}
		batch = append(batch, w.waiting.Pop())
		w.bytes -= k.size()
	}
	switch {
	case len(batch) > 0:
		return batch, 0, 0
	case w.asked != w.done:
		return nil, w.asked, time.Until(w.broke.Add(breakEvery))
	}
	w.running = false
	return nil, 0, 0
}

// write writes an entry, however long that takes, unless it becomes too old or there is no hope.
func (w *logWriter) write(ctx context.Context, batch []*keptMessage) {
	b := w.log.bus
	e := logEntry{kind: entryBroadcasts, from: b.id, list: make([]keptBody, len(batch))}
	for i, k := range batch {
		e.list[i] = k.keptBody
	}
	body, id := e.encode(), w.nextID()
	for began := time.Now(); ; {
		err := errNotBegun
		if w.log.begun.Load() { // else the node would not hear it
			_, err = w.log.jet.append(ctx, w.log.subject, body, id)
		}
		switch {
		case err == nil:
			b.hub.stats.Sent.Add(uint64(len(batch)))
			tellAll(batch, nil)
			return
		case ctx.Err() != nil:
			w.dropped(batch, outflow.Closed, errClosed)
			return
		case errors.Is(err, nats.ErrMaxPayload):
			w.dropped(batch, outflow.TooLarge, adapter.ErrTooLarge)
			return
		case time.Since(batch[0].queued) > b.hub.opts.QueueAge:
			w.dropped(batch, outflow.Stale, errTooOld)
			return
		case !b.hub.status.Is(Up): // nothing is sent at all
			began = time.Now()
		case w.log.jet.isOff() != nil, time.Since(began) > b.hub.opts.election:
			w.goPast(batch, err)
			return
		}
		_ = pause(ctx, writeAgain)
	}
}

func (w *logWriter) nextID() jetstream.PublishOpt {
	w.number++
	return jetstream.WithMsgID(w.id + strconv.FormatUint(w.number, 36))
}

func tellAll(batch []*keptMessage, err error) {
	for _, k := range batch {
		k.tell(err)
	}
}

// dropped counts and ends what was not written.
func (w *logWriter) dropped(batch []*keptMessage, reason string, err error) {
	hub := w.log.bus.hub
	hub.stats.Drop(reason, len(batch))
	if reason == outflow.Stale {
		hub.queue.losses.Add(reason, len(batch))
	}
	tellAll(batch, err)
}

// goPast sends what the log does not take, and all that follows, past it.
func (w *logWriter) goPast(batch []*keptMessage, reason error) {
	if held, ok := w.complain.Pass(time.Minute); ok && w.log.jet.isOff() == nil { // else that was told
		w.log.bus.hub.opts.Logger.Warn("jetstream takes no broadcasts: they are sent past the log, and clients that come back start anew",
			"namespace", w.log.bus.local.Name(), "error", reason, "notLogged", held)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.past = true
	w.asked++
	w.bytes = 0
	for _, k := range append(batch, w.waiting.TakeAll()...) {
		if err := w.pastLocked(k); err != nil {
			k.tell(err)
		}
	}
}

// writeBreak writes a break. What is broadcast then goes to the log again.
func (w *logWriter) writeBreak(ctx context.Context, breaks uint64) {
	e := logEntry{kind: entryBreak, from: w.log.bus.id}
	_, err := w.log.jet.append(ctx, w.log.subject, e.encode(), w.nextID())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broke = time.Now() // also of one that has failed
	if err == nil {
		w.done, w.past = breaks, false
	}
}

// giveUp ends what is left when the server has closed.
func (w *logWriter) giveUp() {
	w.mu.Lock()
	list := w.waiting.TakeAll()
	w.bytes, w.done = 0, w.asked
	w.mu.Unlock()
	w.dropped(list, outflow.Closed, errClosed)
}

// figures returns what waits.
func (w *logWriter) figures() (messages, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting.Len(), w.bytes
}
