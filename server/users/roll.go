package users

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	lookEvery   = 5 * time.Second
	lookGap     = 100 * time.Millisecond // at least between two
	mixedEvery  = time.Second            // while there seem to be nodes without a directory
	lookTimeout = 5 * time.Second
	claimFor    = 30 * time.Second
)

// ended are lives that are over, or on the roll without being known.
type ended struct {
	mu sync.Mutex
	// Guarded by mu.
	over   map[string]time.Time // when it was told
	absent map[string]time.Time // since when this node has not known it
	busy   bool                 // one is being swept
}

func (e *ended) init() {
	e.over, e.absent = make(map[string]time.Time), make(map[string]time.Time)
}

func (e *ended) add(life string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over[life] = time.Now()
}

// watch looks at the roll and at the cluster.
func (d *Directory) watch() {
	for d.ctx.Err() == nil {
		d.lookOnce()
		every := lookEvery
		if d.mixed.mode == MixedAuto && d.mixed.on() {
			every = mixedEvery
		}
		timer := time.NewTimer(every/2 + rand.N(every))
		select {
		case <-timer.C:
		case <-d.look:
			d.pause(lookGap)
		case <-d.ctx.Done():
		}
		timer.Stop()
	}
}

func (d *Directory) lookOnce() {
	ctx, cancel := context.WithTimeout(d.ctx, lookTimeout)
	defer cancel()
	lives := d.readRoll(ctx)
	up := d.lookAround(ctx, lives)
	if life, ok := d.ended.due(d, lives, up); ok && !d.spawn(func() { d.sweep(life) }) {
		d.ended.done()
	}
}

// readRoll looks whether the store still has this node. It returns the lives on the roll, nil if the store does not answer.
func (d *Directory) readRoll(ctx context.Context) map[string]string {
	d.mu.Lock()
	enrolled, life, epoch := d.enrolled, d.life, d.epoch
	d.mu.Unlock()
	lives, now, err := d.store.Roll(ctx, d.nsp.Name())
	if err != nil {
		d.storeFailed(err)
		return nil
	}
	d.storeAnswered()
	if lives == nil {
		lives = make(map[string]string)
	}
	if _, ok := lives[life]; enrolled && (now != epoch || !ok) {
		d.mu.Lock()
		if d.enrolled && d.life == life && d.epoch == epoch {
			d.writeAnewLocked(now != epoch)
		}
		d.mu.Unlock()
	}
	signal(d.dirty) // the life may be another
	return lives
}

// onRoll reports whether the store knows that this node keeps users.
func (d *Directory) onRoll() bool {
	life := d.srv.Node().Life
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.enrolled && d.life == life
}

// enrol puts this node's life on the roll if it is not there.
func (d *Directory) enrol(ctx context.Context) error {
	self := d.srv.Node()
	d.mu.Lock()
	if d.life != self.Life {
		d.beginLifeLocked(self.Life)
	}
	enrolled := d.enrolled
	d.mu.Unlock()
	if enrolled {
		return nil
	}
	epoch, err := d.store.Enrol(ctx, d.nsp.Name(), self.Life, self.Name)
	if err != nil {
		return failed("enrol", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	former := d.epoch
	d.epoch = epoch
	if former == "" {
		d.beginLocked()
	}
	if former != "" && former != epoch && !d.anew {
		d.writeAnewLocked(true)
	}
	d.enrolled, d.anew = true, false
	signal(d.look) // who is looked at as one without a directory is none any more
	return nil
}

// beginLocked is called at the start: a store that forgets may have been emptied when this node was not there to see it.
func (d *Directory) beginLocked() {
	if _, forgets := d.store.(adapter.ForgetfulUserStore); forgets {
		d.unsure = time.Now().Add(d.window)
	}
}

// beginLifeLocked goes on under another life: what the store has of the former one is swept, away users included.
func (d *Directory) beginLifeLocked(life string) {
	d.life = life
	d.counts.renewals.Add(1)
	d.log.Warn("this node goes on with a new life; its users are written anew", "life", life, "users", len(d.users))
	d.dropOthersUsersLocked()
	d.writeLocked(false)
}

// writeAnewLocked has everything written that the store should have of this node. lost says that the store has lost what it
// had, else somebody has swept this life.
func (d *Directory) writeAnewLocked(lost bool) {
	d.counts.renewals.Add(1)
	if lost {
		d.log.Warn("the store has lost its users; those of this node are written anew", "users", len(d.users))
		d.doubtStoreLocked()
	} else {
		d.log.Warn("another node has swept the users of this node, which it took for dead; they are written anew", "users", len(d.users))
		d.dropOthersUsersLocked()
	}
	d.writeLocked(lost)
}

// dropOthersUsersLocked forgets the users that have no socket here: whoever has swept this life has told of their end.
func (d *Directory) dropOthersUsersLocked() {
	for _, u := range d.users {
		if u.count == 0 {
			u.stored = storedNothing
			d.removeLocked(u)
		}
	}
}

func (d *Directory) writeLocked(lost bool) {
	d.enrolled, d.anew = false, lost
	d.bulk = d.bulk[:0]
	for _, u := range d.users {
		switch {
		case u.count > 0:
			u.stored, u.announced = storedUnknown, u.announced && lost
			for i := range u.others {
				u.others[i].told = false // a life that is over holds nothing, and a store that has lost all tells others nothing
			}
			d.bulk = append(d.bulk, u)
		case u.stored != storedAway: // its release finds nothing any more
			d.awayLocked(u)
		}
	}
	signal(d.dirty)
}

// due returns a life that is to be swept, if nothing is being swept.
func (e *ended) due(d *Directory, lives map[string]string, up bool) (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !up {
		clear(e.absent) // who has come meanwhile is not known
	}
	if lives == nil || !up || e.busy {
		return "", false
	}
	e.forgetLocked(lives)
	own, now := d.srv.Node().Life, time.Now()
	for life := range lives {
		if life == own || d.members.living(life) {
			delete(e.over, life)
			delete(e.absent, life)
			continue
		}
		if since, ok := e.over[life]; ok || d.members.nodeOf(life) == d.members.self {
			if !ok {
				e.over[life] = now
			} else if now.Sub(since) >= max(d.opts.Grace, d.window, 0) {
				e.busy = true
				return life, true
			}
			continue
		}
		if since, ok := e.absent[life]; !ok {
			e.absent[life] = now
		} else if now.Sub(since) >= d.opts.OverAfter {
			e.busy = true
			return life, true
		}
	}
	return "", false
}

// forgetLocked forgets lives that are not on the roll any more.
func (e *ended) forgetLocked(lives map[string]string) {
	for _, m := range []map[string]time.Time{e.over, e.absent} {
		for life := range m {
			if _, ok := lives[life]; !ok {
				delete(m, life)
			}
		}
	}
}

func (e *ended) done() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy = false
}

// sweep removes what a life has left, unless another node does.
func (d *Directory) sweep(life string) {
	defer d.ended.done()
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	if ok, err := d.store.Claim(ctx, d.nsp.Name(), life, d.srv.Node().Life, claimFor); err != nil || !ok {
		return
	}
	d.log.Info("the users of a node whose life is over are swept", "life", life)
	var renewing sync.WaitGroup
	renewing.Go(func() { d.renewClaim(ctx, cancel, life) })
	n := 0
	err := d.store.Sweep(ctx, d.nsp.Name(), life, func(user string) {
		n++
		if !d.has(user) {
			d.events.add(user, false)
		}
	})
	cancel()
	renewing.Wait()
	if err != nil {
		if d.ctx.Err() == nil {
			d.warn("sweep", "sweeping was interrupted, and begins again", "life", life, "error", err)
		}
		return
	}
	d.counts.swept.Add(1)
	d.log.Info("the users of a node whose life is over have been swept", "life", life, "offline", n)
	signal(d.look)
}

// renewClaim keeps a claim until ctx ends, and ends it if another node has it.
func (d *Directory) renewClaim(ctx context.Context, lose context.CancelFunc, life string) {
	ticker := time.NewTicker(claimFor / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if ok, err := d.store.Claim(ctx, d.nsp.Name(), life, d.srv.Node().Life, claimFor); err == nil && !ok {
			lose()
			return
		}
	}
}
