package natsadapter

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
	// lasting is how long a connection must have worked for the next one to be tried at once.
	lasting = 5 * time.Second
)

// hub is everything that one server has open to NATS, from its start to its close: one connection after the other. All methods may
// be called concurrently; none blocks but those that take a context.
//
// Lock order: roomSubjects.mu > subscriptions.mu; hub.mu > the state's; the others are leaves.
type hub struct {
	// Static after construction.
	opts     Options
	stats    *counters
	subjects subjects
	status   *brokerstate.Status
	queue    *queue
	subs     *subscriptions
	peers    *peers
	jet      *jetStream
	ctx      context.Context // ends when nothing is sent any more
	cancel   context.CancelFunc
	sent     chan struct{} // closed when nothing is sent any more
	done     sync.WaitGroup

	former []string // subjects of connections that NATS may still have; owned by the hub's goroutine

	overruns atomic.Uint64 // how often more came than could be sorted

	// Guarded by mu.
	mu       sync.Mutex
	started  bool
	open     *session // the connection, if there is one
	now      *session // the same, once its subscriptions are confirmed
	away     error    // why there is none; nil at the beginning
	server   string   // where we are connected, or were
	sessions int      // that have begun
	urls     []string // of servers that others have told of
}

func newHub(id adapter.NodeID, opts Options, stats *counters) *hub {
	h := &hub{
		opts: opts, stats: stats, subjects: subjects{opts.Prefix, id}, status: newStatus(opts), queue: newQueue(opts, stats),
		peers: newPeers(), sent: make(chan struct{}),
	}
	h.subs = newSubscriptions(h.queue.poke)
	h.jet = newJetStream(h)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// start begins to connect.
func (h *hub) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started = true
	h.status.Own(h)
	h.done.Go(h.run)
	h.done.Go(h.keep)
}

// close ends the hub: what is queued is still written if NATS takes it within a second, all else ends.
func (h *hub) close() {
	h.status.Own(nil) // first: that the connection ends now is no trouble
	h.jet.close()
	h.queue.close()
	h.mu.Lock()
	open, connected, started := h.open, h.now != nil, h.started
	h.mu.Unlock()
	if !connected {
		h.cancel()
		if open != nil {
			open.end(errClosed)
		}
	}
	if started {
		select {
		case <-h.sent:
		case <-time.After(outflow.CloseWithin):
		}
	}
	h.cancel()
	h.done.Wait()
}

// run connects, and connects again, until close.
func (h *hub) run() {
	defer h.queue.forget()
	defer close(h.sent)
	for failures := 0; h.ctx.Err() == nil && !h.queue.over(); {
		s, err := h.connect()
		if err == nil {
			began := time.Now()
			s.run()
			if time.Since(began) > lasting {
				failures = 0
			}
		} else {
			h.lost(nil, err)
		}
		failures++
		h.pause(failures)
	}
}

// pause waits before another try, ever longer.
func (h *hub) pause(failures int) {
	wait := min(firstPause<<min(failures, 10), lastPause)
	timer := time.NewTimer(wait/2 + rand.N(wait))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.ctx.Done():
	}
}

// keep drops what is too old, tries what was refused again, and finds out when nothing that is needed is refused any more.
func (h *hub) keep() {
	look := time.NewTicker(outflow.LookAfter)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-h.ctx.Done():
			return
		}
		now := time.Now()
		h.subs.retry(now)
		h.queue.dropOld(now)
		h.review()
	}
}

// begin notes that a connection is open, and returns how many there have been.
func (h *hub) begin(s *session) (n int) {
	subscriptions := h.subs.begin()
	h.queue.limit(s.nc.MaxPayload())
	h.mu.Lock()
	h.open, h.server = s, s.nc.ConnectedServerId()
	h.sessions++
	n = h.sessions
	h.mu.Unlock()
	if n > 1 {
		h.stats.Reconnects.Add(1)
		h.stats.resubscribed.Add(uint64(subscriptions))
	}
	return n
}

// begun notes that its subscriptions are confirmed.
func (h *hub) begun(s *session) {
	h.mu.Lock()
	if h.open == s {
		h.now, h.away = s, nil
	}
	h.mu.Unlock()
	h.review()
}

// session returns the connection, nil if there is none.
func (h *hub) session() *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// review finds out about the state while a connection is open.
func (h *hub) review() {
	refusal := cmp.Or(h.subs.refusal(), h.queue.refusal())
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.now == nil:
	case refusal != nil:
		h.downLocked(refusal)
	default:
		h.status.Set(h, Up, nil)
	}
}

// lost notes that a session has ended, nil is one that did not begin.
func (h *hub) lost(s *session, err error) {
	if h.queue.ending() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == s {
		h.open, h.now, h.away = nil, nil, err
		h.downLocked(err)
	}
}

func (h *hub) downLocked(err error) {
	if state, _ := h.status.Current(); state != Down {
		h.stats.losses.Add(1)
	}
	h.status.Set(h, Down, err)
}

// losses counts how often messages for this server may have been lost.
func (h *hub) losses() uint64 { return h.status.Downs() + h.overruns.Load() }

// reason returns why NATS cannot be reached, nil if it can or if that is not known yet.
func (h *hub) reason() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.away
}

// at returns the server of NATS that this one is connected to, or was; "" if there was none yet.
func (h *hub) at() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.server
}

// publish queues a message. The error wraps adapter.ErrClusterUnavailable: the message is not sent then.
func (h *hub) publish(subject string, body []byte, how post) error {
	return h.queue.put(&outgoing{post: how, subject: subject, body: body, queued: time.Now()}, h.reason())
}

// ready waits until everything that is wanted is subscribed, and returns why not when ctx ends first.
func (h *hub) ready(ctx context.Context) error {
	if err := h.status.WaitUp(ctx); err != nil {
		return err
	}
	return h.subs.wait(ctx, nil)
}

// unheard returns those of some nodes whose inbox nobody reads.
func (h *hub) unheard(ctx context.Context, ids []adapter.NodeID) (absent []adapter.NodeID, err error) {
	if !h.status.Is(Up) {
		return nil, adapter.ErrClusterUnavailable
	}
	type answer struct {
		id      adapter.NodeID
		receipt adapter.Receipt
	}
	answers := make(chan answer, len(ids))
	asked := 0
	for _, id := range ids {
		told := func(r adapter.Receipt) { answers <- answer{id, r} }
		if err := h.publish(h.subjects.inbox(id), nil, post{passing: true, single: true, sent: told}); err != nil {
			return nil, err
		}
		asked++
	}
	for range asked {
		select {
		case a := <-answers:
			if a.receipt.Err != nil {
				return nil, a.receipt.Err
			}
			if a.receipt.Receivers == 0 {
				absent = append(absent, a.id)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("ask nats: %w", ctx.Err())
		}
	}
	h.peers.forget(absent)
	return absent, nil
}
