package users

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// User is a user of the cluster, who may have any number of sockets on any nodes, or none. It is an immutable value.
//
// Methods that ask the store return ErrOffline or ErrAway, of which ErrKept is a kind, if the user has no socket that can be reached, ErrUserID for what is no
// id, and the context's error. They never say ErrOffline and ErrAway while there may be nodes that do not keep the directory,
// see Options.Mixed, and while the store is away or has lost its entries: then they go to all nodes.
type User struct {
	dir      *Directory
	id       string
	except   []string
	volatile bool
	plain    bool // not compressed
}

// User returns the user with an id.
func (d *Directory) User(id string) User { return User{dir: d, id: id} }

// Except leaves the sockets in these rooms out of what Emit sends, and of Join, Leave and both Disconnects: a socket's id is a room,
// too.
func (u User) Except(rooms ...string) User {
	u.except = slices.Concat(u.except, rooms)
	return u
}

// Volatile lets what Emit sends be dropped by connections that cannot take it at once.
func (u User) Volatile() User {
	u.volatile = true
	return u
}

// Compress says whether what Emit sends may be compressed; the default is that it may.
func (u User) Compress(on bool) User {
	u.plain = !on
	return u
}

// Room returns the name of the room that the user's sockets are in.
func (u User) Room() string { return u.dir.room(u.id) }

// ID returns the user's id.
func (u User) ID() string { return u.id }

// place is where a user can be reached.
type place struct {
	nodes []adapter.NodeID // that hold the user and are heard; not to be changed
	away  bool             // if there are none: not offline
	all   bool             // perhaps anywhere
}

// err says why nobody can be reached.
func (p *place) err() error {
	if p.away {
		return ErrAway
	}
	return ErrOffline
}

// Emit sends an event to all sockets of the user. With the nodes in the cache it does not block; else it asks the store once.
// Messages of one goroutine arrive in their order while the user stays where it is, and with connection state recovery wherever it is.
func (u User) Emit(ctx context.Context, event string, args ...any) error {
	e, err := server.Encode(event, args...)
	if err != nil {
		return failed("emit to user", err)
	}
	return u.EmitEncoded(ctx, e)
}

// EmitEncoded is Emit of an event that has been encoded before.
func (u User) EmitEncoded(ctx context.Context, e server.Encoded) error {
	return failed("emit to user", u.dir.send(ctx, u.id, parcel{e, u.except, u.volatile, u.plain, ctx}))
}

// parcel is an event with how it is to be sent.
type parcel struct {
	event    server.Encoded
	except   []string
	volatile bool
	plain    bool
	ctx      context.Context // what it is a part of; nil for one that is sent again later
}

func (e parcel) emit(to server.BroadcastOperator) error {
	if len(e.except) > 0 {
		to = to.Except(e.except...)
	}
	if e.volatile {
		to = to.Volatile()
	}
	if e.plain {
		to = to.Compress(false)
	}
	return to.WithContext(e.ctx).EmitEncoded(e.event)
}

// later is the event as it is kept to be sent again: nothing of what it was a part of is kept with it.
func (e parcel) later() parcel {
	e.ctx = nil
	return e
}

func (d *Directory) send(ctx context.Context, id string, e parcel) error {
	p, err := d.locate(ctx, id)
	switch {
	case err != nil:
		return err
	case p.all:
		return d.sendToAll(id, e)
	case d.replays(e):
		return d.sendReplayed(id, e, p)
	}
	mixed := d.mixed.on()
	err = d.deliver(ctx, id, e, p)
	switch {
	case !mixed:
		return err
	case errors.Is(err, ErrOffline) || errors.Is(err, ErrAway):
		return d.sendToAll(id, e) // who holds the user may keep the directory and not have been heard of yet
	}
	return errors.Join(err, d.sendForeign(id, e))
}

// sendToAll sends a message to all nodes, whether they are known or not.
func (d *Directory) sendToAll(id string, e parcel) error {
	d.counts.everywhere.Add(1)
	return e.emit(d.nsp.To(d.room(id)))
}

// sendForeign sends a message to nodes that do not keep the directory.
func (d *Directory) sendForeign(id string, e parcel) error {
	d.counts.foreign.Add(1)
	to := d.nsp.To(d.room(id))
	err := e.emit(to.Foreign())
	if others := d.mixed.bystanders(); len(others) > 0 {
		err = errors.Join(err, withoutUnreachable(e.emit(to.Nodes(others...))))
	}
	return err
}

// deliver sends a message to the nodes that hold the user. Those that cannot be reached are looked for once more.
func (d *Directory) deliver(ctx context.Context, id string, e parcel, p place) error {
	if len(p.nodes) == 0 {
		return p.err()
	}
	err := d.emit(id, e, p.nodes, nil)
	lost := unreachable(err)
	if len(lost) == 0 {
		return err
	}
	d.cache.remove(id)
	reached := mark(without(p.nodes, lost))
	p, err = d.lookUp(ctx, id)
	switch nodes := reached.missing(without(p.nodes, lost)); {
	case err != nil:
		return err
	case p.all:
		return d.emitOthers(id, e, append(slices.Clip(reached), lost...))
	case len(nodes) > 0:
		err = withoutUnreachable(d.emit(id, e, nodes, reached))
	case len(reached) == 0:
		p.away = p.away || len(p.nodes) > 0
		err = p.err()
	}
	return err
}

// emit sends a message to nodes that hold the user. has is who has it already.
func (d *Directory) emit(id string, e parcel, nodes []adapter.NodeID, has mark) error {
	to := d.nsp.To(d.room(id)).Nodes(nodes...)
	if len(nodes) == 1 && nodes[0] == d.members.self {
		return e.emit(to)
	}
	d.counts.directed.Add(1)
	m := has.sentTo(nodes)
	return e.emit(to.Holders(m...).Receipt(func(node adapter.NodeID, r server.Receipt) {
		if r.Err == nil && r.Receivers == 0 {
			d.strays.add(d, &stray{user: id, event: e.later(), mark: m.without(node), but: node})
		}
	}))
}

// emitOthers sends a message to all nodes that are heard, but for those that have it or cannot be reached.
func (d *Directory) emitOthers(id string, e parcel, but mark) error {
	d.counts.everywhere.Add(1)
	nodes := but.missing(append(d.members.others(), d.members.self))
	return withoutUnreachable(e.emit(d.nsp.To(d.room(id)).Nodes(nodes...)))
}

// locate says where a user is, from what this node knows if it does.
func (d *Directory) locate(ctx context.Context, id string) (place, error) {
	if err := d.checkID(id); err != nil {
		return place{}, err
	}
	here, nodes, all := d.holdersHere(id)
	switch {
	case all:
		return place{all: true}, nil
	case here:
		return place{nodes: nodes}, nil
	}
	if nodes := d.cache.lookup(id); nodes != nil && d.members.allAlive(nodes) {
		d.counts.hits.Add(1)
		return place{nodes: nodes}, nil
	}
	return d.lookUp(ctx, id)
}

// holdersHere returns who holds a user, if this node is one of them and knows. all reports that the store cannot be believed.
func (d *Directory) holdersHere(id string) (here bool, nodes []adapter.NodeID, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.doubtLocked() {
		return false, nil, true
	}
	if u := d.users[id]; u != nil && u.here() {
		return true, append([]adapter.NodeID{d.members.self}, d.othersLocked(u)...), false
	}
	return false, nil, false
}

// lookAgain is how often the store is asked once more whose answer was overtaken by what happened.
const lookAgain = 3

// lookUp asks the store where a user is. Of the sockets of this node it knows better than the store. An answer that names nobody but this
// node, which does not hold the user, is old: the user was here when it was given, and may be elsewhere by now.
func (d *Directory) lookUp(ctx context.Context, id string) (p place, err error) {
	for range 1 + lookAgain {
		var old bool
		if p, old, err = d.askStore(ctx, id); !old {
			return p, err
		}
	}
	p.away = true // it has been here all the time, if the store is right
	return p, nil
}

func (d *Directory) askStore(ctx context.Context, id string) (p place, old bool, err error) {
	if d.storeDown() {
		return place{all: true}, false, nil
	}
	d.counts.lookups.Add(1)
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	entry, err := d.store.Lookup(limited, d.nsp.Name(), id)
	cancel()
	switch {
	case err != nil && ctx.Err() != nil:
		return place{}, false, unavailable(ctx.Err())
	case err != nil:
		d.storeFailed(err)
		return place{all: true}, false, nil
	case !d.believes(entry.Epoch):
		return place{all: true}, false, nil
	}
	p, old = d.placeOf(id, entry)
	return p, old, nil
}

// placeOf reads an answer of the store, and reports whether it is old.
func (d *Directory) placeOf(id string, entry adapter.UserEntry) (p place, old bool) {
	p.away = entry.Away != ""
	named := false // this node is
	for _, life := range entry.Holders {
		switch node := d.members.nodeOf(life); {
		case node == d.members.self:
			named = true
		case !d.members.alive(node):
			p.away = true
		case !slices.Contains(p.nodes, node):
			p.nodes = append(p.nodes, node)
		}
	}
	d.mu.Lock()
	u := d.users[id]
	here := u != nil && u.count > 0
	for _, node := range d.othersLocked(u) {
		if here && !slices.Contains(p.nodes, node) {
			p.nodes = append(p.nodes, node)
		}
	}
	p.away = p.away || u != nil || time.Now().Before(d.unsure)
	d.mu.Unlock()
	if named && !here && len(p.nodes) == 0 && !p.away {
		return p, true
	}
	slices.Sort(p.nodes)
	if here {
		p.nodes = slices.Insert(p.nodes, 0, d.members.self)
	} else {
		d.cache.put(id, p.nodes)
	}
	return p, false
}

func (d *Directory) storeDown() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

// doubtFor is how long entries of a store that has lost everything may be incomplete.
const doubtFor = 10 * time.Second

// doubtStoreLocked notes that the store has lost everything. What the nodes know of their users comes back, but nobody knows of a user whose
// last client was on a node that was killed: it may come back as long as any.
func (d *Directory) doubtStoreLocked() {
	d.doubt = time.Now().Add(doubtFor)
	d.unsure = time.Now().Add(d.window)
}

func (d *Directory) doubtLocked() bool {
	return !d.doubt.IsZero() && time.Now().Before(d.doubt)
}

// believes reports whether what the store says can be believed: it has lost nothing since this node was put on the roll.
func (d *Directory) believes(epoch string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if epoch != "" && (d.epoch == "" || d.epoch == epoch) {
		return !d.doubtLocked()
	}
	d.doubtStoreLocked()
	signal(d.look)
	return false
}

// unreachable returns the nodes that an error says cannot be reached.
func unreachable(err error) (nodes []adapter.NodeID) {
	switch e := err.(type) {
	case nil:
	case *server.NodeError:
		if errors.Is(e.Err, server.ErrNodeUnreachable) {
			nodes = append(nodes, e.Node)
		}
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			nodes = append(nodes, unreachable(err)...)
		}
	case interface{ Unwrap() error }:
		nodes = unreachable(e.Unwrap())
	}
	return nodes
}

// withoutUnreachable is an error without what is said of nodes that cannot be reached.
func withoutUnreachable(err error) error {
	if len(unreachable(err)) > 0 {
		return nil
	}
	return err
}

// without returns those of a list that are not in another.
func without(list, but []adapter.NodeID) []adapter.NodeID {
	return slices.DeleteFunc(slices.Clone(list), func(id adapter.NodeID) bool { return slices.Contains(but, id) })
}
