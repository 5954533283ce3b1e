package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// Auth lets only those into namespaces who have a token. All methods may be called from any goroutine.
type Auth struct {
	// Static after construction.
	opts     Options
	verifier *verifier
	live     live
	revoked  revoked
	subjects subjects
	counts   counters
	hooked   atomic.Bool // Hooks was called

	mu sync.Mutex
	// Guarded by mu.
	guarded []guarded                 // namespaces with a name of their own
	parents []*server.ParentNamespace // of those that clients cause
}

// New checks the options. Close ends what runs.
func New(opts Options) (*Auth, error) {
	o, err := opts.settings()
	if err != nil {
		return nil, fmt.Errorf("authentication: %w", err)
	}
	a := &Auth{opts: o}
	a.verifier = newVerifier(&a.opts)
	a.live.opts, a.live.expired = &a.opts, a.expire
	a.revoked.start(&a.opts, a.enforce)
	return a, nil
}

// Close ends what runs. Close it after the server was shut down: without it no token expires.
func (a *Auth) Close() error {
	a.revoked.close()
	a.live.close()
	return nil
}

// Verify returns the claims of a token, for programs that take tokens elsewhere, too. The error is a *Refusal.
func (a *Auth) Verify(ctx context.Context, token string) (*Claims, error) {
	claims, r := a.verify(ctx, token)
	if r != nil {
		return nil, r
	}
	return claims, nil
}

func (a *Auth) verify(ctx context.Context, token string) (*Claims, *Refusal) {
	claims, r := a.verifier.verify(ctx, token)
	if r == nil {
		r = a.revoked.check(ctx, claims)
	}
	if r != nil {
		a.counts.refuse(r)
		return nil, r
	}
	a.counts.accepted.Add(1)
	return claims, nil
}

// Hooks are needed for Options.MayJoin, in server.Options.Hooks.
func (a *Auth) Hooks() server.Hooks {
	a.hooked.Store(true)
	if a.opts.MayJoin == nil {
		return server.Hooks{}
	}
	return server.Hooks{BeforeJoin: a.mayJoin}
}

// mayJoin asks the application about rooms.
func (a *Auth) mayJoin(s *server.Socket, rooms []string) error {
	session, ok := sessions.Load(s)
	if !ok || session.binding {
		return nil
	}
	own := session.claims.Load().Subject
	if dir := a.directoryOf(s.Namespace()); dir != nil {
		own = dir.RoomOf(own)
	}
	for _, room := range rooms {
		if room == own {
			continue
		}
		if err := a.opts.MayJoin(s.Context(), s, room); err != nil {
			return err
		}
	}
	return nil
}

// registrar is what *server.Namespace and *server.ParentNamespace have in common.
type registrar interface {
	UseAlways(m server.Middleware) (remove func())
	Handle(event string, handler server.Handler) (remove func())
	HandleServerSide(event string, handler server.ServerSideHandler) (remove func())
	OnConnection(f func(ctx context.Context, s *server.Socket)) (remove func())
	OnDisconnect(f func(ctx context.Context, s *server.Socket, reason server.Reason)) (remove func())
}

// Protect lets only those into a namespace who have a token. It adds a middleware, behind those that are there, and what a token's end
// needs. With a directory, which is that of the namespace, the subject is bound as the socket's user before any handler sees it; dir
// may be nil. Call it before clients come. The returned function removes it all: who is in stays, and no token expires any more.
func (a *Auth) Protect(n *server.Namespace, dir *users.Directory) (remove func(), err error) {
	off, err := a.protect(n, dir)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.guarded = append(slices.Clip(a.guarded), guarded{n, dir})
	return func() {
		off()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.guarded = slices.DeleteFunc(slices.Clone(a.guarded), func(g guarded) bool { return g.nsp == n })
		a.forget(func(s *session) bool { return s.socket.Namespace() == n })
	}, nil
}

// ProtectParent is Protect for the dynamic namespaces of a parent that are created afterwards. DisconnectUser and RevokeBefore reach
// other nodes through a namespace that Protect was called for. Without one they reach those that have a dynamic namespace of this
// node; the others learn of a revocation within 5 s, and DisconnectUser returns an error if there are other nodes.
func (a *Auth) ProtectParent(p *server.ParentNamespace) (remove func(), err error) {
	off, err := a.protect(p, nil)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parents = append(slices.Clip(a.parents), p)
	return func() {
		off()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.parents = slices.DeleteFunc(slices.Clone(a.parents), func(q *server.ParentNamespace) bool { return q == p })
		a.forget(func(s *session) bool { return s.socket.Namespace().Parent() == p })
	}, nil
}

// forget leaves sessions to themselves.
func (a *Auth) forget(gone func(*session) bool) {
	for _, s := range a.subjects.forget(gone) {
		a.live.remove(s)
	}
}

func (a *Auth) protect(n registrar, dir *users.Directory) (remove func(), err error) {
	if a.opts.MayJoin != nil && !a.hooked.Load() {
		return nil, errors.New("protect: MayJoin needs Hooks in the options of the server")
	}
	removes := []func(){
		n.UseAlways(func(ctx context.Context, s *server.Socket) error { return a.admit(ctx, s, dir) }),
		n.OnConnection(a.joined),
		n.OnDisconnect(a.left),
		n.Handle(EventRenew, server.FuncAck(a.renew)),
		n.HandleServerSide(noticeEvent, server.ServerSideFunc(a.noticed)),
	}
	return func() {
		for _, f := range removes {
			f()
		}
	}, nil
}

// bindPatience is how long the other nodes may take to learn where the user is.
const bindPatience = 2 * time.Second

// admit is the middleware.
func (a *Auth) admit(ctx context.Context, s *server.Socket, dir *users.Directory) error {
	token, r := a.opts.token(s)
	if r != nil {
		a.counts.refuse(r)
		return r
	}
	claims, r := a.verify(ctx, token)
	if r != nil {
		a.opts.Logger.Debug("token refused", "namespace", s.Namespace().Name(), "socket", s.ID(), "error", r)
		return r
	}
	session := &session{socket: s, index: -1, binding: true}
	session.claims.Store(claims)
	s.SetOwner(claims.Subject)
	a.subjects.admit(session)
	sessions.Set(s, session)
	if dir != nil {
		ctx, cancel := context.WithTimeout(ctx, bindPatience)
		defer cancel()
		// While the directory's store is away the user is found on this node, and by the others later.
		if err := dir.Bind(ctx, s, claims.Subject, nil); err != nil && !errors.Is(err, server.ErrClusterUnavailable) {
			return err
		}
	}
	session.binding = false
	return nil
}

// joined begins to watch the token of a socket. What was revoked while the socket was on its way is noticed here.
func (a *Auth) joined(_ context.Context, s *server.Socket) {
	session, ok := sessions.Load(s)
	if !ok {
		return
	}
	a.live.add(session)
	if a.subjects.add(session) {
		s.Disconnect()
	}
	if a.revoked.has(session.claims.Load()) {
		a.revoke(session)
	}
}

func (a *Auth) left(_ context.Context, s *server.Socket, _ server.Reason) {
	if session, ok := sessions.Load(s); ok {
		a.live.remove(session)
		a.subjects.remove(session)
	}
}

func (a *Auth) expire(s *session) {
	a.counts.expired.Add(1)
	expire(s.socket)
}
