package redisadapter

import (
	"context"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
)

// roomChannels are the subscriptions to channels that single rooms have, for the rooms that exist on this node. All
// methods may be called concurrently; created and deleted of one room come in order.
type roomChannels struct {
	// Static after construction.
	hub   *hub
	space space
	local adapter.Local

	// Guarded by mu.
	mu      sync.Mutex
	closed  bool
	names   map[string]string // by room
	changed chan struct{}     // closed with the next change of names, nil if nobody waits for it
}

func newRoomChannels(h *hub, s space, local adapter.Local) *roomChannels {
	return &roomChannels{hub: h, space: s, local: local, names: make(map[string]string)}
}

func (c *roomChannels) created(room, name string, to sink) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.names[room] = name
	c.hub.subscribe(c.local.Name(), c.space, name, to)
	c.changedLocked()
}

func (c *roomChannels) deleted(room string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, ok := c.names[room]; ok {
		delete(c.names, room)
		c.hub.unsubscribe(c.local.Name(), c.space, name)
		c.changedLocked()
	}
}

func (c *roomChannels) changedLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// wait returns when Redis has confirmed the subscriptions to rooms that have just been joined, or with an error while Redis is away.
func (c *roomChannels) wait(ctx context.Context, rooms []string) error {
	names := make([]string, 0, len(rooms))
	for _, room := range rooms {
		name, err := c.await(ctx, room)
		if err != nil {
			return err
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return c.hub.waitUnlessAway(ctx, c.space, names...)
}

// await returns the channel of a room, of whose creation the observer may hear later than the join returns, or "" if the
// room is gone.
func (c *roomChannels) await(ctx context.Context, room string) (name string, err error) {
	for {
		c.mu.Lock()
		name, ok := c.names[room]
		if ok || c.closed || !c.local.HasRoom(room) {
			c.mu.Unlock()
			return name, nil
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", adapter.ErrClusterUnavailable
		}
	}
}

// close ends all subscriptions.
func (c *roomChannels) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, name := range c.names {
		c.hub.unsubscribe(c.local.Name(), c.space, name)
	}
	c.names = nil
	c.changedLocked()
}
