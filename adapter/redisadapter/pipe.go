package redisadapter

import (
	"bufio"
	"context"
	"errors"
	"net"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

const (
	// windowBytes is how much is under way on a pipe at most: enough for 30 MB/s when an answer takes 120 ms.
	windowBytes = 4 << 20
	// writeBytes is about how much is written at once.
	writeBytes = 256 << 10
	// keepBuffer is the largest buffer that is kept for the next write.
	keepBuffer = 1 << 20
	// silentAfter is how long nothing is answered until nothing more is written, if two round trips do not take longer: what is
	// under way when the connection turns out to be dead is lost.
	silentAfter = 250 * time.Millisecond
	// overtakeEvery is how often a queue that is held up is searched.
	overtakeEvery = 50 * time.Millisecond
)

// pipe sends the commands of one server in order over one connection, and does not wait for the answers before it sends more.
// What was written and not answered when the connection ends is not sent again, because Redis may have executed it.
//
// One goroutine connects and writes, one more reads while there is a connection.
type pipe struct {
	// Static after construction.
	pub  *publisher
	to   *node
	wake chan struct{} // capacity 1

	// Guarded by pub.mu.
	waiting outflow.Queue[*command]
	flying  outflow.Queue[*command] // handed to the connection and not answered
	size    int                     // of flying
	heard   time.Time               // when something was last answered, or there was nothing to answer
	begun   time.Time               // when the first command after a pause was sent; zero once it is answered
	trip    time.Duration           // how long that took the last time
	stopped error                   // an answer says that the connection is of no use; nothing more is written
	again   []*command              // answered so that they can be sent later
	moved   []*command              // answered so that another server has to be asked

	overtook time.Time // when the membership's commands were last looked for behind held ones

	// Owned by run.
	batch  []*command
	buffer []byte
	before map[string]int64 // who listened before the connection ended; nil if they are back

	outcomes []outcome // owned by read
}

func newPipe(pub *publisher, to *node) *pipe {
	return &pipe{pub: pub, to: to, wake: make(chan struct{}, 1)}
}

func (p *pipe) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run sends until ctx ends, or with a Redis Cluster until a connection has ended and nothing waits.
func (p *pipe) run(ctx context.Context) {
	for failures := 0; p.awaitWork(ctx); {
		began, answered, err := time.Now(), false, error(nil)
		conn, err := p.to.connect(ctx, p.pub.servers.connecting())
		if err != nil && ctx.Err() == nil {
			p.to.failed(err)
		} else if err == nil {
			p.to.answered()
			p.pub.prepare(conn)
			p.pub.mon.gather(ctx, p.to, p.before)
			answered, err = p.serve(ctx, conn)
			_ = conn.Close()
			p.before = p.pub.mon.crowd.last()
		}
		p.conclude(ctx, err)
		p.pub.mon.poke()
		if failures++; answered && time.Since(began) > backOffTo {
			failures = 0
		}
		_ = brokerstate.Pause(ctx, backOff(failures))
	}
}

// awaitWork returns true when something waits. Without that the pipe of a Redis Cluster ends, for the server may be gone.
func (p *pipe) awaitWork(ctx context.Context) bool {
	for ctx.Err() == nil {
		p.pub.mu.Lock()
		some := p.waiting.Len() > 0
		if !some && p.pub.only == nil {
			delete(p.pub.pipes, p.to)
			p.pub.mu.Unlock()
			return false
		}
		p.pub.mu.Unlock()
		if some {
			return true
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
		}
	}
	return false
}

// serve sends over a connection until it ends. answered tells whether it was of any use.
func (p *pipe) serve(ctx context.Context, conn net.Conn) (answered bool, err error) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends a write that is blocked
	p.pub.mu.Lock()
	p.stopped = nil // it was for the connection before
	p.pub.mu.Unlock()
	gone := make(chan error, 1)
	read := uint64(0)
	go func() { gone <- p.read(conn, &read) }()
	unwritten, err := p.write(ctx, conn, gone)
	_ = conn.Close()
	if ended := <-gone; errors.Is(err, errReader) {
		err = ended
	}
	p.takeBack(unwritten)
	return read > 0, err
}

// renew has a pipe make a new connection when what is under way has been answered, because another connection to the server has
// ended or is dead: behind the address there may be another server by now.
func (pub *publisher) renew(to *node) {
	pub.mu.Lock()
	defer pub.mu.Unlock()
	if l := pub.pipes[to]; l != nil && l.stopped == nil && !pub.closing { // when the server closes they end because of that
		l.stopped = errRenewed
		l.poke()
	}
}

var errRenewed = errors.New("the server behind the address may be another one")

// errReader stands for what the reader says.
var errReader = errors.New("the connection has ended")

// write sends what waits until the connection ends, and returns those of the last commands that have not been written as a whole.
// It leaves a value in gone if the reader has ended.
func (p *pipe) write(ctx context.Context, conn net.Conn, gone chan error) (unwritten int, err error) {
	tick := time.NewTicker(outflow.LookAfter)
	defer tick.Stop()
	for {
		more, err := p.take(time.Now())
		if err != nil {
			return 0, err
		}
		if more {
			if unwritten, err := p.flush(conn); err != nil {
				return unwritten, err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case ended := <-gone:
			gone <- ended
			return 0, errReader
		case <-p.wake:
		case <-tick.C:
		}
	}
}

// take moves the next commands from those that wait to those under way. It returns an error if the connection is of no use any more.
func (p *pipe) take(now time.Time) (some bool, err error) {
	p.batch = p.batch[:0]
	p.pub.mu.Lock()
	defer p.pub.mu.Unlock()
	if p.stopped != nil && p.flying.Len() == 0 {
		return false, p.stopped
	}
	silent := now.Sub(p.heard)
	switch {
	case p.flying.Len() == 0:
		p.heard, p.begun = now, now
	case silent > p.pub.servers.answer:
		return false, errNoAnswer
	case silent > max(silentAfter, 2*p.trip):
		return false, nil
	}
	for size := 0; p.stopped == nil && p.waiting.Len() > 0; {
		next := p.waiting.First().size
		if p.flying.Len() > 0 && p.size+next > windowBytes || size > 0 && size+next > writeBytes {
			break
		}
		if pace := p.waiting.First().pace; pace != nil && !pace.begin(now) {
			p.overtakeLocked(now)
			break
		}
		p.sendLocked(p.waiting.Pop())
		size += next
	}
	if some = len(p.batch) > 0; some {
		p.to.used.Store(now.UnixNano())
		p.to.busy.Store(p.heard.UnixNano())
	}
	return some, nil
}

// sendLocked adds a command to the batch.
func (p *pipe) sendLocked(c *command) {
	p.flying.Push(c)
	p.batch = append(p.batch, c)
	p.size += c.size
}

// overtakeLocked sends what the membership says past what a pace holds up: a node that says nothing counts as silent.
func (p *pipe) overtakeLocked(now time.Time) {
	if now.Sub(p.overtook) < overtakeEvery {
		return
	}
	p.overtook = now
	for _, c := range p.waiting.TakeIf(nil, func(c *command) bool { return c.namespace == "" && c.pace == nil }) {
		p.sendLocked(c)
	}
}

// flush writes the batch. With an error it returns how many commands at its end have not been written as a whole.
func (p *pipe) flush(conn net.Conn) (unwritten int, err error) {
	b := p.buffer[:0]
	for _, c := range p.batch {
		b = appendCommand(b, c.Args())
	}
	n, err := p.writeAll(conn, b)
	if p.buffer = b; cap(b) > keepBuffer {
		p.buffer = nil
	}
	if err != nil {
		end := 0
		for i, c := range p.batch {
			if end += len(appendCommand(nil, c.Args())); end > n {
				return len(p.batch) - i, err
			}
		}
	}
	clear(p.batch)
	return 0, err
}

// writeAll writes as long as there is progress. The time that it takes is no time in which an answer is missed.
func (p *pipe) writeAll(conn net.Conn, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		began := time.Now()
		_ = conn.SetWriteDeadline(began.Add(p.pub.servers.answer))
		var written int
		written, err = conn.Write(b[n:min(n+writeBytes, len(b))])
		n += written
		if took := time.Since(began); took > 10*time.Millisecond {
			p.pub.mu.Lock()
			p.heard = p.heard.Add(took)
			if p.flying.Len() > 0 {
				p.to.busy.Store(p.heard.UnixNano())
			}
			p.pub.mu.Unlock()
		}
	}
	return n, err
}

// takeBack puts the last commands under way, which have not been written, back in front of those that wait.
func (p *pipe) takeBack(n int) {
	p.pub.mu.Lock()
	defer p.pub.mu.Unlock()
	back := p.flying.TakeLast(n)
	for _, c := range back {
		p.size -= c.size
		c.landed(response{})
	}
	p.waiting.PutBack(back)
}

// read takes answers until the connection ends, and counts them.
func (p *pipe) read(conn net.Conn, count *uint64) error {
	r := bufio.NewReaderSize(conn, 16<<10)
	var replies []response
	for {
		replies = replies[:0]
		var err error
		for err == nil && (len(replies) == 0 || r.Buffered() > 0 && len(replies) < 512) {
			var next response
			if next, err = readResponse(r); err == nil {
				replies = append(replies, next)
			}
		}
		*count += uint64(len(replies))
		if wrong := p.settle(replies); wrong != nil {
			return wrong
		}
		if err != nil {
			p.poke()
			return err
		}
	}
}

// outcome is what has become of a command.
type outcome struct {
	*command
	response
}

// settle takes answers to the commands that have been under way for longest.
func (p *pipe) settle(replies []response) error {
	if len(replies) == 0 {
		return nil
	}
	now := time.Now()
	outcomes := p.outcomes[:0]
	p.pub.mu.Lock()
	if len(replies) > p.flying.Len() {
		p.pub.mu.Unlock()
		return errForm
	}
	for _, r := range replies {
		c := p.flying.Pop()
		p.size -= c.size
		c.landed(r)
		if !p.postponedLocked(c, r.err) {
			p.concludeLocked(c, r)
			outcomes = append(outcomes, outcome{c, r})
		}
	}
	if p.heard = now; !p.begun.IsZero() {
		p.trip, p.begun = now.Sub(p.begun), time.Time{}
	}
	if p.flying.Len() > 0 {
		p.to.busy.Store(now.UnixNano())
	} else {
		p.to.busy.Store(0)
	}
	p.pub.mu.Unlock()
	p.to.answered()
	p.pub.tell(outcomes)
	clear(outcomes)
	p.outcomes = outcomes
	p.poke()
	return nil
}

// postponedLocked keeps a command that Redis has not executed and can be sent later, or elsewhere.
func (p *pipe) postponedLocked(c *command, err error) bool {
	switch {
	case err == nil:
		return false
	case p.pub.only == nil && redirected(err):
		p.moved = append(p.moved, c)
	case notReady(err):
		p.again = append(p.again, c)
	default:
		return false
	}
	p.stopped = err
	return true
}

// concludeLocked notes the answer to a command.
func (p *pipe) concludeLocked(c *command, r response) {
	p.pub.endLocked(c)
	p.pub.leaveLocked(c)
	switch {
	case r.err != nil:
		p.pub.refusedLocked(c, r.err)
		if trouble(r.err) == "readonly" {
			p.stopped = r.err // behind the address there may be another master by now
		}
	case len(p.pub.refusals) > 0:
		delete(p.pub.refusals, c.scope())
	}
}

// tell counts outcomes and tells those who want to know.
func (pub *publisher) tell(outcomes []outcome) {
	sent, refused := 0, false
	for _, o := range outcomes {
		if o.err == nil {
			sent++
			o.succeed(o.response)
			continue
		}
		refused = true
		pub.stats.Fail(trouble(o.err), 1)
		o.fail(unavailable(o.err))
		if o.optional() || !isReply(o.err) {
			continue
		}
		if held, ok := pub.stats.WorthTelling(trouble(o.err)); ok {
			pub.opts.Logger.Warn("redis refused a command", "command", o.Name(), "namespace", o.namespace, "error", o.err, "notLogged", held)
		}
	}
	pub.stats.Sent.Add(uint64(sent))
	if refused {
		pub.mon.poke()
	}
}

// conclude ends what was under way on a connection that has ended, or could not be made, and finds the way of the others anew.
func (p *pipe) conclude(ctx context.Context, err error) {
	pub := p.pub
	pub.mu.Lock()
	lost := p.flying.TakeAll()
	for _, c := range lost {
		c.landed(response{})
		pub.endLocked(c)
		pub.leaveLocked(c)
	}
	moved := p.moved
	p.moved, p.size, p.stopped = nil, 0, nil
	p.to.busy.Store(0)
	pub.mu.Unlock()
	pub.stats.Fail(trouble(err), len(lost))
	failAll(lost, err)
	if ctx.Err() == nil {
		pub.losses.Add(outflow.Failed, len(lost))
	}
	p.redirect(ctx, moved)
	if isReply(err) && notReady(err) {
		p.to.failed(err)
	}
	if pub.only == nil && ctx.Err() == nil {
		reload, cancel := context.WithTimeout(ctx, pub.servers.answer)
		defer cancel()
		_ = pub.servers.reload(reload)
	}
	pub.mu.Lock()
	defer pub.mu.Unlock()
	p.waiting.PutBack(p.again)
	p.again = nil
	if pub.only == nil {
		pub.returnLocked(p.waiting.TakeAll())
	}
}

// redirect sends commands again that a server of a Redis Cluster has not executed because it is not, or not any more,
// responsible for their slots. They share one deadline, so that a server that is gone does not hold up the others once for each.
func (p *pipe) redirect(ctx context.Context, moved []*command) {
	if len(moved) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.pub.servers.answer)
	defer cancel()
	outcomes := make([]outcome, 0, len(moved))
	for _, c := range moved {
		r := response{err: ctx.Err()}
		if r.err == nil {
			_ = p.pub.servers.cluster.Process(ctx, c)
			if r = c.answer(); trouble(r.err) == "noscript" && p.pub.servers.loadScripts(ctx) == nil {
				_ = p.pub.servers.cluster.Process(ctx, c)
				r = c.answer()
			}
		}
		outcomes = append(outcomes, outcome{c, r})
	}
	p.pub.mu.Lock()
	for _, o := range outcomes {
		if o.err != nil && !isReply(o.err) {
			p.pub.endLocked(o.command)
			p.pub.leaveLocked(o.command)
			continue
		}
		p.concludeLocked(o.command, o.response)
	}
	p.pub.mu.Unlock()
	p.pub.tell(outcomes)
}
