package users

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// Change is what is different in a group since the last one.
type Change struct {
	// Snapshot: Joined has all that are there. It comes first.
	Snapshot bool
	Joined   []Present // sorted, as the other two
	Left     []Present // as they were
	Updated  []Present // who are on other nodes, or have another info, than before
	Users    int       // how many are there now
	Sockets  int

	Missing    []adapter.NodeID // nodes whose users are left out, because they are not heard or have not answered yet; sorted
	Incomplete bool             // as in Presence
}

const (
	tick      = 100 * time.Millisecond // gathers changes
	tickEach  = time.Millisecond       // and that much more for each change of the last time, but not more than
	maxTick   = 2 * time.Second
	leaseTime = 30 * time.Second // how long a watcher is told without asking again
	renewal   = 5 * time.Second  // how often it asks
	// unheard is how long a node may say nothing: two questions in a row, each with its answer, may be lost, and two seconds are for the
	// way. It is left out then, whatever the membership knows: a node may be heard by others and not reach this one.
	unheard   = 2*renewal + 2*time.Second
	askAgain  = time.Second // the same until it has been answered, three times
	firstLook = time.Second // how long the first Change waits for the other nodes
)

// Watch tells f who is in the group, and from then on what changes, until ctx ends: users join once with their first socket in
// the cluster and leave with the last, wherever these are. Changes are gathered for 100 ms, for longer in a crowd. Users of a node
// that is not heard any more leave, and join when it is. All functions of a directory are called one after the other, and must
// not block. Watch returns when f has had the first Change, which waits up to 1 s for nodes that do not answer.
//
// Other nodes are told which groups are watched on this one, and send it what changes there. Nothing is sent while nobody watches.
func (g Group) Watch(ctx context.Context, f func(Change)) error {
	w := &watcher{key: g.key, f: f, ctx: ctx, since: time.Now(), ready: make(chan struct{})}
	if !g.d.presence.admit(w) {
		return failed("watch presence", server.ErrClosed)
	}
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		return failed("watch presence", unavailable(ctx.Err()))
	case <-g.d.ctx.Done():
		return failed("watch presence", server.ErrClosed)
	}
}

// watcher is one Watch.
type watcher struct {
	// Static.
	key   groupKey
	f     func(Change)
	ctx   context.Context
	since time.Time
	ready chan struct{} // closed after the first Change

	told bool // used by presence.run alone
}

// presence is the part of a Directory that watches, and tells those who do.
type presence struct {
	d       *Directory    // static
	news    chan struct{} // capacity 1; static
	touches atomic.Bool   // somebody watches, so that it matters when sockets change
	hurried atomic.Bool   // there is something that must not wait for the tick
	serving atomic.Int32  // how many sources there are

	mu sync.Mutex
	// Guarded by mu.
	touched map[string]bool // sockets of which something has changed
	frames  []frame         // of other nodes
	arrived []*watcher
	ended   bool

	// Used by run alone.
	sources map[groupKey]*source
	watched map[groupKey]*watchedGroup
	remove  []func()
	missing []adapter.NodeID
	partial bool
}

// frame is the argument of streamEvent: one of both.
type frame struct {
	Update  *update  `json:"update,omitempty"`
	Request *request `json:"request,omitempty"`
}

func (p *presence) init(d *Directory) {
	p.d = d
	p.news = make(chan struct{}, 1)
	p.touched = make(map[string]bool)
	p.sources = make(map[groupKey]*source)
	p.watched = make(map[groupKey]*watchedGroup)
}

// handlers registers what other nodes ask and tell.
func (p *presence) handlers() []func() {
	return []func(){
		p.d.nsp.HandleServerSide(askEvent, server.ServerSideFuncAck(p.d.present)),
		p.d.nsp.HandleServerSide(streamEvent, server.ServerSideFunc(p.heard)),
	}
}

func (p *presence) heard(_ context.Context, f frame) error {
	p.mu.Lock()
	p.frames = append(p.frames, f)
	p.mu.Unlock()
	if f.Request != nil || f.Update != nil && f.Update.Begins {
		p.hurried.Store(true)
	}
	signal(p.news)
	return nil
}

func (p *presence) admit(w *watcher) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	p.arrived = append(p.arrived, w)
	context.AfterFunc(w.ctx, p.hurry)
	p.hurry()
	return true
}

// hurry has run look now.
func (p *presence) hurry() {
	p.hurried.Store(true)
	signal(p.news)
}

// touch notes that a socket has changed its user or its rooms. It costs next to nothing while nobody watches.
func (p *presence) touch(socket string) {
	if !p.touches.Load() {
		return
	}
	p.mu.Lock()
	p.touched[socket] = true
	p.mu.Unlock()
	signal(p.news)
}

// listen has changes of sockets noted.
func (p *presence) listen() {
	if len(p.remove) > 0 {
		return
	}
	p.touches.Store(true)
	p.remove = []func(){
		p.d.nsp.OnRoomsChange(func(s *server.Socket, _ []string) { p.touch(s.ID()) }),
		p.d.nsp.OnConnection(func(_ context.Context, s *server.Socket) { p.touch(s.ID()) }), // it may be bound already
	}
}

func (p *presence) unlisten() {
	for _, f := range p.remove {
		f()
	}
	p.remove = nil
	p.touches.Store(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.touched)
}

// run does all the work, so that what watchers are told has one order. It ends with the directory.
func (p *presence) run() {
	defer p.end()
	for p.d.ctx.Err() == nil {
		changes := p.round()
		if !p.wait(tick + min(time.Duration(changes)*tickEach, maxTick)) {
			return
		}
	}
}

// wait returns when there is something to do: after a pause that gathers, or at once if that must not wait.
func (p *presence) wait(gather time.Duration) bool {
	var again, gathered <-chan time.Time
	if len(p.watched)+len(p.sources) > 0 {
		timer := time.NewTimer(askAgain)
		defer timer.Stop()
		again = timer.C
	}
	for {
		select {
		case <-p.news:
			if p.hurried.Swap(false) {
				return true
			}
			if gathered == nil {
				timer := time.NewTimer(gather)
				defer timer.Stop()
				gathered = timer.C
			}
		case <-gathered:
			return true
		case <-again:
			return true
		case <-p.d.ctx.Done():
			return false
		}
	}
}

func (p *presence) end() {
	p.unlisten()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// round does what has come up.
func (p *presence) round() (changes int) {
	p.mu.Lock()
	touched, frames, arrived := p.touched, p.frames, p.arrived
	p.touched, p.frames, p.arrived = make(map[string]bool), nil, nil
	p.mu.Unlock()
	for _, w := range arrived {
		p.group(w.key).add(w)
	}
	for i := range frames {
		if frames[i].Request != nil {
			p.serveRequest(*frames[i].Request)
		}
		if frames[i].Update != nil {
			p.take(frames[i].Update)
		}
	}
	if len(p.watched) > 0 {
		p.follow()
	}
	changes = p.serveSources(touched)
	for key, g := range p.watched {
		if g.tell(p); len(g.watchers) == 0 {
			p.drop(key)
		}
	}
	return changes
}

// group returns a group that is watched, a new one if need be.
func (p *presence) group(key groupKey) *watchedGroup {
	g := p.watched[key]
	if g == nil {
		g = &watchedGroup{key: key, feeds: make(map[adapter.NodeID]*feed), members: make(map[seat]*union), before: make(map[seat]*union)}
		p.watched[key] = g
	}
	return g
}

// drop ends what other nodes send of a group. One that does not hear it ends with its lease.
func (p *presence) drop(key groupKey) {
	for node := range p.watched[key].feeds {
		r := request{From: p.d.members.self, Drop: []groupKey{key}}
		if node == p.d.members.self {
			p.serveRequest(r)
			continue
		}
		_ = p.d.nsp.ServerSideEmitTo(node, streamEvent, frame{Request: &r})
	}
	delete(p.watched, key)
}

// watchedGroup unites what the nodes have of a group. Used by presence.run alone.
type watchedGroup struct {
	key      groupKey
	watchers []*watcher
	feeds    map[adapter.NodeID]*feed
	members  map[seat]*union
	before   map[seat]*union // what the watchers know of those that have changed since; nil for who was not there
	sockets  int
	missing  []adapter.NodeID // as the watchers know it, as is
	partial  bool
}

// feed is what comes from one node.
type feed struct {
	life   string // of the node
	stream string // "" before the first update
	seq    uint64
	whole  bool          // all is known
	mine   map[seat]bool // what the node has; false while it has not come again
	asked  time.Time
	heard  time.Time // its last update
	tries  int
}

// union is a member with what the nodes have of it, sorted by node. It is not changed but replaced.
type union struct{ shares []share }

type share struct {
	node    adapter.NodeID
	sockets int
	info    json.RawMessage
}

func (g *watchedGroup) add(w *watcher) { g.watchers = append(g.watchers, w) }

// follow asks nodes for what is missing, renews what is not, and leaves out who is not heard.
func (p *presence) follow() {
	alive, silent := p.d.members.heard()
	slices.Sort(silent)
	p.missing, p.partial = silent, p.d.incomplete()
	alive = append(alive, p.d.members.self)
	now := time.Now()
	for _, node := range alive {
		life := p.d.members.lifeOf(node)
		var wishes []wish
		for _, g := range p.watched {
			if f := g.feed(node, p.d.members.self, life); f.due(now) {
				f.asked = now
				f.tries++
				wishes = append(wishes, wish{g.key, f.stream})
			}
		}
		p.ask(node, wishes)
	}
	for _, g := range p.watched {
		for node := range g.feeds {
			if !slices.Contains(alive, node) {
				g.forget(node)
			}
		}
	}
}

func (p *presence) ask(node adapter.NodeID, wishes []wish) {
	for part := range slices.Chunk(wishes, requestSize) {
		r := request{From: p.d.members.self, Watch: part}
		if node == p.d.members.self {
			p.serveRequest(r)
			continue
		}
		_ = p.d.nsp.ServerSideEmitTo(node, streamEvent, frame{Request: &r}) // it is asked again
	}
}

// lifeOf returns the life of a node that is known.
func (m *members) lifeOf(id adapter.NodeID) string { return m.known()[id].node.Life }

// feed returns what comes from a node; what came from another life of it does not count, nor if it says nothing any more.
func (g *watchedGroup) feed(node, self adapter.NodeID, life string) *feed {
	f := g.feeds[node]
	if f != nil && (f.life != life || f.whole && node != self && time.Since(f.heard) > unheard) {
		g.forget(node)
		f = nil
	}
	if f == nil {
		f = &feed{life: life, mine: make(map[seat]bool)}
		g.feeds[node] = f
	}
	return f
}

// due reports whether the node is to be asked, for the first time, again, or so that it goes on.
func (f *feed) due(now time.Time) bool {
	pause := renewal
	if f.stream == "" && f.tries < 3 {
		pause = askAgain
	}
	return f.asked.IsZero() || now.Sub(f.asked) >= pause
}

// forget leaves a node's members out.
func (g *watchedGroup) forget(node adapter.NodeID) {
	for m := range g.feeds[node].mine {
		g.set(node, here{seat: m})
	}
	delete(g.feeds, node)
}

// take takes in an update.
func (p *presence) take(u *update) {
	g := p.watched[u.Group]
	if g == nil {
		return // nobody watches any more, and the node was told
	}
	f := g.feeds[u.From]
	if f != nil {
		f.heard = time.Now()
	}
	switch {
	case f == nil:
		return // not heard, as this node sees it: it is asked when it is
	case u.Begins:
		f.stream, f.whole = u.Stream, false
		for m := range f.mine {
			f.mine[m] = false // what does not come again has gone
		}
	case u.Stream != f.stream:
		return // of a stream that has ended
	case len(u.Set) == 0 && u.Seq == f.seq: // nothing has been lost
		return
	case len(u.Set) == 0 || u.Seq != f.seq+1:
		// Something was lost. What is known holds until all has come anew.
		f.stream, f.asked, f.tries = "", time.Time{}, 0
		return
	}
	f.seq = u.Seq
	for _, h := range u.Set {
		g.set(u.From, h)
	}
	if !f.whole && !u.More {
		f.whole = true
		g.sweep(u.From, f)
	}
}

// sweep leaves out what has not come again.
func (g *watchedGroup) sweep(node adapter.NodeID, f *feed) {
	for m, fresh := range f.mine {
		if !fresh {
			g.set(node, here{seat: m})
		}
	}
}

// set notes what a node has of a member.
func (g *watchedGroup) set(node adapter.NodeID, h here) {
	old := g.members[h.seat]
	if _, noted := g.before[h.seat]; !noted {
		g.before[h.seat] = old
	}
	now := &union{}
	if old != nil {
		now.shares = slices.Clone(old.shares)
	}
	at, found := slices.BinarySearchFunc(now.shares, node, func(s share, id adapter.NodeID) int { return cmp.Compare(s.node, id) })
	if found {
		g.sockets -= now.shares[at].sockets
		now.shares = slices.Delete(now.shares, at, at+1)
	}
	f := g.feeds[node]
	if h.Sockets > 0 {
		g.sockets += h.Sockets
		now.shares = slices.Insert(now.shares, at, share{node, h.Sockets, h.Info})
		f.mine[h.seat] = true
	} else {
		delete(f.mine, h.seat)
	}
	if len(now.shares) == 0 {
		delete(g.members, h.seat)
	} else {
		g.members[h.seat] = now
	}
}

// present shows a member.
func (u *union) present(m seat) Present {
	p := Present{User: m.User, Room: m.Room}
	for _, s := range u.shares {
		p.Sockets += s.sockets
		p.Nodes = append(p.Nodes, s.node)
		if p.Info == nil {
			p.Info = s.info
		}
	}
	return p
}

// differs reports whether a watcher has to know.
func (u *union) differs(o *union) bool {
	return !slices.EqualFunc(u.shares, o.shares, func(a, b share) bool { return a.node == b.node && bytes.Equal(a.info, b.info) })
}

// tell tells the watchers what has changed, and newcomers all there is.
func (g *watchedGroup) tell(p *presence) {
	g.watchers = slices.DeleteFunc(g.watchers, func(w *watcher) bool { return w.ctx.Err() != nil })
	missing, whole := g.missingNow(p.missing)
	c := g.change()
	c.Users, c.Sockets, c.Missing, c.Incomplete = len(g.members), g.sockets, missing, p.partial
	changed := len(c.Joined)+len(c.Left)+len(c.Updated) > 0 || !slices.Equal(missing, g.missing) || p.partial != g.partial
	clear(g.before)
	g.missing, g.partial = missing, p.partial
	var all *Change
	for _, w := range g.watchers {
		switch {
		case w.told && changed:
			p.d.callWith(w.f, c)
		case !w.told && (whole || time.Since(w.since) >= firstLook):
			if all == nil {
				all = g.snapshot(&c)
			}
			w.told = true
			p.d.callWith(w.f, *all)
			close(w.ready)
		}
	}
}

// missingNow lists the nodes that are not heard, or have not told all, and reports whether there are none of the latter.
func (g *watchedGroup) missingNow(silent []adapter.NodeID) (missing []adapter.NodeID, whole bool) {
	missing, whole = slices.Clone(silent), true
	for node, f := range g.feeds {
		if !f.whole {
			missing, whole = append(missing, node), false
		}
	}
	slices.Sort(missing)
	return missing, whole
}

// change says what is different from before.
func (g *watchedGroup) change() Change {
	var c Change
	for m, old := range g.before {
		now := g.members[m]
		switch {
		case old == nil && now != nil:
			c.Joined = append(c.Joined, now.present(m))
		case old != nil && now == nil:
			c.Left = append(c.Left, old.present(m))
		case old != nil && now.differs(old):
			c.Updated = append(c.Updated, now.present(m))
		}
	}
	for _, list := range [][]Present{c.Joined, c.Left, c.Updated} {
		slices.SortFunc(list, comparePresent)
	}
	return c
}

// snapshot is the first change of a watcher.
func (g *watchedGroup) snapshot(c *Change) *Change {
	all := &Change{Snapshot: true, Users: c.Users, Sockets: c.Sockets, Missing: c.Missing, Incomplete: c.Incomplete}
	for _, m := range slices.SortedFunc(maps.Keys(g.members), seat.compare) {
		all.Joined = append(all.Joined, g.members[m].present(m))
	}
	return all
}

// callWith calls a function of the application.
func (d *Directory) callWith(f func(Change), c Change) {
	defer func() {
		if r := recover(); r != nil {
			d.log.Error("panic in a callback", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	f(c)
}
