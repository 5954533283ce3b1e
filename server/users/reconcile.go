package users

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

const (
	batchSize    = 500
	bulkPace     = 25 * time.Millisecond // between two batches of what is written anew: 20,000 users a second
	storeTimeout = 10 * time.Second      // for one batch
	tellTimeout  = time.Second           // how long Bind waits for other holders
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// reconcile makes the store equal to the table. It is the only one that writes there.
func (d *Directory) reconcile() {
	backoff := minBackoff
	for d.ctx.Err() == nil {
		batch, bulk, next := d.take()
		if len(batch) == 0 && d.onRoll() {
			d.rest(next)
			continue
		}
		if err := d.write(batch); err != nil {
			d.storeFailed(err)
			d.backOff(backoff/2 + rand.N(backoff))
			backoff = min(2*backoff, maxBackoff)
			continue
		}
		backoff = minBackoff
		if bulk {
			d.pause(bulkPace)
		}
	}
}

// take returns the next users to be compared with the store, whether they are written anew, and else when the next grace time ends.
func (d *Directory) take() (batch []*user, bulk bool, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endGracesLocked(time.Now())
	from := &d.urgent
	if len(*from) == 0 {
		from, bulk = &d.bulk, true
	}
	n := min(len(*from), batchSize)
	batch = append(batch, (*from)[:n]...)
	if *from = (*from)[n:]; len(*from) == 0 {
		*from = nil
	}
	for _, u := range batch {
		u.queued = u.queued && bulk // who is in both lists is looked at twice
	}
	for _, q := range []queue{d.away, d.waiting} {
		if len(q) > 0 && (next.IsZero() || q[0].at.Before(next)) {
			next = q[0].at
		}
	}
	return batch, bulk, next
}

// endGracesLocked queues the users whose grace time is over.
func (d *Directory) endGracesLocked(now time.Time) {
	for _, q := range []*queue{&d.away, &d.waiting} {
		for u := q.next(now); u != nil; u = q.next(now) {
			d.queueLocked(u)
		}
	}
}

// awayLocked begins the grace time of a user.
func (d *Directory) awayLocked(u *user) {
	now, q, grace := time.Now(), &d.away, max(d.opts.Grace, 0)
	if u.waits.After(now) && d.window > grace {
		q, grace = &d.waiting, d.window
	}
	u.stored, u.until = storedAway, now.Add(grace)
	*q = append(*q, ending{u, u.until})
}

// rest waits for work, or until next unless that is zero.
func (d *Directory) rest(next time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-d.dirty:
	case <-due:
	case <-d.ctx.Done():
	}
}

// backOff waits until the store should be tried again, or answers somebody else.
func (d *Directory) backOff(t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.again:
	case <-d.ctx.Done():
	}
}

func (d *Directory) pause(t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.ctx.Done():
	}
}

// write writes what the store should have of some users. With an error, those that were not written are queued again.
func (d *Directory) write(batch []*user) error {
	ctx, cancel := context.WithTimeout(d.ctx, storeTimeout)
	defer cancel()
	if err := d.enrol(ctx); err != nil {
		d.requeue(batch)
		return err
	}
	list, changes := d.changes(batch)
	if len(changes) == 0 {
		return nil
	}
	outcomes, err := d.store.Apply(ctx, d.nsp.Name(), changes)
	d.counts.writes.Add(uint64(len(outcomes)))
	d.applied(list, changes, outcomes)
	if err == nil && len(outcomes) < len(changes) {
		err = errors.New("the store has left changes out")
	}
	if err == nil {
		d.storeAnswered()
		return nil
	}
	rest := list[len(outcomes):]
	d.requeue(append(rest[1:len(rest):len(rest)], rest[0])) // the one that failed must not hold up the others
	return err
}

func (d *Directory) requeue(list []*user) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range list {
		d.queueLocked(u)
	}
}

// changes says what has to be written of the users, and of which.
func (d *Directory) changes(batch []*user) (list []*user, changes []adapter.UserChange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range batch {
		if op := d.opLocked(u); op != 0 {
			if u.stored == storedNothing || op == adapter.UserRelease {
				u.stored = storedUnknown // until the answer is there, which may be lost
			}
			list = append(list, u)
			changes = append(changes, adapter.UserChange{Op: op, User: u.id, Life: d.life})
		}
	}
	return list, changes
}

// opLocked says what has to be written of a user, 0 for nothing.
func (d *Directory) opLocked(u *user) adapter.UserOp {
	switch {
	case u.gone:
	case u.count > 0:
		if u.stored != storedHeld {
			return adapter.UserHold
		}
	case u.stored == storedHeld || u.stored == storedUnknown:
		if d.opts.Grace < 0 && !u.waits.After(time.Now()) {
			return adapter.UserForget
		}
		return adapter.UserRelease
	case u.stored == storedAway:
		if !u.until.After(time.Now()) {
			return adapter.UserForget
		}
	default:
		d.removeLocked(u)
	}
	return 0
}

// applied takes in what came of changes.
func (d *Directory) applied(list []*user, changes []adapter.UserChange, outcomes []adapter.UserOutcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, o := range outcomes {
		u := list[i]
		switch changes[i].Op {
		case adapter.UserHold:
			d.heldLocked(u, o)
		case adapter.UserRelease:
			d.releasedLocked(u, o)
		case adapter.UserForget:
			d.forgottenLocked(u, o)
		}
		u.changedLocked()
		if d.opLocked(u) != 0 {
			d.queueLocked(u)
		}
	}
}

func (d *Directory) heldLocked(u *user, o adapter.UserOutcome) {
	u.stored = storedHeld
	if o.First && !u.announced {
		d.events.add(u.id, true)
	}
	u.announced = true
	for _, life := range o.Holders {
		if node := d.members.nodeOf(life); node != d.members.self {
			u.note(node)
		}
	}
	for _, other := range u.others {
		if !other.told {
			d.tellLocked(other.node, u.id)
		}
	}
	if o.Away != "" && o.Away != d.life {
		d.tellLocked(d.members.nodeOf(o.Away), u.id)
	}
}

func (d *Directory) releasedLocked(u *user, o adapter.UserOutcome) {
	d.tellEndLocked(u, o)
	if o.Away != d.life {
		u.stored, u.announced = storedNothing, false
		return
	}
	d.awayLocked(u)
}

func (d *Directory) forgottenLocked(u *user, o adapter.UserOutcome) {
	d.tellEndLocked(u, o)
	if o.Last && u.announced {
		d.events.add(u.id, false)
	}
	u.stored, u.announced = storedNothing, false
}

// tellEndLocked tells those that hold the user that this node does not any more.
func (d *Directory) tellEndLocked(u *user, o adapter.UserOutcome) {
	for _, life := range o.Holders {
		if node := d.members.nodeOf(life); node != d.members.self {
			u.note(node)
		}
	}
	for _, other := range u.others {
		d.tellLocked(other.node, u.id)
	}
	u.others = nil
}

// settled waits until the store has what the table says of a user, and who holds it too knows it.
func (d *Directory) settled(ctx context.Context, u *user) error {
	var late <-chan time.Time
	for {
		d.mu.Lock()
		down, gone := d.down, u.gone
		stored := u.here() || u.count == 0 && u.stored != storedHeld && u.stored != storedUnknown
		told := stored && d.toldLocked(u)
		if u.changed == nil {
			u.changed = make(chan struct{})
		}
		changed := u.changed
		d.mu.Unlock()
		switch {
		case gone || told:
			return nil
		case down:
			return server.ErrClusterUnavailable
		case stored && late == nil:
			timer := time.NewTimer(tellTimeout)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-changed:
		case <-late:
			return nil
		case <-ctx.Done():
			return unavailable(ctx.Err())
		case <-d.ctx.Done():
			return server.ErrClosed
		}
	}
}

// toldLocked reports whether all that hold the user too, and are heard, know that this node does.
func (d *Directory) toldLocked(u *user) bool {
	for _, o := range u.others {
		if !o.told && u.count > 0 && d.members.alive(o.node) {
			return false
		}
	}
	return true
}

// storeFailed notes that the store does not answer.
func (d *Directory) storeFailed(err error) {
	if d.ctx.Err() != nil {
		return
	}
	d.counts.storeErrors.Add(1)
	d.warn("store", "the store of users does not answer; what this node knows of its users is written later", "error", err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.down && (errors.Is(err, server.ErrClusterUnavailable) || errors.Is(err, context.DeadlineExceeded)) {
		d.down = true
		for _, u := range d.users {
			u.changedLocked()
		}
	}
}

func (d *Directory) storeAnswered() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		d.down = false
		signal(d.again)
	}
}
