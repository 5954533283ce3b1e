package server

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"sync"
)

// ParentNamespace stands for namespaces that come to be when the first client asks for them. What is registered on it
// applies to the children created afterwards; what is emitted through it goes to the children that exist on
// each node. All methods may be called from any goroutine.
type ParentNamespace struct {
	registry

	// Static after construction.
	server  *Server
	name    string
	pattern *regexp.Regexp
	allow   func(ctx context.Context, name string, auth json.RawMessage) bool

	counts namespaceCounts // of all children that there have been

	mu sync.Mutex
	// Guarded by mu.
	children []*Namespace
}

// Name returns the text of the pattern, or for OfFunc "/_0", "/_1" and so on, as Node names its parents.
func (p *ParentNamespace) Name() string { return p.name }

// Server returns the server that the parent is of.
func (p *ParentNamespace) Server() *Server { return p.server }

// Children returns the namespaces that exist now.
func (p *ParentNamespace) Children() []*Namespace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.children)
}

func (p *ParentNamespace) add(n *Namespace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.children = append(p.children, n)
}

func (p *ParentNamespace) remove(n *Namespace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.children, n); i >= 0 {
		p.children = slices.Delete(p.children, i, i+1)
	}
}

func (p *ParentNamespace) operator() BroadcastOperator { return BroadcastOperator{parent: p} }

// Emit sends an event to all sockets of its children. See BroadcastOperator.Emit.
func (p *ParentNamespace) Emit(event string, args ...any) error {
	return p.operator().Emit(event, args...)
}

// To selects the sockets that are in at least one of the rooms.
func (p *ParentNamespace) To(rooms ...string) BroadcastOperator { return p.operator().To(rooms...) }

// In is To.
func (p *ParentNamespace) In(rooms ...string) BroadcastOperator { return p.operator().To(rooms...) }

// Except leaves out the sockets that are in at least one of the rooms.
func (p *ParentNamespace) Except(rooms ...string) BroadcastOperator {
	return p.operator().Except(rooms...)
}

// Local limits the operation to this node.
func (p *ParentNamespace) Local() BroadcastOperator { return p.operator().Local() }

// Volatile lets each socket that is not ready for more miss the packet.
func (p *ParentNamespace) Volatile() BroadcastOperator { return p.operator().Volatile() }

// Compress says whether the packet may be compressed; the default is that it may.
func (p *ParentNamespace) Compress(on bool) BroadcastOperator { return p.operator().Compress(on) }

// WithContext says in which context events are emitted, for Hooks.Begin.
func (p *ParentNamespace) WithContext(ctx context.Context) BroadcastOperator {
	return p.operator().WithContext(ctx)
}

// LocalIDs names all sockets of its children on this node, in no order.
func (p *ParentNamespace) LocalIDs() []string { return p.operator().LocalIDs() }

// LocalCount counts all sockets of its children on this node.
func (p *ParentNamespace) LocalCount() int { return p.operator().LocalCount() }

// OfPattern returns a parent namespace for the names that match a pattern, also those given to Of later. Anchor the
// pattern with ^ and $ if the whole name has to match.
func (srv *Server) OfPattern(pattern *regexp.Regexp) *ParentNamespace {
	return srv.addParent(&ParentNamespace{server: srv, name: pattern.String(), pattern: pattern})
}

// OfFunc returns a parent namespace for the names that a function allows. The function is called for each client that
// connects to a namespace that does not exist, with the client's auth object. It may block; its context ends
// when the client goes away.
func (srv *Server) OfFunc(allow func(ctx context.Context, name string, auth json.RawMessage) bool) *ParentNamespace {
	return srv.addParent(&ParentNamespace{server: srv, allow: allow})
}

func (srv *Server) addParent(p *ParentNamespace) *ParentNamespace {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if p.pattern == nil {
		p.name = "/_" + strconv.Itoa(len(srv.parents))
	}
	srv.parents = append(srv.parents, p)
	return p
}

func (srv *Server) hasParents() bool {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return len(srv.parents) > 0
}

// createDynamic finds the parent that allows a name and returns the child, with a reference taken; nil if none does. The
// error says that there are too many children.
func (srv *Server) createDynamic(ctx context.Context, name string, auth json.RawMessage) (n *Namespace, created bool, err error) {
	srv.mu.RLock()
	parents := slices.Clone(srv.parents)
	srv.mu.RUnlock()
	for _, p := range parents {
		if ctx.Err() != nil {
			return nil, false, nil
		}
		if p.allows(ctx, name, auth) {
			if n, created = srv.namespaceFor(name, p); n == nil {
				most := srv.opts.MaxDynamicNamespaces
				err = srv.exceeded(limitDynamicNamespaces, "one more dynamic namespace", int64(most))
			}
			return n, created, err
		}
	}
	return nil, false, nil
}

func (p *ParentNamespace) allows(ctx context.Context, name string, auth json.RawMessage) (ok bool) {
	if p.pattern != nil {
		return p.pattern.MatchString(name)
	}
	err := p.server.protect("OfFunc", name, "", func() error {
		ok = p.allow(ctx, name, auth)
		return nil
	})
	return ok && err == nil
}
