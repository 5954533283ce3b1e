package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

var (
	errTooOld = errors.New("redis did not take the message in time")
	errClosed = errors.New("the server closes")
)

// publisher has the queue of commands and the pipes on which they are sent, each command at most once. A command waits for the
// pipe of its server, in order; where there are several servers, those of one key keep their order. All that is queued or
// under way has one budget of bytes.
type publisher struct {
	// Static after construction.
	servers *servers
	stats   *counters
	opts    Options
	wake    chan struct{} // capacity 1
	mon     *monitor      // learns of servers that refuse commands, or cannot be reached
	losses  *outflow.Losses
	scripts atomic.Bool // connections begin with loading the scripts of the logs

	// Guarded by mu.
	mu       sync.Mutex
	only     *pipe // of the only server; nil with a Redis Cluster
	pipes    map[*node]*pipe
	intake   outflow.Queue[*command] // with a Redis Cluster: what has no pipe yet
	ways     map[string]*way         // with a Redis Cluster: by key
	refusals map[scope]*refusal      // what Redis does not let us do
	bytes    int
	commands int
	closing  bool
	closeBy  time.Time
}

// way is the pipe that has commands of a key, which later ones must not overtake.
type way struct {
	pipe     *pipe
	commands int
}

// refusal is an answer of Redis that says that it does not do what we want.
type refusal struct {
	err   error
	since time.Time
	tried time.Time
}

func newPublisher(servers *servers, stats *counters, opts Options, mon *monitor) *publisher {
	p := &publisher{
		servers: servers, stats: stats, opts: opts, mon: mon, wake: make(chan struct{}, 1),
		pipes: make(map[*node]*pipe), refusals: make(map[scope]*refusal), ways: make(map[string]*way),
	}
	p.losses = outflow.NewLosses("redis", opts.Logger, p.figures)
	if servers.single != nil {
		p.only = newPipe(p, servers.single)
		p.pipes[servers.single] = p.only
	}
	return p
}

// send queues a command. The error, which wraps adapter.ErrClusterUnavailable, says that it will not be sent: because Redis has
// refused the last one of its kind, because it is of no use later and Redis is away, or because the queue is full.
func (p *publisher) send(cmd redis.Cmder, how post) error {
	c := newCommand(cmd, how)
	if err := p.unwanted(c); err != nil {
		return err
	}
	p.mu.Lock()
	if reason, err := p.refuseLocked(c); err != nil {
		p.mu.Unlock()
		p.stats.Drop(reason, 1)
		if reason == outflow.Full {
			p.losses.Add(reason, 1)
		}
		return err
	}
	p.bytes += c.size
	p.commands++
	if p.only != nil {
		p.only.waiting.Push(c)
	} else {
		p.intake.Push(c)
	}
	p.mu.Unlock()
	if p.only != nil {
		p.only.poke()
	} else {
		p.poke()
	}
	return nil
}

// unwanted returns an error for a command that is not to be queued because of the state of its server.
func (p *publisher) unwanted(c *command) error {
	err := p.servers.away(c.key)
	switch {
	case err == nil:
		return nil
	case trouble(err) == "auth": // only a person can change that
		p.stats.Drop(outflow.Refused, 1)
	case c.passing && !c.reply:
		p.stats.Drop(outflow.Down, 1)
	default:
		return nil
	}
	return unavailable(err)
}

// refuseLocked returns why a command is not queued.
func (p *publisher) refuseLocked(c *command) (reason string, err error) {
	switch {
	case p.closing:
		return outflow.Closed, unavailable(errClosed)
	case p.bytes+c.size > p.opts.QueueLimit && p.bytes > 0:
		return outflow.Full, adapter.ErrQueueFull
	case len(p.refusals) == 0:
		return "", nil
	}
	r := p.refusals[c.scope()]
	if r == nil {
		return "", nil
	}
	if c.queued.Sub(r.tried) >= outflow.TryRefused {
		r.tried = c.queued
		return "", nil
	}
	return outflow.Refused, unavailable(r.err)
}

func (p *publisher) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// pokeAll wakes up all pipes.
func (p *publisher) pokeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.pipes {
		l.poke()
	}
}

// close lets run send what is queued and end, within outflow.CloseWithin.
func (p *publisher) close() {
	p.mu.Lock()
	p.closing, p.closeBy = true, time.Now().Add(outflow.CloseWithin)
	p.mu.Unlock()
	p.poke()
}

// run sends what is queued until close.
func (p *publisher) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var pipes sync.WaitGroup
	if p.only != nil {
		pipes.Go(func() { p.only.run(ctx) })
	}
	retry := time.NewTicker(outflow.LookAfter)
	defer retry.Stop()
	for !p.ended(time.Now()) {
		p.dropOld(time.Now())
		if p.only == nil {
			p.route(ctx, &pipes)
		}
		select {
		case <-p.wake:
		case <-retry.C:
		}
	}
	cancel()
	pipes.Wait()
	p.forget()
}

// ended reports whether nothing is left to do after close.
func (p *publisher) ended(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing && (p.commands == 0 || now.After(p.closeBy))
}

// route puts what has come in on the pipes of its servers.
func (p *publisher) route(ctx context.Context, pipes *sync.WaitGroup) {
	for {
		p.mu.Lock()
		if p.intake.Len() == 0 {
			p.mu.Unlock()
			return
		}
		c := p.intake.First()
		if w := p.ways[c.key]; w != nil {
			p.passOnLocked(w.pipe)
			p.mu.Unlock()
			continue
		}
		p.mu.Unlock()
		to, err := p.serverFor(ctx, c.key)
		p.mu.Lock()
		if err != nil {
			p.mu.Unlock()
			p.mon.poke()
			return
		}
		if p.intake.Len() > 0 && p.intake.First() == c {
			p.passOnLocked(p.pipeLocked(ctx, pipes, to))
		}
		p.mu.Unlock()
	}
}

// passOnLocked puts the first command of the intake on a pipe.
func (p *publisher) passOnLocked(to *pipe) {
	c := p.intake.Pop()
	w := p.ways[c.key]
	if w == nil {
		w = &way{pipe: to}
		p.ways[c.key] = w
	}
	w.commands++
	to.waiting.Push(c)
	to.poke()
}

func (p *publisher) pipeLocked(ctx context.Context, pipes *sync.WaitGroup, to *node) *pipe {
	l := p.pipes[to]
	if l == nil {
		l = newPipe(p, to)
		p.pipes[to] = l
		pipes.Go(func() { l.run(ctx) })
	}
	return l
}

// leaveLocked notes that a command is not on its pipe any more.
func (p *publisher) leaveLocked(c *command) {
	if p.only != nil {
		return
	}
	if w := p.ways[c.key]; w != nil {
		if w.commands--; w.commands == 0 {
			delete(p.ways, c.key)
		}
	}
}

// endLocked notes that a command is neither queued nor under way any more.
func (p *publisher) endLocked(c *command) {
	p.bytes -= c.size
	if p.commands--; p.closing {
		p.poke()
	}
}

// returnLocked takes back what a pipe could not send, to find the way anew.
func (p *publisher) returnLocked(list []*command) {
	for _, c := range list {
		p.leaveLocked(c)
	}
	p.intake.PutBack(list)
	p.poke()
}

func (p *publisher) serverFor(ctx context.Context, key string) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, p.servers.answer)
	defer cancel()
	if key == "" {
		return p.servers.any(ctx)
	}
	return p.servers.forKey(ctx, key)
}

// dropOld ends what has waited for too long, and forgets what Redis refused long ago.
func (p *publisher) dropOld(now time.Time) {
	old := func(c *command) bool { return c.tooOld(now, p.opts.QueueAge) }
	p.mu.Lock()
	list := p.intake.TakeIf(nil, old)
	for _, l := range p.pipes {
		begun := len(list)
		list = l.waiting.TakeIf(list, old)
		for _, c := range list[begun:] {
			p.leaveLocked(c)
		}
	}
	for s, r := range p.refusals {
		if now.Sub(r.tried) > outflow.TryRefusedFor {
			delete(p.refusals, s)
		}
	}
	kept := 0
	for _, c := range list {
		p.endLocked(c)
		if !c.passing {
			kept++
		}
	}
	p.mu.Unlock()
	p.stats.Drop(outflow.Stale, len(list))
	failAll(list, errTooOld)
	p.losses.Add(outflow.Stale, kept)
	p.losses.Settle()
}

// forget ends all that is left when the publisher closes.
func (p *publisher) forget() {
	p.mu.Lock()
	list := p.intake.TakeAll()
	for _, l := range p.pipes {
		list = append(list, l.waiting.TakeAll()...)
	}
	for _, c := range list {
		p.endLocked(c)
	}
	p.mu.Unlock()
	p.stats.Drop(outflow.Closed, len(list))
	failAll(list, errClosed)
}

// refusedLocked notes that Redis does not do what a command wants.
func (p *publisher) refusedLocked(c *command, err error) {
	if c.optional() {
		return
	}
	s, now := c.scope(), time.Now()
	r := p.refusals[s]
	if r == nil {
		r = &refusal{since: now}
		p.refusals[s] = r
	}
	what := "of the membership"
	if s.namespace != "" {
		what = "in namespace " + s.namespace
	}
	r.err, r.tried = fmt.Errorf("redis refuses %s %s: %w", s.verb, what, err), now
}

// refusal returns what Redis has refused for longest, nil if there is nothing.
func (p *publisher) refusal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var first *refusal
	for _, r := range p.refusals {
		if first == nil || r.since.Before(first.since) {
			first = r
		}
	}
	if first == nil {
		return nil
	}
	return first.err
}

// figures returns what is queued or under way.
func (p *publisher) figures() (commands, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commands, p.bytes
}
