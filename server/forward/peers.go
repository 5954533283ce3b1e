package forward

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// downFor is how long a node is not tried again that could not be reached.
const downFor = time.Second

// peer is another node.
type peer struct {
	id     adapter.NodeID
	number atomic.Uint64   // of the latest pass for it
	down   atomic.Int64    // Unix nanoseconds until which it is not tried
	life   context.Context // ends when its life as a node is over
	end    context.CancelFunc

	node atomic.Pointer[adapter.Node]
	key  atomic.Pointer[[]byte] // nil if it has not told one
	mute atomic.Bool            // nothing was heard for longer than it promised
}

// peers are the other nodes, by id and by the tag with which the ids of their sessions begin.
type peers struct {
	secret string        // Options.ClusterSecret
	total  atomic.Uint64 // passes for all nodes

	byTag     atomic.Pointer[map[string]*peer]
	reachable atomic.Bool // some node may send requests: it has a private listener
	mu        sync.Mutex
	// Guarded by mu.
	byID map[adapter.NodeID]*peer
}

func newPeers(secret string) *peers {
	p := &peers{secret: secret, byID: make(map[adapter.NodeID]*peer)}
	p.byTag.Store(new(map[string]*peer))
	return p
}

// owner returns the node of a session, nil if none is known.
func (p *peers) owner(sid string) *peer { return (*p.byTag.Load())[sid[:tagLength]] }

// next returns the number of the next pass for a node.
func (p *peers) next(to *peer) uint64 {
	p.total.Add(1)
	return to.number.Add(1)
}

func (p *peers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byID)
}

// get returns a node, nil if it is not known.
func (p *peers) get(id adapter.NodeID) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

// note takes over what has happened to a node. It reports whether that is gone for good.
func (p *peers) note(change *adapter.NodeChange) (over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	node := change.Node
	known := p.byID[node.ID]
	over = node.State == adapter.NodeOver && !(known != nil && known.node.Load().Life != node.Life)
	switch {
	case over && known != nil:
		delete(p.byID, node.ID)
		known.end()
	case over:
	default:
		if known == nil {
			known = &peer{id: node.ID}
			known.life, known.end = context.WithCancel(context.Background())
			// If it was there before, it must not see a number again: none was above the total.
			known.number.Store(p.total.Load())
			p.byID[node.ID] = known
		}
		known.node.Store(&node)
		known.key.Store(p.keyOf(&node))
		// A question that ran out says less: the node may only be slow.
		known.mute.Store(node.State == adapter.NodeSilent && change.Reason == "silence")
	}
	p.indexLocked()
	return over
}

// indexLocked makes byTag anew. Of two nodes with one tag the older one keeps it; the other is about to draw another.
func (p *peers) indexLocked() {
	tags := make(map[string]*peer, len(p.byID))
	reachable := false
	for _, known := range p.byID {
		node := known.node.Load()
		reachable = reachable || node.Address != "" && known.key.Load() != nil
		if other := tags[node.Tag]; other == nil || node.Started.Before(other.node.Load().Started) {
			tags[node.Tag] = known
		}
	}
	p.byTag.Store(&tags)
	p.reachable.Store(reachable)
}

// keyOf returns the key with which this node signs what it sends to another one.
func (p *peers) keyOf(node *adapter.Node) *[]byte {
	if p.secret != "" {
		key := deriveKey(p.secret, node.ID)
		return &key
	}
	if node.Key == "" {
		return nil
	}
	key := []byte(node.Key)
	return &key
}

// deriveKey makes the key of a node out of the secret that the nodes have been given.
func deriveKey(secret string, id adapter.NodeID) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte("key of node " + string(id))) // never fails
	return mac.Sum(nil)
}

// unusable says why a node cannot be asked now; "" if it can.
func (p *peer) unusable(now time.Time) Reason {
	switch {
	case p.mute.Load():
		return OwnerSilent
	case p.node.Load().Address == "" || p.key.Load() == nil:
		return OwnerUnreachable
	case p.down.Load() > now.UnixNano():
		return OwnerUnreachable
	}
	return ""
}

// failed notes that the node could not be reached.
func (p *peer) failed(now time.Time) { p.down.Store(now.Add(downFor).UnixNano()) }
