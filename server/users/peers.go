package users

import (
	"context"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// peerEvent is the server-side event by which directories tell each other who holds whom.
const peerEvent = "sockeye:users"

// notice is its argument.
type notice struct {
	From    adapter.NodeID `json:"from"`
	Hold    []string       `json:"hold,omitempty"`    // users that From holds, and the receiver may hold or have in its cache
	Release []string       `json:"release,omitempty"` // users that it does not hold any more
	// Waits is for how many milliseconds a client of a user of Release may go on that has lost its connection to From or before.
	Waits map[string]int64 `json:"waits,omitempty"`
	// Holders belongs to User: a message of the receiver has not found it, or not only, where it was sent to.
	User    string           `json:"user,omitempty"`
	Holders []adapter.NodeID `json:"holders,omitempty"`
}

// Limits of one notice.
const (
	noticeUsers = 500
	noticeBytes = 64 << 10
)

// outbox are users that another node has to be told of: by what is true of them when it is told, so that nothing can be told in
// the wrong order. Guarded by Directory.mu.
type outbox struct {
	users   map[string]time.Time // until then a client that was here may go on
	running bool                 // a goroutine tells
}

// tellLocked has a node told whether this one holds a user.
func (d *Directory) tellLocked(node adapter.NodeID, id string) {
	if node == "" || node == d.members.self {
		return
	}
	box := d.boxes[node]
	if box == nil {
		box = &outbox{users: make(map[string]time.Time)}
		d.boxes[node] = box
	}
	var waits time.Time
	if u := d.users[id]; u != nil {
		waits = u.waits
	}
	box.users[id] = later(box.users[id], waits)
	d.tellAgainLocked(node)
}

// tellAgainLocked tells a node that is heard what it has to be told.
func (d *Directory) tellAgainLocked(node adapter.NodeID) {
	box := d.boxes[node]
	if box == nil || box.running || len(box.users) == 0 || !d.members.alive(node) {
		return
	}
	box.running = d.spawn(func() { d.tell(node, box) })
}

// tell tells a node until there is nothing left, or the node is not heard.
func (d *Directory) tell(node adapter.NodeID, box *outbox) {
	for {
		n, ok := d.nextNotice(node, box)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(d.ctx, tellTimeout)
		holds, err := server.ServerSideEmitWithAckTo[[]string](ctx, d.nsp, node, peerEvent, n)
		cancel()
		d.noticed(node, box, &n, holds, err)
		if err != nil {
			d.pause(tellTimeout)
		}
	}
}

// nextNotice takes what is to be told out of a box. It reports false, and the box is not running, if there is nothing.
func (d *Directory) nextNotice(node adapter.NodeID, box *outbox) (n notice, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(box.users) == 0 || !d.members.alive(node) || d.ctx.Err() != nil {
		box.running = false
		if len(box.users) == 0 && d.boxes[node] == box {
			delete(d.boxes, node)
		}
		return n, false
	}
	n.From = d.members.self
	bytes, now := 0, time.Now()
	for id, waits := range box.users {
		if u := d.users[id]; u != nil && u.count > 0 {
			n.Hold = append(n.Hold, id)
			if i := u.find(node); i >= 0 {
				u.others[i].heard = false
			}
		} else {
			n.Release = append(n.Release, id)
			if waits.After(now) {
				if n.Waits == nil {
					n.Waits = make(map[string]int64)
				}
				n.Waits[id] = waits.Sub(now).Milliseconds()
			}
		}
		delete(box.users, id)
		if bytes += len(id); len(n.Hold)+len(n.Release) >= noticeUsers || bytes >= noticeBytes {
			break
		}
	}
	return n, true
}

// noticed notes that a node knows what it was told, or does not, and which of the users it holds itself.
func (d *Directory) noticed(node adapter.NodeID, box *outbox, n *notice, holds []string, err error) {
	too := make(map[string]bool, len(holds))
	for _, id := range holds {
		too[id] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		for _, id := range slices.Concat(n.Hold, n.Release) {
			box.users[id] = later(box.users[id], n.waits(id))
		}
		return
	}
	for _, id := range n.Hold {
		u := d.users[id]
		if u == nil {
			continue
		}
		_, again := box.users[id]
		switch i := u.find(node); {
		case i < 0:
		case !too[id] && !u.others[i].heard:
			u.forget(node)
		case !again:
			u.others[i].told = true
			u.changedLocked()
		}
	}
}

// waits is until when a client of a user may go on, zero if none may.
func (n *notice) waits(id string) (until time.Time) {
	if ms := n.Waits[id]; ms > 0 {
		until = time.Now().Add(time.Duration(min(ms, maxWaits)) * time.Millisecond)
	}
	return until
}

// maxWaits bounds what another node says, in milliseconds.
const maxWaits = 30 * 24 * 3600 * 1000

// waitsLocked notes that a client that another node had may go on.
func (d *Directory) waitsLocked(u *user, until time.Time) {
	if !until.After(u.waits) {
		return
	}
	if u.waits = until; u.count == 0 && u.stored == storedAway {
		d.awayLocked(u)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// told takes in what another node tells. The answer names those of n.Hold that this node holds too.
func (d *Directory) told(_ context.Context, n notice) (holds []string, err error) {
	for _, id := range slices.Concat(n.Hold, n.Release) {
		d.cache.remove(id)
	}
	d.mu.Lock()
	for _, id := range n.Hold {
		d.heldElsewhereLocked(id, n.From)
		if u := d.users[id]; u != nil && u.count > 0 {
			holds = append(holds, id)
		}
	}
	for _, id := range n.Release {
		if u := d.users[id]; u != nil {
			u.forget(n.From)
			d.waitsLocked(u, n.waits(id))
		}
	}
	d.mu.Unlock()
	if n.User != "" {
		d.corrected(&n)
	}
	return holds, nil
}

// heldElsewhereLocked notes that another node holds a user.
func (d *Directory) heldElsewhereLocked(id string, node adapter.NodeID) {
	u := d.users[id]
	switch {
	case u == nil || node == d.members.self:
	case u.stored == storedAway && u.count == 0: // it has come back there
		if u.waits.After(time.Now()) { // another client of it may still come back
			d.tellLocked(node, id)
		}
		u.stored = storedNothing
		d.queueLocked(u)
	case u.find(node) < 0:
		// What the store has said to this node names the other one, or what it has said there names this one.
		o := u.note(node)
		o.told, o.heard = u.stored == storedHeld, true
	default:
		u.note(node).heard = true
	}
}

// corrected takes in where a user really is, or was a moment ago. The cache keeps no empty entries, so that the next message asks the
// store. Who holds the user itself hears of the others from themselves, in order, and only adds what it has missed.
func (d *Directory) corrected(n *notice) {
	d.counts.corrections.Add(1)
	d.cache.correct(n.User, n.Holders)
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[n.User]
	if u == nil || u.count == 0 {
		return
	}
	for _, node := range n.Holders {
		if node != d.members.self && u.find(node) < 0 {
			u.note(node)
			d.tellLocked(node, u.id)
		}
	}
}

// tellHolders tells the sender of a message where the user really is. One that holds the user itself is told by what is true of
// this node when it is told: holders may have changed since the store was asked.
func (d *Directory) tellHolders(to adapter.NodeID, id string, holders []adapter.NodeID) {
	if to == "" || to == d.members.self {
		return
	}
	if slices.Contains(holders, to) {
		d.mu.Lock()
		d.tellLocked(to, id)
		d.mu.Unlock()
	}
	// Without it the sender's next message comes here again.
	_ = d.nsp.ServerSideEmitTo(to, peerEvent, notice{From: d.members.self, User: id, Holders: holders})
}
