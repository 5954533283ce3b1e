package natsadapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
	"github.com/sockeye-io/sockeye/internal/memoryusers"
)

const (
	// beaconEvery is how often a keeper is heard, keeperSilent how long it may be silent.
	beaconEvery  = 500 * time.Millisecond
	keeperSilent = 3 * time.Second
	// chooseWithin is how long those who would keep wait for each other, candidateFor how long one counts.
	chooseWithin = 500 * time.Millisecond
	candidateFor = 2 * time.Second
)

// userSubjects are those of the stores.
type userSubjects struct{ prefix string }

func (s userSubjects) beacons() string         { return s.prefix + ".users.beacon" }
func (s userSubjects) keeper(id string) string { return s.prefix + ".users.keeper." + token(id) }
func (s userSubjects) inbox() string           { return s.prefix + ".users.inbox" }
func (s userSubjects) notes() string           { return s.prefix + ".users.notes" }

// keeping knows which store keeps the users of the cluster, and keeps them if it is this one. A goroutine does what is due; nats.go has
// one for each of three subscriptions. All methods may be called concurrently.
type keeping struct {
	// Static after construction.
	id       string
	opts     Options
	subjects userSubjects
	ctx      context.Context // ends with close
	cancel   context.CancelFunc
	done     chan struct{}
	wake     chan struct{} // capacity 1; there may be something to do
	guest    bool          // it never keeps
	notes    *notebook

	urls []string // of servers that others have told of; only for run

	// Guarded by mu.
	mu         sync.Mutex
	nc         *nats.Conn         // nil while there is none
	away       error              // why there is none, if that is known
	now        beacon             // the keeper; the zero value if there is none
	heard      time.Time          // when the keeper was last heard; of this store, when it last did what is due
	users      *memoryusers.Store // nil unless this store is the keeper
	candidates map[string]time.Time
	choose     time.Time     // when to look at the candidates; zero while nobody is being chosen
	latest     time.Time     // since when the keeper has kept that began last, of all that are known
	newcomer   bool          // a candidate is new, and may not have heard of this one
	changed    chan struct{} // closed with the next change, nil if nobody waits for it
}

// newKeeping makes a store, for run.
func newKeeping(opts Options) *keeping {
	k := &keeping{
		id: string(adapter.NewNodeID()), opts: opts, subjects: userSubjects{opts.Prefix}, done: make(chan struct{}), wake: make(chan struct{}, 1),
		candidates: make(map[string]time.Time), notes: newNotebook(),
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// close says good-bye, so that the others choose another keeper at once.
func (k *keeping) close() {
	k.mu.Lock()
	nc, keeps := k.nc, k.users != nil
	k.mu.Unlock()
	if body, err := json.Marshal(beacon{ID: k.id, Gone: true}); err == nil && nc != nil && keeps && k.ctx.Err() == nil {
		_ = nc.Publish(k.subjects.beacons(), body)
		_ = nc.FlushTimeout(outflow.CloseWithin)
	}
	k.cancel()
	<-k.done
}

// run connects, and connects again, until close.
func (k *keeping) run() {
	defer close(k.done)
	for k.ctx.Err() == nil {
		ended, err := k.connect()
		if err == nil {
			k.work(ended)
		}
		k.disconnect(err)
		timer := time.NewTimer(firstPause)
		if err != nil {
			timer.Reset(lastPause / 2)
		}
		select {
		case <-timer.C:
		case <-k.ctx.Done():
			timer.Stop()
		}
	}
}

// connect makes a connection. The channel is closed when that has ended. As in a hub, nats.go does not make it anew.
func (k *keeping) connect() (ended <-chan struct{}, err error) {
	c, err := k.opts.connection()
	if err != nil {
		return nil, err
	}
	for _, url := range k.urls {
		if !slices.Contains(c.Servers, url) {
			c.Servers = append(slices.Clone(c.Servers), url)
		}
	}
	over := make(chan struct{})
	d := &dialer{ctx: k.ctx, timeout: k.opts.AnswerTimeout, custom: c.CustomDialer, plain: c.Dialer}
	c.CustomDialer, c.Dialer = d, nil
	c.Name, c.InboxPrefix = "sockeye users "+k.id, k.subjects.inbox()
	c.AllowReconnect, c.RetryOnFailedConnect, c.ReconnectOnFlusherError = false, false, true
	c.Timeout, c.FlusherTimeout = k.opts.AnswerTimeout, k.opts.AnswerTimeout
	c.PingInterval, c.MaxPingsOut = k.opts.AnswerTimeout/3, 2
	c.DisconnectedErrCB, c.DisconnectedCB, c.ConnectedCB, c.ReconnectedCB, c.ReconnectErrCB = nil, nil, nil, nil, nil
	c.LameDuckModeHandler, c.DiscoveredServersCB = nil, nil
	c.ClosedCB = func(*nats.Conn) { close(over) }
	c.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) {
		k.opts.Logger.Warn("nats reports trouble with the user store", "error", err)
	}
	nc, err := c.Connect()
	if err != nil {
		d.abort()
		return nil, err
	}
	d.connected()
	k.urls = withDiscovered(k.urls, nc)
	_, err = nc.Subscribe(k.subjects.beacons(), k.hear)
	if err == nil {
		_, err = nc.Subscribe(k.subjects.keeper(k.id), k.serve)
	}
	if err == nil {
		_, err = nc.Subscribe(k.subjects.notes(), k.hearNotes)
	}
	if err == nil {
		err = nc.FlushTimeout(k.opts.AnswerTimeout)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	k.mu.Lock()
	k.nc, k.away = nc, nil
	k.changedLocked() // the keeper may have been heard before
	k.mu.Unlock()
	return over, nil
}

// disconnect forgets a connection that has ended. A keeper that loses NATS keeps nothing: the others choose another one.
func (k *keeping) disconnect(why error) {
	k.mu.Lock()
	nc := k.nc
	k.nc, k.away, k.choose = nil, why, time.Time{}
	k.followLocked(beacon{}, "the connection to nats has ended")
	clear(k.candidates)
	k.mu.Unlock()
	if nc != nil {
		nc.Close()
	}
}

// work does what is due while there is a connection.
func (k *keeping) work(ended <-chan struct{}) {
	for {
		wait := k.turn(time.Now())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-k.wake:
		case <-ended:
			timer.Stop()
			return
		case <-k.ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// turn does what is due, and returns when it is to be called again.
func (k *keeping) turn(now time.Time) (wait time.Duration) {
	k.mu.Lock()
	say, speaks := k.dueLocked(now)
	nc := k.nc
	wait = beaconEvery
	if !k.choose.IsZero() {
		wait = max(time.Until(k.choose), time.Millisecond)
	}
	k.mu.Unlock()
	if speaks && nc != nil {
		if body, err := json.Marshal(say); err == nil {
			_ = nc.Publish(k.subjects.beacons(), body) // if it fails, the connection ends
		}
	}
	return wait
}

// dueLocked does what is due, and returns what is to be said.
func (k *keeping) dueLocked(now time.Time) (say beacon, speaks bool) {
	k.looksLocked(now)
	switch {
	case k.users != nil:
		k.heard = now
		return k.now, true
	case k.now.ID != "" || k.guest:
		return beacon{}, false
	case k.choose.IsZero():
	case now.Before(k.choose):
		again := k.newcomer
		k.newcomer = false
		return beacon{ID: k.id}, again
	case k.firstLocked(now):
		k.keepLocked(now)
		return k.now, true
	}
	k.choose = now.Add(chooseWithin)
	k.candidates[k.id] = now
	return beacon{ID: k.id}, true
}

// looksLocked gives a keeper up that is silent. A keeper that was frozen is silent, too: others may have chosen another one.
func (k *keeping) looksLocked(now time.Time) {
	switch {
	case k.now.ID == "" || now.Sub(k.heard) <= keeperSilent:
	case k.users != nil:
		k.followLocked(beacon{}, "this node stood still")
	default:
		k.followLocked(beacon{}, "the keeper is silent")
	}
}

// firstLocked reports whether this store is the one of the candidates that begins to keep.
func (k *keeping) firstLocked(now time.Time) bool {
	maps.DeleteFunc(k.candidates, func(_ string, at time.Time) bool { return now.Sub(at) > candidateFor })
	k.candidates[k.id] = now
	return slices.Min(slices.Collect(maps.Keys(k.candidates))) == k.id
}

// keepLocked makes this store the keeper.
func (k *keeping) keepLocked(now time.Time) {
	k.users, k.now, k.heard, k.choose = memoryusers.New(), beacon{ID: k.id, Since: k.sinceLocked(now)}, now, time.Time{}
	clear(k.candidates)
	k.changedLocked()
	k.opts.Logger.Info("this node keeps the users of the cluster", "store", k.id)
}

// sinceLocked returns the beginning of a new keeper, which follows all that were before it, whatever their clocks showed.
func (k *keeping) sinceLocked(now time.Time) time.Time {
	since := now.Round(0)
	if first := k.latest.Add(time.Millisecond); since.Before(first) {
		since = first
	}
	k.noteSinceLocked(since)
	return since
}

func (k *keeping) noteSinceLocked(since time.Time) {
	if since.After(k.latest) {
		k.latest = since
	}
}

// followLocked takes another store for the keeper, or none.
func (k *keeping) followLocked(b beacon, why string) {
	if k.users != nil {
		k.opts.Logger.Info("this node does not keep the users of the cluster any more", "store", k.id, "reason", why)
	}
	if k.now.ID != b.ID {
		k.changedLocked()
	}
	k.users, k.now = nil, b
	k.noteSinceLocked(b.Since)
	if b.ID != "" {
		k.choose = time.Time{}
	}
}

func (k *keeping) changedLocked() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

func (k *keeping) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// hear takes what stores say to each other.
func (k *keeping) hear(m *nats.Msg) {
	b, ok := readBeacon(m.Data)
	if !ok || b.ID == k.id {
		return
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case b.Gone:
		delete(k.candidates, b.ID)
		if k.now.ID == b.ID {
			k.followLocked(beacon{}, "")
			k.poke()
		}
	case b.Since.IsZero(): // it would keep: the keeper is heard at once, or others would keep as well
		if _, known := k.candidates[b.ID]; !known {
			k.newcomer = true
		}
		if len(k.candidates) < maxPeers {
			k.candidates[b.ID] = now
		}
		if k.users != nil || k.now.ID == "" {
			k.poke()
		}
	case b.ID == k.now.ID && k.users == nil || k.now.ID == "" || b.follows(k.now):
		k.followLocked(b, "another node does")
		k.heard = now
	}
}

// gone notes that a keeper is none any more, so that another one is chosen.
func (k *keeping) gone(keeper string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now.ID == keeper && keeper != k.id {
		k.followLocked(beacon{}, "")
		k.poke()
	}
}

// keeper returns who keeps the users, as soon as somebody does.
func (k *keeping) keeper(ctx context.Context) (nc *nats.Conn, id string, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, "", fmt.Errorf("find out who keeps the users: %w", errors.Join(err, k.reason()))
		}
		k.mu.Lock()
		nc, id = k.nc, k.now.ID
		if nc != nil && id != "" {
			k.mu.Unlock()
			return nc, id, nil
		}
		if k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed := k.changed
		k.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-k.ctx.Done():
			return nil, "", adapter.ErrClosed
		}
	}
}

// reason returns why there is no connection, nil if there is one or if that is not known.
func (k *keeping) reason() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.away
}

// serve answers a question of another store.
func (k *keeping) serve(m *nats.Msg) {
	q, err := readUserQuestion(m.Data)
	var a userAnswer
	if err != nil {
		a.Error = err.Error()
	} else {
		a = k.answer(q)
	}
	body, err := json.Marshal(a)
	if err != nil {
		return
	}
	k.mu.Lock()
	nc := k.nc
	k.mu.Unlock()
	if nc == nil {
		return
	}
	if int64(len(body)) > nc.MaxPayload() {
		body = []byte(`{"large":true}`)
	}
	if m.Reply != "" {
		_ = nc.Publish(m.Reply, body) // who asked asks again
	}
}

// answer answers a question that was checked.
func (k *keeping) answer(q userQuestion) (a userAnswer) {
	k.mu.Lock()
	k.looksLocked(time.Now())
	users, size := k.users, int64(maxUserQuestion)
	if k.nc != nil {
		size = min(size, k.nc.MaxPayload()/2) // which leaves room for the answer's form
	}
	k.mu.Unlock()
	if users == nil {
		return userAnswer{Not: true}
	}
	var err error
	ctx := context.Background()
	switch q.Do {
	case doApply:
		a.Outcomes, err = users.Apply(ctx, q.Namespace, q.changes())
	case doLookup:
		a.Entry, err = users.Lookup(ctx, q.Namespace, string(q.User))
	case doEnrol:
		a.Epoch, err = users.Enrol(ctx, q.Namespace, q.Life, q.Node)
	case doRoll:
		a.Lives, a.Epoch, err = users.Roll(ctx, q.Namespace)
	case doClaim:
		a.OK, err = users.Claim(ctx, q.Namespace, q.Life, q.By, time.Duration(q.For))
	case doHeld:
		for _, user := range users.Held(q.Namespace, q.Life, int(size)) {
			a.Users = append(a.Users, []byte(user))
		}
	case doNote:
		err = k.keepNotes(q.Notes)
	case doNotes:
		if q.By != k.id {
			q.From = 0
		}
		k.notes.place(time.Now())
		a.Keeper = k.id
		a.Notes, a.Next = k.notes.after(q.From, int(size))
	case doStrike:
		users.Strike(q.Namespace, q.Life)
	default:
		a.Error = fmt.Sprintf("unknown question %q", q.Do)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}
