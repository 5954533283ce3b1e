package redisadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

const (
	// namesPerCommand is how many channels one SUBSCRIBE names at most.
	namesPerCommand = 512
	// pingEvery is how often a connection is looked at, and pinged if nothing came.
	pingEvery = 500 * time.Millisecond
	// backOffFrom and backOffTo bound the time between two attempts to connect.
	backOffFrom = 20 * time.Millisecond
	backOffTo   = time.Second
)

// backOff returns how long to wait after so many failures in a row, with jitter of a quarter.
func backOff(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	wait := min(backOffFrom<<min(failures-1, 10), backOffTo)
	return wait - rand.N(wait/4+1)
}

// ended is a context that has ended. go-redis makes a new connection inside Receive when the old one breaks, and asks there
// for all channels in one command; with this context it cannot. It reads and writes all the same.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// link is one connection with subscriptions. It ends for good at the first error of the connection.
type link struct {
	// Static after construction.
	sub  *subscriber
	to   *node
	wake chan struct{} // capacity 1
	kick chan error    // capacity 1; ends the connection
	made time.Time

	fresh atomic.Bool  // something was read since silent looked
	heard atomic.Int64 // when silent last saw that, Unix nanoseconds

	// Guarded by sub.mu.
	todo     []*channel
	count    int     // channels placed here
	replies  []reply // outstanding, in the order of their commands
	live     bool    // Redis has answered on it
	caughtUp bool    // the replies to the first commands have come
}

// reply is what Redis owes for one command: an answer for each channel, or one error.
type reply struct {
	kind  replyKind
	space space
	names []*channel
	first bool // the last of the commands that the connection began with
	at    time.Time
}

type replyKind uint8

const (
	replyPong replyKind = iota
	replySubscribed
	replyUnsubscribed
)

func newLink(s *subscriber, to *node) *link {
	return &link{sub: s, to: to, wake: make(chan struct{}, 1), kick: make(chan error, 1), made: time.Now()}
}

func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// restart ends the connection, so that a new one is made.
func (l *link) restart(reason error) {
	select {
	case l.kick <- reason:
	default:
	}
}

// run is the life of the connection: it connects, sends commands and watches that they are answered.
func (l *link) run(ctx context.Context) {
	s := l.sub
	s.mu.Lock()
	failures := s.failures[l.to]
	s.mu.Unlock()
	err := brokerstate.Pause(ctx, backOff(failures))
	begun := time.Now()
	if err == nil {
		err = l.serve(ctx)
	}
	if ctx.Err() == nil {
		s.opts.Logger.Debug("redis subscription connection ended", "server", l.to.addr, "error", err)
	}

	s.mu.Lock()
	if time.Since(begun) > 2*time.Second && l.caughtUp || errors.Is(err, errIdle) {
		delete(s.failures, l.to)
	} else {
		s.failures[l.to]++
	}
	if !errors.Is(err, errIdle) {
		s.problem = fmt.Errorf("redis subscriptions at %s: %w", l.to.addr, l.to.explained(err))
		s.stats.Reconnects.Add(1)
	}
	l.live = false
	if ctx.Err() == nil {
		s.dropLocked(l)
	}
	s.mu.Unlock()
	if !l.caughtUp {
		s.servers.leave(l.to)
	}
	s.mon.pub.renew(l.to)
	s.mon.changed()
}

var errIdle = errors.New("no channel is left on the connection")

func (l *link) serve(ctx context.Context) error {
	ps := l.to.rdb.Subscribe(ctx)
	defer ps.Close()
	if err := l.connect(ctx, ps); err != nil {
		return err
	}
	gone := make(chan error, 1)
	go func() { gone <- l.read(ps) }()
	err := l.write(ctx, ps, gone)
	_ = ps.Close()
	<-gone
	return err
}

// connect makes the connection and names it, which is also its first sign of life.
func (l *link) connect(ctx context.Context, ps *redis.PubSub) error {
	ctx, cancel := context.WithTimeout(ctx, l.sub.servers.connecting())
	defer cancel()
	name := l.to.rdb.Options().ClientName
	if name == "" {
		name = "sockeye"
	}
	if err := ps.ClientSetName(ctx, name+":subscriber"); err != nil {
		return err
	}
	l.heard.Store(time.Now().UnixNano()) // to connect takes answers too, which are not read here
	l.expect(reply{kind: replyPong})
	return nil
}

func (l *link) expect(r reply) {
	r.at = time.Now()
	l.sub.mu.Lock()
	l.replies = append(l.replies, r)
	l.sub.mu.Unlock()
}

// write sends what has gathered until the connection ends. It leaves a value in gone if the reader has ended.
func (l *link) write(ctx context.Context, ps *redis.PubSub, gone chan error) error {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	if err := l.flush(ps, true); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case err = <-l.kick:
		case err = <-gone:
			gone <- err
		case <-l.wake:
			err = l.flush(ps, false)
		case <-tick.C:
			err = l.check(ps)
		}
		if err != nil {
			return err
		}
	}
}

// check finds out whether the connection still works, and whether it is still needed.
func (l *link) check(ps *redis.PubSub) error {
	now := time.Now()
	l.sub.mu.Lock()
	owed := len(l.replies) > 0
	overdue := owed && now.Sub(l.replies[0].at) > l.sub.servers.answer
	silent := l.silent(now)
	idle := l.count == 0 && l.sub.servers.cluster != nil
	l.sub.mu.Unlock()
	switch {
	case idle:
		return errIdle
	case overdue && silent > l.sub.servers.answer:
		return errNoAnswer
	case !owed && silent >= pingEvery:
		l.expect(reply{kind: replyPong})
		return ps.Ping(ended)
	}
	return nil
}

// silent returns for how long nothing was read, as far as it was looked. So the reader need not ask for the time.
func (l *link) silent(now time.Time) time.Duration {
	if l.fresh.Swap(false) {
		l.heard.Store(now.UnixNano())
		return 0
	}
	return time.Duration(now.UnixNano() - l.heard.Load())
}

// flush sends the commands for the channels that have changed.
func (l *link) flush(ps *redis.PubSub, first bool) error {
	s := l.sub
	now := time.Now()
	s.mu.Lock()
	var on, off [3][]*channel
	for _, c := range l.todo {
		if c.link != l {
			continue
		}
		c.queued = false
		switch {
		case c.wanted() && !c.sent:
			on[c.space] = append(on[c.space], c)
		case !c.wanted() && c.sent:
			off[c.space] = append(off[c.space], c)
		case !c.wanted() && c.pending == 0:
			s.forgetLocked(c)
			continue
		default:
			continue
		}
		c.sent = c.wanted()
		c.pending++
	}
	clear(l.todo)
	l.todo = l.todo[:0]
	var commands []reply
	for _, sp := range []space{pattern, plain, shard} {
		commonLast(on[sp])
		commands = l.split(commands, replyUnsubscribed, sp, off[sp])
		commands = l.split(commands, replySubscribed, sp, on[sp])
	}
	for i := range commands {
		commands[i].at = now
	}
	if first && len(commands) > 0 {
		commands[len(commands)-1].first = true
	} else if first {
		l.caughtUp = true
		s.mon.poke()
	}
	l.replies = append(l.replies, commands...)
	s.mu.Unlock()
	for _, command := range commands {
		if err := sendSubscription(ps, command); err != nil {
			return err
		}
	}
	return nil
}

// commonLast puts the channels to the end by which a node counts: who is counted hears everything.
func commonLast(list []*channel) {
	slices.SortStableFunc(list, func(a, b *channel) int {
		switch {
		case a.common == b.common:
			return 0
		case a.common:
			return 1
		}
		return -1
	})
}

// split makes commands for channels: many in one, but only those of one slot for shard channels of a Redis Cluster, and the common
// channel by itself, because Redis refuses a command as a whole.
func (l *link) split(commands []reply, kind replyKind, sp space, list []*channel) []reply {
	bySlots := sp == shard && l.sub.servers.cluster != nil
	if bySlots {
		bySlot(list)
	}
	for len(list) > 0 {
		n := min(len(list), namesPerCommand)
		if i := slices.IndexFunc(list[:n], func(c *channel) bool { return c.name == commonChannel }); i >= 0 {
			n = max(i, 1)
		}
		if bySlots {
			slot := slotOf(list[0].name)
			for i := 1; i < n; i++ {
				if slotOf(list[i].name) != slot {
					n = i
				}
			}
		}
		commands = append(commands, reply{kind: kind, space: sp, names: list[:n:n]})
		list = list[n:]
	}
	return commands
}

func sendSubscription(ps *redis.PubSub, command reply) error {
	names := make([]string, len(command.names))
	for i, c := range command.names {
		names[i] = c.name
	}
	if command.kind == replySubscribed {
		switch command.space {
		case plain:
			return ps.Subscribe(ended, names...)
		case pattern:
			return ps.PSubscribe(ended, names...)
		default:
			return ps.SSubscribe(ended, names...)
		}
	}
	switch command.space {
	case plain:
		return ps.Unsubscribe(ended, names...)
	case pattern:
		return ps.PUnsubscribe(ended, names...)
	default:
		return ps.SUnsubscribe(ended, names...)
	}
}

// read takes what Redis sends until the connection ends.
func (l *link) read(ps *redis.PubSub) error {
	timeout := time.Duration(0) // the first call clears the deadline that was set while connecting, the others keep it so
	for {
		msg, err := ps.ReceiveTimeout(ended, timeout)
		timeout = -1
		if err != nil && !isReply(err) {
			return err
		}
		if !l.fresh.Load() {
			l.fresh.Store(true)
		}
		switch msg := msg.(type) {
		case *redis.Message:
			l.sub.deliver(msg)
		case *redis.Subscription:
			l.confirm(msg)
		case *redis.Pong:
			l.pong()
		case nil:
			if err := l.refuse(err); err != nil {
				return err
			}
		}
	}
}

// deliver hands a message to the sinks of its channel.
func (s *subscriber) deliver(msg *redis.Message) {
	s.mu.Lock()
	var c *channel
	if msg.Pattern != "" {
		c = s.channels[pattern][msg.Pattern]
	} else if c = s.channels[plain][msg.Channel]; c == nil {
		c = s.channels[shard][msg.Channel]
	}
	var to sink
	var more []user
	members := false
	if c != nil && c.wanted() {
		to, more, members = c.users[0].to, slices.Clone(c.users[1:]), c.users[0].namespace == ""
	}
	s.mu.Unlock()
	if members {
		s.stats.members.Add(1)
		to(msg.Channel, msg.Payload)
		return
	}
	s.stats.received.Add(1)
	s.stats.receivedBytes.Add(uint64(len(msg.Payload)))
	if to == nil {
		s.stats.inflow.Foreign.Add(1)
		return
	}
	to(msg.Channel, msg.Payload)
	for _, u := range more {
		u.to(msg.Channel, msg.Payload)
	}
}

func (l *link) pong() {
	l.sub.mu.Lock()
	defer l.sub.mu.Unlock()
	l.live = true
	if len(l.replies) > 0 && l.replies[0].kind == replyPong {
		l.doneLocked()
	}
}

// doneLocked takes the first outstanding reply off the list.
func (l *link) doneLocked() {
	if l.replies[0].first {
		l.caughtUp = true
		l.sub.mon.poke()
	}
	l.replies[0] = reply{}
	if l.replies = l.replies[1:]; len(l.replies) == 0 {
		l.replies = nil
	}
}

// confirm takes the confirmation of a subscription, or of its end, which may also come without being asked for: when a
// slot moves to another server.
func (l *link) confirm(msg *redis.Subscription) {
	kind, sp, ok := subscriptionKind(msg.Kind)
	if !ok {
		return
	}
	s := l.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	l.live = true
	if len(l.replies) > 0 {
		r := &l.replies[0]
		if r.kind == kind && r.space == sp && r.names[0].name == msg.Channel {
			c := r.names[0]
			if r.names = r.names[1:]; len(r.names) == 0 {
				l.doneLocked()
			}
			l.repliedLocked(c)
			return
		}
	}
	c := s.channels[sp][msg.Channel]
	if kind == replyUnsubscribed && c != nil && c.link == l && c.confirmed() {
		s.stale = s.servers.cluster != nil
		s.displaceLocked(c)
	}
}

func (l *link) repliedLocked(c *channel) {
	if c.link != l {
		return
	}
	c.pending--
	switch {
	case c.confirmed():
		l.sub.foundLocked(c)
		c.wakeLocked()
	case c.pending == 0 && !c.wanted() && !c.queued:
		l.sub.forgetLocked(c)
	}
}

// refuse takes an error that Redis answered instead of the first outstanding reply.
func (l *link) refuse(err error) error {
	s := l.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(l.replies) == 0 {
		return err
	}
	r := l.replies[0]
	l.doneLocked()
	if r.kind == replyPong {
		l.live = true
		return nil
	}
	if r.kind == replySubscribed && r.names[0].name == commonChannel && trouble(err) == "noperm" {
		s.opts.Logger.Info("redis does not grant the channel on which nodes with other settings see each other", "channel", commonChannel)
		r.names[0].users = nil // the node goes on without
		r.names[0].wakeLocked()
	} else if r.kind == replySubscribed {
		if held, ok := s.stats.WorthTelling(trouble(err)); ok {
			s.opts.Logger.Warn("redis refused a subscription", "channel", r.names[0].name, "error", err, "notLogged", held)
		}
	}
	for _, c := range r.names {
		if c.link != l {
			continue
		}
		if c.pending--; c.pending > 0 || r.kind == replyUnsubscribed {
			c.pending++
			l.repliedLocked(c)
			continue
		}
		c.sent = false
		if c.queued { // will be looked at anyway
			continue
		}
		l.count--
		c.link = nil
		if !c.wanted() {
			s.forgetLocked(c)
		} else {
			s.laterLocked(c, err)
		}
	}
	s.stale = s.servers.cluster != nil
	return nil
}

func subscriptionKind(kind string) (replyKind, space, bool) {
	switch kind {
	case "subscribe":
		return replySubscribed, plain, true
	case "psubscribe":
		return replySubscribed, pattern, true
	case "ssubscribe":
		return replySubscribed, shard, true
	case "unsubscribe":
		return replyUnsubscribed, plain, true
	case "punsubscribe":
		return replyUnsubscribed, pattern, true
	case "sunsubscribe":
		return replyUnsubscribed, shard, true
	}
	return 0, 0, false
}

// inPlaceLocked returns nil if the connection answers and has caught up.
func (l *link) inPlaceLocked(now time.Time) error {
	answer := l.sub.servers.answer
	switch {
	case !l.live && (l.sub.failures[l.to] > 0 || now.Sub(l.made) > l.sub.servers.connecting()):
		return cmp.Or(l.sub.problem, errNoAnswer)
	case !l.live || !l.caughtUp:
		return errUnsettled
	case len(l.replies) > 0 && now.Sub(l.replies[0].at) > answer && l.silent(now) > answer:
		return errNoAnswer
	}
	return nil
}
