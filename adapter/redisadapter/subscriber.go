package redisadapter

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// channel is one subscription. All its fields are guarded by subscriber.mu.
//
// Commands on a connection are executed in order, so that the last command sent decides what the server will think,
// and the subscription is confirmed when that was a subscribe and no reply is outstanding.
type channel struct {
	space   space
	name    string
	users   []user  // those who want it
	one     [1]user // room for the only user, as a rule
	link    *link   // where it is placed; nil: nowhere yet
	queued  bool    // in subscriber.unplaced, subscriber.refused or link.todo
	sent    bool    // the last command on link was a subscribe
	pending int     // replies outstanding on link
	lost    bool    // its subscription has ended, and is wanted
	common  bool    // every node of the cluster subscribes to it
	ready   chan struct{}
}

// user is a namespace that wants a channel; "" is the membership. Rooms of one namespace and the channel of another, such as the room b of /a
// and the namespace /a#b, can have the same name: each hears what is meant for the other, and drops it.
type user struct {
	namespace string
	to        sink
	times     int // subscribe less unsubscribe
}

func (c *channel) wanted() bool    { return len(c.users) > 0 }
func (c *channel) confirmed() bool { return c.sent && c.pending == 0 }

// userLocked returns the index of a namespace in users, -1 if it does not want the channel.
func (c *channel) userLocked(namespace string) int {
	return slices.IndexFunc(c.users, func(u user) bool { return u.namespace == namespace })
}

// wakeLocked ends the waiting of those who wait for the channel.
func (c *channel) wakeLocked() {
	if c.ready != nil {
		close(c.ready)
		c.ready = nil
	}
}

// subscriber keeps the subscriptions of the servers in line with those wanted. Subscribing only marks a channel; the
// goroutine run places it on the connection of the server that serves it, and the connection's goroutine sends
// what has gathered there.
type subscriber struct {
	// Static after construction.
	servers *servers
	stats   *counters
	opts    Options
	wake    chan struct{} // capacity 1
	mon     *monitor      // learns of connections that have ended or caught up

	// Guarded by mu.
	mu       sync.Mutex
	channels [3]map[string]*channel // by space
	unplaced []*channel
	refused  []*channel // to be placed again at retryAt
	retryAt  time.Time
	problem  error // why some channel cannot be placed or subscribed
	links    map[*node]*link
	shared   []*channel    // those that are common
	stale    bool          // the slots of the cluster have changed
	lost     int           // channels that are lost
	moved    chan struct{} // closed when the next one is lost; nil if nobody waits for it
	failures map[*node]int // connections in a row that ended soon
}

func newSubscriber(servers *servers, stats *counters, opts Options, mon *monitor) *subscriber {
	s := &subscriber{
		servers: servers, stats: stats, opts: opts, mon: mon, wake: make(chan struct{}, 1),
		links: map[*node]*link{}, failures: map[*node]int{},
	}
	for i := range s.channels {
		s.channels[i] = map[string]*channel{}
	}
	return s
}

func (s *subscriber) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriber) subscribe(namespace string, sp space, name string, to sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[sp][name]
	if c == nil {
		c = &channel{space: sp, name: name}
		c.users = c.one[:0]
		s.channels[sp][name] = c
	}
	if i := c.userLocked(namespace); i >= 0 {
		c.users[i].to = to
		c.users[i].times++
	} else {
		if c.users = append(c.users, user{namespace, to, 1}); len(c.users) > 1 {
			c.one = [1]user{} // they have moved
		}
	}
	s.changedLocked(c)
}

func (s *subscriber) unsubscribe(namespace string, sp space, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[sp][name]
	if c == nil {
		return
	}
	i := c.userLocked(namespace)
	if i < 0 {
		return
	}
	if c.users[i].times--; c.users[i].times > 0 {
		return
	}
	if c.users = slices.Delete(c.users, i, i+1); c.wanted() {
		return
	}
	s.foundLocked(c)
	c.wakeLocked()
	s.changedLocked(c)
}

// changedLocked queues a channel where somebody will look at it.
func (s *subscriber) changedLocked(c *channel) {
	switch {
	case c.queued:
	case c.link != nil:
		c.queued = true
		c.link.todo = append(c.link.todo, c)
		c.link.poke()
	case !c.wanted():
		s.forgetLocked(c)
	default:
		c.queued = true
		s.unplaced = append(s.unplaced, c)
		s.poke()
	}
}

// foundLocked notes that a channel is not lost any more.
func (s *subscriber) foundLocked(c *channel) {
	if c.lost {
		c.lost = false
		s.lost--
	}
}

func (s *subscriber) forgetLocked(c *channel) {
	s.foundLocked(c)
	if c.link != nil {
		c.link.count--
		c.link = nil
	}
	delete(s.channels[c.space], c.name)
	if c.common {
		s.shared = slices.DeleteFunc(s.shared, func(other *channel) bool { return other == c })
	}
}

// wait returns when the channels are confirmed or not wanted any more, or with an error when ctx ends or away, which may be nil, is
// closed.
func (s *subscriber) wait(ctx context.Context, sp space, names []string, away <-chan struct{}) error {
	for _, name := range names {
		for {
			s.mu.Lock()
			c := s.channels[sp][name]
			if c == nil || !c.wanted() || c.confirmed() {
				s.mu.Unlock()
				break
			}
			if c.ready == nil {
				c.ready = make(chan struct{})
			}
			ready := c.ready
			s.mu.Unlock()
			select {
			case <-ready:
			case <-ctx.Done():
				return adapter.ErrClusterUnavailable
			case <-away:
				return adapter.ErrClusterUnavailable
			}
		}
	}
	return nil
}

// confirmed reports whether wait would return nil at once.
func (s *subscriber) confirmed(sp space, names []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(names, func(name string) bool {
		c := s.channels[sp][name]
		return c != nil && c.wanted() && !c.confirmed()
	})
}

// reason returns why some channel cannot be placed or subscribed, nil if there was no such trouble.
func (s *subscriber) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// waitAll returns when all that are wanted now are confirmed or not wanted any more.
func (s *subscriber) waitAll(ctx context.Context) error {
	var names [3][]string
	s.mu.Lock()
	for sp, channels := range s.channels {
		for name, c := range channels {
			if c.wanted() && !c.confirmed() {
				names[sp] = append(names[sp], name)
			}
		}
	}
	s.mu.Unlock()
	for sp := range names {
		if err := s.wait(ctx, space(sp), names[sp], nil); err != nil {
			return err
		}
	}
	return nil
}

// run places channels until ctx ends, and then waits for the connections to end.
func (s *subscriber) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for ctx.Err() == nil {
		s.mu.Lock()
		if !s.retryAt.IsZero() && !time.Now().Before(s.retryAt) {
			s.unplaced = append(s.unplaced, s.refused...)
			s.refused, s.retryAt = nil, time.Time{}
		}
		batch, stale := s.unplaced, s.stale
		s.unplaced, s.stale = nil, false
		s.mu.Unlock()
		if stale {
			s.reload(ctx)
		}
		s.place(ctx, &wg, batch)

		s.mu.Lock()
		wait := time.Hour
		if !s.retryAt.IsZero() {
			wait = time.Until(s.retryAt)
		}
		s.mu.Unlock()
		retry.Reset(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-retry.C:
		}
	}
}

func (s *subscriber) reload(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.servers.answer)
	defer cancel()
	if err := s.servers.reload(ctx); err != nil {
		s.mu.Lock()
		s.problem = err
		s.mu.Unlock()
	}
}

// place puts each channel on the connection of its server, and starts connections.
func (s *subscriber) place(ctx context.Context, wg *sync.WaitGroup, batch []*channel) {
	for _, c := range batch {
		s.mu.Lock()
		if !c.wanted() {
			c.queued = false
			s.forgetLocked(c)
			s.mu.Unlock()
			continue
		}
		s.mu.Unlock()
		to, err := s.serverFor(ctx, c)

		s.mu.Lock()
		if err != nil {
			s.laterLocked(c, err)
			s.mu.Unlock()
			continue
		}
		l := s.links[to]
		if l == nil {
			l = newLink(s, to)
			s.links[to] = l
			wg.Go(func() { l.run(ctx) })
		}
		c.link, c.sent, c.pending = l, false, 0
		l.count++
		l.todo = append(l.todo, c)
		l.poke()
		s.mu.Unlock()
	}
}

func (s *subscriber) serverFor(ctx context.Context, c *channel) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, s.servers.answer)
	defer cancel()
	if c.space == shard {
		return s.servers.forKey(ctx, c.name)
	}
	return s.servers.any(ctx)
}

// laterLocked will place a channel again after a while.
func (s *subscriber) laterLocked(c *channel, err error) {
	s.problem = err
	c.queued = true
	s.refused = append(s.refused, c)
	if s.retryAt.IsZero() {
		wait := time.Second
		switch trouble(err) {
		case "moved", "ask", "tryagain", "clusterdown", "timeout", "connection":
			wait = 100 * time.Millisecond
		}
		s.retryAt = time.Now().Add(wait)
		s.poke()
	}
}

// dropLocked takes a connection that has ended off its server. Its channels are placed anew.
func (s *subscriber) dropLocked(l *link) {
	delete(s.links, l.to)
	for _, channels := range s.channels {
		for _, c := range channels {
			if c.link == l {
				s.displaceLocked(c)
			}
		}
	}
	l.todo, l.replies = nil, nil
	s.stale = s.servers.cluster != nil
	s.poke()
}

// displaceLocked takes a channel off its connection, whose subscription has ended.
func (s *subscriber) displaceLocked(c *channel) {
	if c.sent && c.wanted() {
		s.stats.resubscribed.Add(1)
		if !c.lost {
			c.lost = true
			s.lost++
		}
		if s.moved != nil {
			close(s.moved)
			s.moved = nil
		}
	}
	c.link.count--
	c.link, c.sent, c.pending, c.queued = nil, false, 0, false
	s.changedLocked(c)
}

// inPlace returns nil if every connection works and has caught up with the subscriptions that it began with, and
// errUnsettled if nothing is wrong but the last part.
func (s *subscriber) inPlace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) > 0 {
		return s.problem
	}
	if s.lost > 0 {
		return cmp.Or(s.problem, errLost)
	}
	var soft error
	if len(s.unplaced) > 0 {
		soft = errUnsettled
	}
	now := time.Now()
	for _, l := range s.links {
		if err := l.inPlaceLocked(now); errors.Is(err, errUnsettled) {
			soft = err
		} else if err != nil {
			return err
		}
	}
	return soft
}

// figures returns the number of connections, of wanted and of confirmed channels.
func (s *subscriber) figures() (connections, wanted, confirmed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		if l.live {
			connections++
		}
	}
	for _, channels := range s.channels {
		for _, c := range channels {
			if c.wanted() {
				wanted++
				if c.confirmed() {
					confirmed++
				}
			}
		}
	}
	return connections, wanted, confirmed
}

// active returns the working connections.
func (s *subscriber) active() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*link, 0, len(s.links))
	for _, l := range s.links {
		if l.live {
			list = append(list, l)
		}
	}
	return list
}

// bySlot sorts shard channels so that those of one slot are neighbours.
func bySlot(list []*channel) {
	slices.SortStableFunc(list, func(a, b *channel) int { return int(slotOf(a.name)) - int(slotOf(b.name)) })
}

// sample returns channels of a connection that Redis should count: those that are common to all nodes, or another one; none if
// there is none, for patterns are not counted.
func (s *subscriber) sample(l *link) (space, []string) {
	if l == nil {
		return 0, nil
	}
	if sp, names := s.commons(l.to); len(names) > 0 {
		return sp, names
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range []space{plain, shard} {
		looked := 0
		for _, c := range s.channels[sp] {
			if c.link == l && c.wanted() && c.confirmed() {
				return sp, []string{c.name}
			}
			if looked++; looked > 1000 {
				break
			}
		}
	}
	return 0, nil
}

// maxCommons is how many common channels are looked at.
const maxCommons = 64

// common notes that every node of the cluster subscribes to a channel.
func (s *subscriber) common(sp space, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[sp][name]; c != nil && !c.common && len(s.shared) < maxCommons {
		c.common = true
		s.shared = append(s.shared, c)
	}
}

// commons returns the common channels that are subscribed to at a server. They are all of one space.
func (s *subscriber) commons(to *node) (sp space, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.shared {
		if c.link != nil && c.link.to == to && c.wanted() && c.confirmed() && (len(names) == 0 || c.space == sp) {
			sp, names = c.space, append(names, c.name)
		}
	}
	return sp, names
}
