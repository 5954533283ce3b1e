package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

const (
	lookEvery  = 100 * time.Millisecond
	probeEvery = 500 * time.Millisecond
)

// monitor finds out whether the hub works and tells the status.
type monitor struct {
	// Static after construction.
	servers *servers
	sub     *subscriber
	pub     *publisher
	status  *brokerstate.Status
	crowd   crowd
	wake    chan struct{} // capacity 1
	probed  chan struct{} // capacity 1

	refused   sync.Once // says that the user may not PING
	probing   atomic.Bool
	uncounted atomic.Pointer[link] // a connection whose subscription Redis did not count
	counted   atomic.Bool          // Redis has counted a subscription of every connection since the last trouble
}

func newMonitor(servers *servers, status *brokerstate.Status) *monitor {
	return &monitor{servers: servers, status: status, wake: make(chan struct{}, 1), probed: make(chan struct{}, 1)}
}

// poke makes run ask the servers now.
func (m *monitor) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// changed is called when the connections with subscriptions are not what they were.
func (m *monitor) changed() {
	m.look()
	m.poke()
}

// run looks at everything until ctx ends.
func (m *monitor) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var probed time.Time
	down := 0 // probes in a row while not up
	for now := true; ; {
		every := probeEvery
		if !m.status.Is(Up) {
			every = min(backOff(down+2), probeEvery)
		}
		if (now || time.Since(probed) >= every) && m.probing.CompareAndSwap(false, true) {
			now = false
			probed = time.Now()
			if down++; m.status.Is(Up) {
				down = 0
			}
			wg.Go(func() {
				m.probe(ctx)
				m.probing.Store(false)
				select {
				case m.probed <- struct{}{}:
				default:
				}
			})
		}
		m.look()
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			now = true
		case <-m.probed:
		case <-look.C:
		}
	}
}

// look decides on the state from what is known.
func (m *monitor) look() {
	now := time.Now()
	oldest, oldestProbe := now.Add(-m.servers.answer).UnixNano(), now.Add(-m.servers.connecting()).UnixNano()
	var down error
	var some, anyDown bool
	for _, n := range m.servers.masters() {
		busy, probing := n.busy.Load(), n.probing.Load()
		if busy != 0 && busy < oldest || probing != 0 && probing < oldestProbe {
			n.failed(errNoAnswer)
		}
		err := n.trouble()
		anyDown = anyDown || err != nil
		if !m.watched(n, now) {
			continue
		}
		some = true
		if err != nil && down == nil {
			down = fmt.Errorf("redis at %s: %w", n.addr, n.explained(err))
		}
	}
	if err := m.servers.failure(); err != nil {
		anyDown, down = true, err
	}
	m.servers.anyDown.Store(anyDown)
	if down == nil {
		down = m.pub.refusal()
	}
	switch placed := m.unplaced(); {
	case down != nil:
		m.counted.Store(false)
		m.status.Set(m, Down, down)
	case placed != nil:
		m.counted.Store(false)
		if !m.status.Is(Starting) || !errors.Is(placed, errUnsettled) {
			m.status.Set(m, Down, placed)
		}
	case m.uncounted.Load() != nil:
		m.status.Set(m, Down, errNotCounted)
	case some && m.counted.Load():
		m.status.Set(m, Up, nil)
	}
}

// unplaced says what is wrong with the subscriptions. While all was well before, new ones may take a moment.
func (m *monitor) unplaced() error {
	err := m.sub.inPlace()
	if errors.Is(err, errUnsettled) && m.status.Is(Up) {
		return nil
	}
	return err
}

// watched reports whether the state depends on a server.
func (m *monitor) watched(n *node, now time.Time) bool {
	return m.servers.single == n || now.UnixNano()-n.used.Load() < int64(usedWithin)
}

// probe asks each server that matters for a sign of life, and whether it counts our subscriptions.
func (m *monitor) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.servers.connecting())
	defer cancel()
	if m.status.Is(Down) || m.servers.masters() == nil {
		_ = m.servers.reload(ctx)
	}
	if n, err := m.servers.any(ctx); err == nil {
		n.used.Store(time.Now().UnixNano())
	}
	links := m.sub.active()
	for _, l := range links {
		l.to.used.Store(time.Now().UnixNano())
	}
	placed := m.unplaced() == nil
	var wg sync.WaitGroup
	var failed atomic.Bool
	var lost atomic.Pointer[link]
	for n, own := range m.suspects(links) {
		wg.Go(func() {
			counted, err := m.ask(ctx, n, own)
			if err != nil {
				failed.Store(true)
			} else if !counted && placed {
				lost.Store(own)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	l := lost.Load()
	if l != nil && m.uncounted.Swap(l) == l {
		l.restart(errNotCounted)
	}
	if l == nil {
		m.uncounted.Store(nil)
		m.counted.Store(placed && !failed.Load())
	}
	m.look()
}

// suspects returns the servers to ask, each with our connection with subscriptions there or nil: the masters that are
// watched, and what was a master when a connection was made.
func (m *monitor) suspects(links []*link) map[*node]*link {
	all := make(map[*node]*link)
	for _, n := range m.servers.masters() {
		if m.watched(n, time.Now()) {
			all[n] = nil
		}
	}
	for _, l := range links {
		all[l.to] = l
	}
	return all
}

// ask asks one server. l is our connection with subscriptions there, or nil. A master of a Redis Cluster that has become a
// replica goes on serving them, but others count the subscriptions of the new master.
func (m *monitor) ask(ctx context.Context, n *node, l *link) (counted bool, err error) {
	n.probing.Store(time.Now().UnixNano())
	defer n.probing.Store(0)
	pipe := n.rdb.Pipeline()
	ping := pipe.Ping(ctx)
	var numSub *redis.MapStringIntCmd
	sp, names := m.sub.sample(l)
	if len(names) > 0 {
		numSub = countListeners(ctx, pipe, sp, names)
	}
	role := redis.NewSliceCmd(ctx, "role")
	if l != nil && m.servers.cluster != nil {
		_ = pipe.Process(ctx, role)
	}
	began := time.Now()
	_, _ = pipe.Exec(ctx)
	if time.Since(began) > m.servers.answer { // go-redis has tried another connection
		m.pub.renew(n)
	}
	if err := ping.Err(); err != nil && !m.mayNotPing(err) {
		n.failed(err)
		m.pub.renew(n)
		return false, err
	}
	n.answered()
	if answer := role.Val(); len(answer) > 0 && answer[0] == "slave" {
		return false, nil
	}
	if numSub == nil || numSub.Err() != nil {
		return true, nil
	}
	for _, count := range numSub.Val() {
		if count == 0 {
			return false, nil
		}
	}
	if m.status.Is(Up) {
		m.crowd.saw(numSub.Val())
	}
	return true, nil
}

// mayNotPing reports whether Redis has only refused the PING to this user: that is an answer, too.
func (m *monitor) mayNotPing(err error) bool {
	if !isReply(err) || trouble(err) != "noperm" {
		return false
	}
	m.refused.Do(func() {
		m.sub.opts.Logger.Warn("redis does not let this user PING; its refusal counts as a sign of life, +ping in the ACL rules ends this warning", "error", err)
	})
	return true
}
