package redisadapter

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
)

const (
	// companyFor is how long Node.js nodes are believed to be there once more listened than are known.
	companyFor = 5 * time.Second
	// companyEvery is how long it is believed that there are none: the monitor counts every 500 ms, and whenever a node comes.
	companyEvery = lookEvery
)

// company tells whether there may be Node.js nodes in a namespace, for which rooms that are whole numbers are written in both forms. It
// rather takes a program that only listens for one than a Node.js node for none. All methods may be called concurrently.
type company struct {
	// Static after construction.
	hub     *hub
	local   adapter.Local
	space   space
	channel string // that all nodes subscribe to

	until atomic.Int64 // how long what is in found holds, Unix nanoseconds
	found atomic.Bool
}

func newCompany(h *hub, local adapter.Local, s space, channel string) *company {
	return &company{hub: h, local: local, space: s, channel: channel}
}

// needsBoth reports whether a message for all nodes has to be written for Node.js.
func (c *company) needsBoth(m *adapter.Message) bool {
	if !slices.ContainsFunc([][]string{m.Selection.Rooms, m.Selection.Except, m.Rooms}, lenient.AnyWhole) {
		return false
	}
	now := time.Now()
	if now.UnixNano() < c.until.Load() {
		return c.found.Load()
	}
	found, holds := c.look(), companyEvery
	if found {
		holds = companyFor
	}
	c.found.Store(found)
	c.until.Store(now.Add(holds).UnixNano())
	return found
}

// look compares how many listen with how many are known.
func (c *company) look() bool {
	members, ok := c.local.(adapter.MemberCounter)
	if !ok {
		return true
	}
	if _, cluster := c.hub.rdb.(*redis.ClusterClient); cluster && c.space != shard {
		return true // no server of a Redis Cluster counts those of the others
	}
	count, known := c.hub.listeners(c.channel)
	return !known || count > int64(1+members.Members())
}
