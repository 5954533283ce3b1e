package natsadapter

import (
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// peerAge is how long a node that is not heard is remembered; heartbeats come more often.
const peerAge = time.Minute

// maxPeers bounds how many are remembered: whoever can publish can invent some.
const maxPeers = 4096

// peers are the other nodes as they were heard on the subject of all members, and the servers of NATS to which they are connected.
// All methods may be called concurrently.
type peers struct {
	mu sync.Mutex
	// Guarded by mu.
	all map[adapter.NodeID]peer
}

type peer struct {
	server string
	heard  time.Time
	mute   bool // did not answer, and was not heard since
}

func newPeers() *peers { return &peers{all: make(map[adapter.NodeID]peer)} }

func (p *peers) heard(id adapter.NodeID, server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.all[id]; !known && len(p.all) >= maxPeers {
		return
	}
	p.all[id] = peer{server: server, heard: time.Now()}
}

// mute notes that a node did not answer.
func (p *peers) mute(id adapter.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one, ok := p.all[id]; ok {
		one.mute = true
		p.all[id] = one
	}
}

// forget is for nodes that nobody is any more.
func (p *peers) forget(ids []adapter.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		delete(p.all, id)
	}
}

// list names the nodes.
func (p *peers) list() (ids []adapter.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ageLocked()
	for id := range p.all {
		ids = append(ids, id)
	}
	return ids
}

// elsewhere names a node on each server but one, that which was heard last.
func (p *peers) elsewhere(server string) map[string]adapter.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ageLocked()
	chosen := make(map[string]adapter.NodeID)
	for id, one := range p.all {
		if one.server == server || one.mute {
			continue
		}
		if other, ok := chosen[one.server]; !ok || p.all[other].heard.Before(one.heard) {
			chosen[one.server] = id
		}
	}
	return chosen
}

func (p *peers) ageLocked() {
	for id, one := range p.all {
		if time.Since(one.heard) > peerAge {
			delete(p.all, id)
		}
	}
}
