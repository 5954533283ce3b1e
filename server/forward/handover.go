package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server/engine"
)

// A young session moves to the node where its upgrade lands (see engine.Server.Release):
//
//  1. That node notes the session as arriving and asks the owner for it.
//  2. The owner sets a pointer to that node, releases the session and answers with what has to be known of it. What waited there
//     follows the pointer, and waits again at the new node until the session is known.
//  3. The new node adopts the session and serves the upgrade.
//
// The id goes on naming the old owner. Its pointer lives as long as requests follow it: a session that polls sends one within
// each heartbeat.

const (
	// maxPointers bounds the pointers; a session beyond it stays where it is.
	maxPointers = 100_000
	// pointerLife is how long a pointer lives that nobody follows, at least.
	pointerLife = time.Minute
	// releaseTime is how long the owner may take to release a session.
	releaseTime = 2 * time.Second
	// arrivalTime is how long a request waits for a session that is arriving.
	arrivalTime = 5 * time.Second
	// maxTransfer bounds what is told of a session, in bytes.
	maxTransfer = 1 << 20
)

// HoldYoung implements server.Forwarder.
func (f *Forwarder) HoldYoung(*http.Request) time.Duration {
	if !f.peers.reachable.Load() {
		return 0
	}
	return f.opts.HandoverWindow
}

// takeSession has the session of an upgrade come here, and serves it, if it is young. It reports whether the request is answered.
func (f *Forwarder) takeSession(w http.ResponseWriter, r *http.Request, c *call) bool {
	if f.opts.HandoverWindow == 0 || c.hop != 1 {
		return false
	}
	arrived, first := f.arrivals.begin(c.sid)
	if !first {
		return false
	}
	taken := func() bool {
		defer arrived()
		return f.adopt(c, r)
	}()
	if taken {
		f.engine.ServeFor(f.engine.Peer(r), w, r.WithContext(context.WithValue(r.Context(), passKey{}, &pass{Hop: maxHops})))
	}
	return taken
}

// adopt asks the owner for a session and goes on with it.
func (f *Forwarder) adopt(c *call, r *http.Request) bool {
	transfer, err := f.askRelease(c, r)
	if err != nil {
		f.opts.Logger.Debug("a session was not handed over", "node", c.to.id, "error", err)
		return false
	}
	if err := f.engine.Adopt(transfer); err != nil {
		f.count.lost.Add(1)
		f.opts.Logger.Warn("a session that another node has handed over cannot go on here", "node", c.to.id, "error", err)
		return false
	}
	f.count.arrived.Add(1)
	return true
}

var errNotReleased = errors.New("the session is not young any more")

func (f *Forwarder) askRelease(c *call, r *http.Request) (*engine.Transfer, error) {
	ctx, cancel := context.WithTimeout(c.to.life, releaseTime)
	defer cancel()
	resp, err := f.askFor(ctx, c, passRelease, f.engine.Peer(r))
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTransfer))
	switch {
	case err != nil:
		return nil, err
	case resp.Header.Get(headerName) != string(c.to.id) || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound:
		return nil, fmt.Errorf("answer with status %d, %q", resp.StatusCode, resp.Header.Get(headerName))
	case resp.StatusCode == http.StatusNotFound:
		return nil, errNotReleased
	}
	t := new(engine.Transfer)
	if err := json.Unmarshal(body, t); err != nil {
		return nil, fmt.Errorf("reading a session: %w", err)
	}
	if t.ID != c.sid {
		return nil, errors.New("another session than was asked for came") // ids are secrets: the text may be logged
	}
	return t, nil
}

// askFor asks the node of a session for something else than a client does.
func (f *Forwarder) askFor(ctx context.Context, c *call, kind string, client engine.Peer) (*http.Response, error) {
	scheme := "http"
	if f.opts.TLS != nil {
		scheme = "https"
	}
	target := &url.URL{Scheme: scheme, Host: c.to.node.Load().Address, Path: "/"}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set(headerName, f.signFor(c, kind, http.MethodPost, target.RequestURI(), client))
	return f.client.RoundTrip(r)
}

// serveRelease gives a session away, if it is young.
func (f *Forwarder) serveRelease(w http.ResponseWriter, p *pass) {
	to := f.peers.get(p.From)
	if to == nil || to.node.Load().Draining || !f.pointers.set(p.SID, to, f.pointerLife()) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	transfer, ok := f.engine.Release(p.SID)
	if !ok {
		f.pointers.drop(p.SID, to)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	f.count.left.Add(1)
	body, err := json.Marshal(transfer)
	if err != nil { // cannot be
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // if it does not get there, the session is unknown at both ends, and the client begins anew
}

// pointerLife is longer than a session may be silent.
func (f *Forwarder) pointerLife() time.Duration {
	return max(pointerLife, 2*f.engine.Silence())
}

// pointers say where sessions are that have left this node.
type pointers struct {
	mu sync.Mutex
	// Guarded by mu.
	to map[string]*pointer
}

type pointer struct {
	node  *peer
	life  time.Duration
	timer *time.Timer
}

func newPointers() *pointers { return &pointers{to: make(map[string]*pointer)} }

// set makes a pointer. It reports false if there are too many, or one already.
func (p *pointers) set(sid string, node *peer, life time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.to[sid]; there || len(p.to) >= maxPointers {
		return false
	}
	p.to[sid] = &pointer{node: node, life: life, timer: time.AfterFunc(life, func() { p.drop(sid, node) })}
	return true
}

// follow returns where a session has gone, nil if it is not known to have left.
func (p *pointers) follow(sid string) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.to[sid]
	if at == nil {
		return nil
	}
	at.timer.Reset(at.life)
	return at.node
}

// drop forgets that a session is at a node.
func (p *pointers) drop(sid string, node *peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.to[sid]; at != nil && at.node == node {
		at.timer.Stop()
		delete(p.to, sid)
	}
}

// clear forgets all.
func (p *pointers) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.to {
		at.timer.Stop()
	}
	clear(p.to)
}

func (p *pointers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.to)
}

// arrivals are the sessions that have been asked for. The zero value is ready.
type arrivals struct {
	mu sync.Mutex
	// Guarded by mu.
	of map[string]chan struct{}
}

// begin notes a session as arriving. It reports false if it is already; otherwise done must be called.
func (a *arrivals) begin(sid string) (done func(), first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of[sid] != nil {
		return nil, false
	}
	if a.of == nil {
		a.of = make(map[string]chan struct{})
	}
	arrived := make(chan struct{})
	a.of[sid] = arrived
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.of, sid)
		close(arrived)
	}, true
}

// await waits while a session is arriving.
func (a *arrivals) await(ctx context.Context, sid string) {
	a.mu.Lock()
	arrived := a.of[sid]
	a.mu.Unlock()
	if arrived == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, arrivalTime)
	defer cancel()
	select {
	case <-arrived:
	case <-ctx.Done():
	}
}
