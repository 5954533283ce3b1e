package users

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/seldom"
	"github.com/sockeye-io/sockeye/server"
)

// Directory knows which nodes of the cluster hold which users. All methods may be called from any goroutine.
type Directory struct {
	// Static after construction.
	opts   Options
	srv    *server.Server
	nsp    *server.Namespace
	store  adapter.UserStore
	log    *slog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	remove []func()      // what was registered
	window time.Duration // for how long clients can go on, see Namespace.RecoveryWindow

	running  sync.WaitGroup
	spawning sync.Mutex // held while running grows, and while d is closed

	members  members
	cache    *cache
	strays   strays
	events   events
	presence presence
	mixed    mixed
	ended    ended
	counts   counters
	logged   seldom.Keyed

	binds binds

	dirty chan struct{} // capacity 1; tells the reconciler that there is something to write
	look  chan struct{} // capacity 1; tells the watcher to look at the roll at once
	again chan struct{} // capacity 1; tells the reconciler that the store answers again

	mu sync.Mutex
	table
}

// New makes the directory of a server. A namespace has one at most. Close it after the server was shut down.
func New(srv *server.Server, opts Options) (*Directory, error) {
	o, err := opts.settings()
	if err != nil {
		return nil, failed("options", err)
	}
	d := &Directory{
		opts: o, srv: srv, nsp: srv.Of(o.Namespace), store: o.Store, log: o.Logger.With("namespace", o.Namespace),
		dirty: make(chan struct{}, 1), look: make(chan struct{}, 1), again: make(chan struct{}, 1),
		cache: newCache(o.CacheSize),
	}
	d.window = d.nsp.RecoveryWindow()
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.members.init(srv.Node().ID)
	d.table.init(srv.Node().Life)
	d.ended.init()
	d.events.init()
	d.presence.init(d)
	d.strays.init()
	d.mixed.init(o.Mixed)
	d.beginLocked()
	d.remove = append(d.remove,
		d.nsp.OnDisconnect(func(_ context.Context, s *server.Socket, _ server.Reason) { d.drop(s) }),
		d.nsp.OnRecover(d.recovered),
		d.nsp.OnDirected(d.directed),
		d.nsp.HandleServerSide(peerEvent, server.ServerSideFuncAck(d.told)),
		srv.OnNodeChange(d.nodeChanged),
	)
	d.remove = append(d.remove, d.presence.handlers()...)
	d.running.Go(d.reconcile)
	d.running.Go(d.watch)
	d.running.Go(d.dispatch)
	d.running.Go(d.presence.run)
	return d, nil
}

// Close ends what runs. What the store has of this node stays: its users are away until another node finds that its life is
// over, and sweeps it. It is idempotent, and must not be called by a function that the directory calls.
func (d *Directory) Close() error {
	for _, f := range d.remove {
		f()
	}
	d.spawning.Lock()
	d.cancel()
	d.spawning.Unlock()
	d.running.Wait()
	return nil
}

// spawn runs f on a goroutine that Close waits for. It reports false after Close.
func (d *Directory) spawn(f func()) bool {
	d.spawning.Lock()
	defer d.spawning.Unlock()
	if d.ctx.Err() != nil {
		return false
	}
	d.running.Go(f)
	return true
}

// bound is what a socket's data has under DataKey.
type bound struct {
	ID   string `json:"id"`
	Info any    `json:"info,omitempty"`
}

// DataKey is where sockets that are bound tell the other nodes their user in their data, as {id, info}.
const DataKey = "sockeye.user"

// Bind says that a socket is one of a user's, in the place of the user that it had before. The socket joins the user's room, and
// shows id and info, which may be nil, to the other nodes in its data under "sockeye.user". On this node Bind takes effect at once;
// it returns when every node can find the user here. If the store is away, or ctx ends first, it returns
// ErrClusterUnavailable: the binding is kept, and told later. A socket that disconnects is bound no more, at the latest when its
// handlers have returned. Other errors, with which nothing is bound, are ErrUserID, ErrDisconnected, those of functions that UseBind has
// registered, and those of Socket.Join and Data.Set.
func (d *Directory) Bind(ctx context.Context, s *server.Socket, id string, info any) error {
	return failed("bind", d.bind(ctx, s, id, info))
}

func (d *Directory) bind(ctx context.Context, s *server.Socket, id string, info any) error {
	if err := d.checkID(id); err != nil {
		return err
	}
	if s.Namespace() != d.nsp {
		return fmt.Errorf("the socket is in namespace %s", s.Namespace().Name())
	}
	if err := d.binds.ask(s, id); err != nil {
		return err
	}
	if former, ok := d.userOfSocket(s.ID()); ok && former != id {
		d.unbind(s, former)
	}
	if err := s.Data().Set(DataKey, bound{id, info}); err != nil {
		return err
	}
	if err := s.Join(ctx, d.room(id)); err != nil && ctx.Err() == nil {
		if _, ok := d.userOfSocket(s.ID()); !ok {
			s.Data().Delete(DataKey)
		}
		return err
	}
	u, err := d.enter(s, id)
	if err != nil {
		return err
	}
	return d.settled(ctx, u)
}

// enter notes that a socket is a user's.
func (d *Directory) enter(s *server.Socket, id string) (*user, error) {
	u := d.add(s, id)
	d.binds.tell(s, id)
	if !s.Connected() { // it is still in a middleware, or has gone
		context.AfterFunc(s.Context(), func() { d.drop(s) })
		if s.Context().Err() != nil {
			return nil, server.ErrDisconnected
		}
	}
	return u, nil
}

// Unbind says that a socket has no user any more. It returns when the other nodes can know; errors are as for Bind.
func (d *Directory) Unbind(ctx context.Context, s *server.Socket) error {
	id, ok := d.userOfSocket(s.ID())
	if !ok {
		return nil
	}
	u := d.unbind(s, id)
	if u == nil {
		return nil
	}
	return failed("unbind", d.settled(ctx, u))
}

// unbind returns the user if that was its last socket here.
func (d *Directory) unbind(s *server.Socket, id string) *user {
	u := d.drop(s)
	if room := d.room(id); room != s.ID() {
		s.Leave(room)
	}
	s.Data().Delete(DataKey)
	return u
}

// Namespace returns the namespace whose sockets are bound.
func (d *Directory) Namespace() *server.Namespace { return d.nsp }

// UserOf returns the user that a socket of this node is bound to.
func (d *Directory) UserOf(s *server.Socket) (id string, ok bool) { return d.userOfSocket(s.ID()) }

// checkID refuses what cannot be a user's id.
func (d *Directory) checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: it is empty", ErrUserID)
	case len(id) > d.opts.MaxUser:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrUserID, len(id), d.opts.MaxUser)
	case !utf8.ValidString(id):
		return fmt.Errorf("%w: it is not UTF-8", ErrUserID)
	}
	return nil
}

func (d *Directory) room(user string) string { return d.opts.RoomPrefix + user }

// RoomOf names the room that the sockets of a user are in.
func (d *Directory) RoomOf(user string) string { return d.room(user) }

// warn logs what happens often at most once a minute for each key.
func (d *Directory) warn(key, text string, attrs ...any) {
	if held, ok := d.logged.Pass(key, time.Minute); ok {
		d.log.Warn(text, append(attrs, "notLogged", held)...)
	}
}

// signal wakes whoever waits on a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
