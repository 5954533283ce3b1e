package redisadapter

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/freshrooms"
)

// space is one of the three spaces of channels that Redis keeps apart. A name is not used in both plain and shard: a
// message does not say in which of the two it was published.
type space uint8

const (
	plain   space = iota // SUBSCRIBE
	pattern              // PSUBSCRIBE
	shard                // SSUBSCRIBE
)

// sink takes the messages of subscribed channels. It is called by the goroutine that reads the connection and must be
// quick: look at the channel, then push to a feed. For a pattern, channel is the one that matched. A call may be under way
// when unsubscribe returns.
type sink func(channel, body string)

// hub is everything that one server has open to Redis, from its start to its close. All methods may be called concurrently;
// none blocks but those that take a context.
//
// Lock order: streamsBus.turn > streams.mu > streamReader.mu, streamsBus.mu, roomChannels.mu > hub.mu > subscriber.mu;
// publisher.mu > pace.mu; the others are leaves.
type hub struct {
	// Static after construction.
	rdb    redis.UniversalClient
	opts   Options
	stats  *counters
	status *brokerstate.Status

	// Guarded by mu.
	mu  sync.Mutex
	now *run // nil before start and after close
}

// run is what exists between start and close.
type run struct {
	// Static after construction.
	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	servers *servers
	pub     *publisher
	sub     *subscriber
	sent    chan struct{} // closed when the publisher has ended
	done    chan struct{} // closed when every goroutine and connection is gone
}

// newHub returns a hub that counts into stats. The defaults of opts are filled in.
func newHub(rdb redis.UniversalClient, opts Options, stats *counters) *hub {
	return &hub{rdb: rdb, opts: opts, stats: stats, status: newStatus(opts)}
}

// start begins to connect. It fails only for a client that we cannot use.
func (h *hub) start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	servers, err := newServers(h.rdb, h.opts.AnswerTimeout)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	mon := newMonitor(servers, h.status)
	r := &run{
		ctx: ctx, cancel: cancel, servers: servers, sent: make(chan struct{}), done: make(chan struct{}),
		pub: newPublisher(servers, h.stats, h.opts, mon),
		sub: newSubscriber(servers, h.stats, h.opts, mon),
	}
	mon.sub, mon.pub = r.sub, r.pub
	h.status.Own(mon)
	h.now = r
	var wg sync.WaitGroup
	wg.Go(func() {
		r.pub.run()
		close(r.sent)
	})
	wg.Go(func() { r.sub.run(ctx) })
	wg.Go(func() { mon.run(ctx) })
	go func() {
		wg.Wait()
		close(r.done)
	}()
	return nil
}

// close ends the hub: what is queued is still sent if Redis answers within a second, all else ends. The caller's client stays
// open.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil {
		return
	}
	h.status.Own(nil) // first: that connections end now is no trouble
	h.now.pub.close() // before the other connections end, which would have it make a new one
	h.now.cancel()
	h.now = nil
}

// running returns what is there between start and close, else nil.
func (h *hub) running() *run {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// ready waits until everything that is wanted is subscribed, and returns why not when ctx ends first.
func (h *hub) ready(ctx context.Context) error {
	err := h.status.WaitUp(ctx)
	if r := h.running(); err == nil && r != nil && r.sub.waitAll(ctx) != nil {
		err = cmp.Or(r.sub.reason(), ctx.Err())
	}
	return err
}

// send queues a command. Commands are sent in order, none twice; those of different servers of a Redis Cluster may overtake each
// other. The error is adapter.ErrClusterUnavailable with a reason, or adapter.ErrQueueFull: the command is not sent then. PUBLISH
// goes to any master, every other command to the one that serves its first argument.
func (h *hub) send(cmd redis.Cmder, how post) error {
	r := h.running()
	if r == nil {
		return adapter.ErrClusterUnavailable
	}
	return r.pub.send(cmd, how)
}

// publish publishes a message. On a Redis Cluster PUBLISH tells only the subscribers at one of many servers, so that the
// receivers are not known.
func (h *hub) publish(s space, channel string, body []byte, how post) error {
	command := "publish"
	if s == shard {
		command = "spublish"
	}
	h.countReceivers(s, &how)
	return h.send(redis.NewIntCmd(context.Background(), command, channel, body), how)
}

// countReceivers leaves the number of receivers out of a receipt that cannot have it.
func (h *hub) countReceivers(s space, how *post) {
	if _, cluster := h.rdb.(*redis.ClusterClient); s == shard || !cluster || how.sent == nil {
		return
	}
	all := how.sent
	how.sent = func(r adapter.Receipt) {
		r.Receivers = -1
		all(r)
	}
}

// loadScripts has every connection on which commands are sent begin with the scripts of the logs from now on.
func (h *hub) loadScripts() {
	if r := h.running(); r != nil {
		r.pub.scripts.Store(true)
	}
}

// moved returns what is closed when the next subscription that was in place is lost; nil if the hub is closed.
func (h *hub) moved() <-chan struct{} {
	r := h.running()
	if r == nil {
		return nil
	}
	r.sub.mu.Lock()
	defer r.sub.mu.Unlock()
	if r.sub.moved == nil {
		r.sub.moved = make(chan struct{})
	}
	return r.sub.moved
}

// poke makes the publisher look again whether it may send.
func (h *hub) poke() {
	if r := h.running(); r != nil {
		r.pub.pokeAll()
	}
}

// common notes that every node of the cluster subscribes to a channel, which this one has just done.
func (h *hub) common(s space, name string) {
	if r := h.running(); r != nil {
		r.sub.common(s, name)
	}
}

// freshFor returns how long a room that others are made to join stays fresh: longer while that message may have to wait for Redis.
func (h *hub) freshFor() time.Duration {
	if h.status.Is(Up) {
		return freshrooms.For
	}
	return freshrooms.For + h.opts.QueueAge
}

// listeners returns how many listened to a channel that all nodes subscribe to when the monitor looked last. known is false if it did not.
func (h *hub) listeners(name string) (count int64, known bool) {
	r := h.running()
	if r == nil {
		return 0, false
	}
	return r.pub.mon.crowd.count(name)
}

// subscribe wants a channel for a namespace from now on, unsubscribe not any more. It is wanted until each subscribe has
// had its unsubscribe. A namespace has one sink for a name, the last one given: it may be opened again while the one
// before is being closed, and only one of the two is to answer what asks the node. Other namespaces have their own sinks.
func (h *hub) subscribe(namespace string, s space, name string, to sink) {
	if r := h.running(); r != nil {
		r.sub.subscribe(namespace, s, name, to)
	}
}

func (h *hub) unsubscribe(namespace string, s space, name string) {
	if r := h.running(); r != nil {
		r.sub.unsubscribe(namespace, s, name)
	}
}

// wait returns when Redis has confirmed the subscriptions, or adapter.ErrClusterUnavailable when ctx ends first. It does
// not wait for names that are not wanted any more.
func (h *hub) wait(ctx context.Context, s space, names ...string) error {
	r := h.running()
	if r == nil {
		return adapter.ErrClusterUnavailable
	}
	return r.sub.wait(ctx, s, names, nil)
}

// waitUnlessAway is wait for who has something else to do while Redis is away or slow: it returns the error then, too.
func (h *hub) waitUnlessAway(ctx context.Context, s space, names ...string) error {
	r := h.running()
	if r == nil {
		return adapter.ErrClusterUnavailable
	}
	if r.sub.confirmed(s, names) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.opts.AnswerTimeout)
	defer cancel()
	return r.sub.wait(ctx, s, names, h.status.Away())
}

// numSub counts the subscribers of a channel over all servers.
// It returns adapter.ErrClusterUnavailable at once while Redis is down or our own subscriptions are not in place.
func (h *hub) numSub(ctx context.Context, s space, name string) (int, error) {
	var mu sync.Mutex
	total := 0
	err := h.ask(ctx, s, name, func(ctx context.Context, rdb *redis.Client) error {
		var counts map[string]int64
		var err error
		if s == shard {
			counts, err = rdb.PubSubShardNumSub(ctx, name).Result()
		} else {
			counts, err = rdb.PubSubNumSub(ctx, name).Result()
		}
		mu.Lock()
		total += int(counts[name])
		mu.Unlock()
		return err
	})
	if err != nil {
		return 0, err
	}
	mu.Lock()
	defer mu.Unlock()
	return total, nil
}

// unheard returns those of some channels that nobody has subscribed to, over all servers. It fails like numSub.
func (h *hub) unheard(ctx context.Context, s space, names []string) (list []string, err error) {
	var mu sync.Mutex
	heard := make(map[string]bool)
	err = h.ask(ctx, s, "", func(ctx context.Context, rdb *redis.Client) error {
		count := rdb.PubSubNumSub
		if s == shard {
			count = rdb.PubSubShardNumSub
		}
		counts, err := count(ctx, names...).Result()
		mu.Lock()
		defer mu.Unlock()
		for name, n := range counts {
			heard[name] = heard[name] || n > 0
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return heard[name] }), nil
}

// channels lists the active channels that match glob, over all servers. It fails like numSub.
func (h *hub) channels(ctx context.Context, s space, glob string) ([]string, error) {
	var mu sync.Mutex
	found := map[string]bool{}
	err := h.ask(ctx, s, "", func(ctx context.Context, rdb *redis.Client) error {
		var names []string
		var err error
		if s == shard {
			names, err = rdb.PubSubShardChannels(ctx, glob).Result()
		} else {
			names, err = rdb.PubSubChannels(ctx, glob).Result()
		}
		mu.Lock()
		for _, name := range names {
			found[name] = true
		}
		mu.Unlock()
		return err
	})
	if err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	return slices.Sorted(maps.Keys(found)), nil
}

// server returns a client for the server that serves a key. Its connections are those of the caller's client, its
// timeouts ours: two seconds for each read and write.
func (h *hub) server(ctx context.Context, key string) (*redis.Client, error) {
	r := h.running()
	if r == nil {
		return nil, adapter.ErrClusterUnavailable
	}
	n, err := r.servers.forKey(ctx, key)
	if err != nil {
		return nil, err
	}
	return n.rdb, nil
}

// settleAfter is how long nobody goes on when Redis was away: other nodes, which may have heard more than it still has, see that
// meanwhile, and put breaks into the logs.
const settleAfter = 2 * time.Second

// settled waits until Redis is there for long enough. It returns adapter.ErrClusterUnavailable while it is away.
func (h *hub) settled(ctx context.Context) error {
	for h.status.Downs() > 0 {
		state, since, reason := h.status.Since()
		if state != Up {
			return unavailable(cmp.Or(reason, errNoAnswer))
		}
		left := time.Until(since.Add(settleAfter))
		if left <= 0 {
			break
		}
		if err := brokerstate.Pause(ctx, left); err != nil {
			return err
		}
	}
	return nil
}

// loop calls do again and again until ctx ends or the hub is closed, at once when it succeeded and after a growing pause
// of up to a second when it did not. The context that do gets ends with either.
func (h *hub) loop(ctx context.Context, do func(ctx context.Context) error) {
	r := h.running()
	if r == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	for failures := 0; ctx.Err() == nil; {
		if err := do(ctx); err == nil || errors.Is(err, redis.Nil) {
			failures = 0
			continue
		}
		failures++
		_ = brokerstate.Pause(ctx, backOff(failures))
	}
}
