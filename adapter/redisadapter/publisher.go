package redisadapter

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	pipelineCommands = 512
	pipelineBytes    = 1 << 20
	// staleAfter is how long a command may wait for its turn. When Redis hangs it counts as down earlier, here and on the other
	// nodes: those that wait for an answer which is dropped then do not wait in vain.
	staleAfter = 2 * time.Second
)

// command is a queued command. go-redis must not send it twice: it cannot know whether Redis executed the first.
type command struct {
	redis.Cmder
	key    string // decides on the server; "" for what any master does
	size   int
	queued time.Time
	done   func(adapter.Receipt) // may be nil
}

// optional reports whether the node does without the command if Redis refuses it.
func (c *command) optional() bool {
	args := c.Args()
	return len(args) > 1 && args[1] == commonChannel
}

// end tells what has become of the command.
func (c *command) end(err error) {
	if c.done == nil {
		return
	}
	r := adapter.Receipt{Err: err, Receivers: -1}
	if err == nil {
		switch cmd := c.Cmder.(type) {
		case *redis.IntCmd: // of PUBLISH
			r.Receivers = int(cmd.Val())
		case *redis.StringCmd: // of XADD
			r.Offset = cmd.Val()
		}
	}
	c.done(r)
}

// NoRetry makes go-redis give up a pipeline that failed half-way.
func (c *command) NoRetry() bool { return true }

func newCommand(cmd redis.Cmder, done func(adapter.Receipt)) *command {
	c := &command{Cmder: cmd, size: 64, queued: time.Now(), done: done}
	args := cmd.Args()
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			c.size += len(arg)
		case []byte:
			c.size += len(arg)
		default:
			c.size += 16
		}
	}
	if len(args) > 1 && !strings.EqualFold(cmd.Name(), "publish") {
		c.key, _ = args[1].(string)
	}
	return c
}

// publisher sends commands in the order in which they were queued, each at most once. Its goroutine takes what has
// gathered, sends it as one pipeline for each server and waits for the answers before it takes more.
type publisher struct {
	// Static after construction.
	servers *servers
	stats   *counters
	opts    Options
	wake    chan struct{} // capacity 1
	mon     *monitor      // learns of servers that did not answer

	// Guarded by mu.
	mu      sync.Mutex
	queue   []*command
	bytes   int
	closing bool

	// Owned by run.
	batch  []*command
	groups []group
}

// group is the part of a batch that one server gets.
type group struct {
	to   *node
	cmds []redis.Cmder
}

func newPublisher(servers *servers, stats *counters, opts Options, mon *monitor) *publisher {
	return &publisher{servers: servers, stats: stats, opts: opts, mon: mon, wake: make(chan struct{}, 1)}
}

// send queues a command.
func (p *publisher) send(cmd redis.Cmder, done func(adapter.Receipt)) error {
	c := newCommand(cmd, done)
	if !p.servers.accepts(c.key) {
		p.stats.drop("down", 1)
		return adapter.ErrClusterUnavailable
	}
	p.mu.Lock()
	if p.closing || p.bytes+c.size > p.opts.QueueLimit && p.bytes > 0 {
		reason := "full"
		if p.closing {
			reason = "closed"
		}
		p.mu.Unlock()
		p.stats.drop(reason, 1)
		return adapter.ErrClusterUnavailable
	}
	p.queue = append(p.queue, c)
	p.bytes += c.size
	p.mu.Unlock()
	p.poke()
	return nil
}

func (p *publisher) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close lets run send what is queued and end. That is bounded: what waits longer than answerWithin is then dropped.
func (p *publisher) close() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.poke()
}

func (p *publisher) run() {
	for {
		if p.take() {
			p.exec()
			continue
		}
		p.mu.Lock()
		ended := p.closing && len(p.queue) == 0
		p.mu.Unlock()
		if ended {
			return
		}
		<-p.wake
	}
}

// take moves the next commands from the queue to the batch and drops those that are too old.
func (p *publisher) take() bool {
	now := time.Now()
	p.batch = p.batch[:0]
	size, n := 0, 0
	var stale []*command
	p.mu.Lock()
	oldest := now.Add(-staleAfter)
	if p.closing {
		oldest = now.Add(-answerWithin)
	}
	for _, c := range p.queue {
		if len(p.batch) == pipelineCommands || size > 0 && size+c.size > pipelineBytes {
			break
		}
		n++
		p.bytes -= c.size
		if c.queued.Before(oldest) {
			stale = append(stale, c)
			continue
		}
		size += c.size
		p.batch = append(p.batch, c)
	}
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
	p.mu.Unlock()
	if len(stale) > 0 {
		p.stats.drop("stale", len(stale))
	}
	for _, c := range stale {
		c.end(adapter.ErrClusterUnavailable)
	}
	return n > 0
}

// exec sends the batch.
func (p *publisher) exec() {
	p.groups = p.groups[:0]
	for _, c := range p.batch {
		p.assign(c)
	}
	if len(p.groups) == 1 {
		p.pipeline(p.groups[0])
	} else {
		var wg sync.WaitGroup
		for _, g := range p.groups {
			wg.Go(func() { p.pipeline(g) })
		}
		wg.Wait()
	}
	for _, g := range p.groups {
		p.settle(g)
	}
	clear(p.batch)
	clear(p.groups)
}

// assign puts a command into the group of its server.
func (p *publisher) assign(c *command) {
	to, err := p.serverFor(c)
	if err != nil {
		p.stats.fail(err, 1)
		c.end(err)
		return
	}
	for i := range p.groups {
		if p.groups[i].to == to {
			p.groups[i].cmds = append(p.groups[i].cmds, c)
			return
		}
	}
	p.groups = append(p.groups, group{to: to, cmds: []redis.Cmder{c}})
}

func (p *publisher) serverFor(c *command) (*node, error) {
	if p.servers.single != nil {
		return p.servers.single, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	if c.key == "" {
		return p.servers.any(ctx)
	}
	return p.servers.forKey(ctx, c.key)
}

// pipeline sends the commands of one server and reads the answers.
func (p *publisher) pipeline(g group) {
	now := time.Now().UnixNano()
	g.to.used.Store(now)
	g.to.busy.Store(now)
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	pipe := g.to.rdb.Pipeline()
	_ = pipe.BatchProcess(ctx, g.cmds...)
	_, _ = pipe.Exec(ctx) // the same errors are in the commands
	g.to.busy.Store(0)
}

// settle counts the outcome and learns from it how the server is.
func (p *publisher) settle(g group) {
	sent := 0
	until := time.Now().Add(commandTimeout)
	var failure error
	for _, cmd := range g.cmds {
		err := cmd.Err()
		if err != nil && p.servers.cluster != nil && redirected(err) {
			err = p.redirect(cmd, until)
		}
		if err == redis.Nil {
			err = nil
		}
		cmd.(*command).end(err)
		switch {
		case err == nil:
			sent++
		case isRefusal(err) || !isReply(err):
			failure = err
			p.stats.fail(err, 1)
		default:
			p.stats.fail(err, 1)
			if !cmd.(*command).optional() && p.stats.worthTelling(err) {
				p.opts.Logger.Warn("redis refused a command", "command", cmd.Name(), "error", err)
			}
		}
	}
	p.stats.sent.Add(uint64(sent))
	switch {
	case sent > 0:
		g.to.answered()
	case failure != nil && isRefusal(failure):
		g.to.failed(failure)
		p.servers.anyDown.Store(true)
		p.mon.poke()
	case failure != nil: // perhaps only the connection broke: the monitor finds out
		p.mon.poke()
	}
}

// redirect sends a command again that a server of a Redis Cluster has not executed because it is not, or not any more,
// responsible for the slot. All of a batch share one deadline, so that a server that is gone does not hold up the queue once for each.
func (p *publisher) redirect(cmd redis.Cmder, until time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	cmd.SetErr(nil)
	return p.servers.cluster.Process(ctx, cmd)
}
