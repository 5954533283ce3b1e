package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

const (
	// crowd is the number of sockets from which on a room is too large for what costs work per member.
	crowd = 100
	// clusterPatience is how long one question to the other nodes may take.
	clusterPatience = 2 * time.Second
)

// How often the cluster is asked: a census is kept for longer the more it cost.
const (
	minCensusAge = 250 * time.Millisecond
	censusLoad   = 20 // times as long as it took
)

// person is a user who is online, and the names of the nodes that serve them, sorted. Node.js nodes tell no name.
type person struct {
	User  name     `json:"user"`
	Nodes []string `json:"nodes"`
}

func byUser(p person, user name) int { return compareNames(p.User, user) }

// census says who was where in the cluster at one time. It is not changed after it has been taken.
type census struct {
	at       time.Time // when it was asked for: what happened before is in it
	took     time.Duration
	complete bool // every node answered
	alone    bool // the other nodes could not be reached at all
	foreign  bool // it has sockets of nodes that do not tell us when something changes
	sockets  int
	users    []person // sorted by user
	rooms    map[name]occupancy
}

// occupancy is a public room in a census.
type occupancy struct {
	sockets int
	users   []name // sorted
}

func (o occupancy) isCrowd() bool { return o.sockets >= crowd }

// present is what the cluster tells about one socket.
type present struct {
	user  name   // "" before login
	node  string // "" on nodes that do not tell
	rooms []name
}

// count sums up the sockets of the cluster.
func count(sockets []present) *census {
	c := &census{sockets: len(sockets), rooms: make(map[name]occupancy)}
	nodes := make(map[name][]string)
	for _, s := range sockets {
		c.foreign = c.foreign || s.node == ""
		if s.user != "" {
			nodes[s.user] = append(nodes[s.user], s.node)
		}
		for _, room := range s.rooms {
			o := c.rooms[room]
			o.sockets++
			if s.user != "" {
				o.users = append(o.users, s.user)
			}
			c.rooms[room] = o
		}
	}
	for _, user := range slices.Sorted(maps.Keys(nodes)) {
		c.users = append(c.users, person{user, slices.DeleteFunc(distinct(nodes[user]), func(node string) bool { return node == "" })})
	}
	for room, o := range c.rooms {
		o.users = distinct(o.users)
		c.rooms[room] = o
	}
	return c
}

func distinct[T name | string](values []T) []T {
	slices.Sort(values)
	return slices.Compact(values)
}

// askCluster takes a census. Nodes that do not answer are missing in it.
func (c chat) askCluster(ctx context.Context) (*census, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	found, err := c.sockets.FetchSockets(ctx)
	if err != nil && !isPartial(err) {
		return nil, err
	}
	sockets := make([]present, 0, len(found.Values))
	for _, s := range found.Values {
		sockets = append(sockets, describe(s.ID(), s.Rooms(), s.Data()))
	}
	result := count(sockets)
	result.complete = err == nil && found.Complete()
	result.alone = errors.Is(err, server.ErrClusterUnavailable)
	return result, nil
}

// isPartial reports whether an error of a question to the cluster comes with the answers of the nodes that could be
// reached, this one among them.
func isPartial(err error) bool {
	return errors.Is(err, server.ErrClusterUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// describe makes sense of a socket of any node. The plain Node.js program keeps no data: there the user is the room that
// the socket has joined.
func describe(id string, rooms []string, data json.RawMessage) present {
	p := present{rooms: publicRooms(rooms)}
	var known struct {
		User name   `json:"user"`
		Node string `json:"node"`
	}
	if json.Unmarshal(data, &known) == nil {
		p.user, p.node = known.User, known.Node
	}
	if p.user != "" || p.node != "" {
		return p
	}
	for _, room := range rooms {
		if n := name(room); room != id && n.checkUser() == nil {
			p.user = n
			break
		}
	}
	return p
}

// directory keeps the latest census. Any number of callers at the same time cause one question to the cluster.
type directory struct {
	// Static after construction.
	ask func(context.Context) (*census, error)

	mu sync.Mutex
	// Guarded by mu.
	latest *question // answered without an error, or nil
	asking *question // on its way, or nil
}

// question is one census, from the moment it is asked for.
type question struct {
	at     time.Time
	done   chan struct{}
	answer *census // set before done is closed, like err
	err    error
}

// recent returns a census that is as new as its cost allows.
func (d *directory) recent(ctx context.Context) (*census, error) {
	d.mu.Lock()
	age := time.Duration(minCensusAge)
	if d.latest != nil {
		age = max(age, censusLoad*d.latest.answer.took)
	}
	d.mu.Unlock()
	return d.since(ctx, time.Now().Add(-age))
}

// since returns a census that was asked for at start or later.
func (d *directory) since(ctx context.Context, start time.Time) (*census, error) {
	for {
		d.mu.Lock()
		if q := d.latest; q != nil && !q.at.Before(start) {
			d.mu.Unlock()
			return q.answer, nil
		}
		q := d.asking
		if q == nil {
			q = &question{at: time.Now(), done: make(chan struct{})}
			d.asking = q
			d.mu.Unlock()
			d.run(ctx, q)
			return q.answer, q.err
		}
		d.mu.Unlock()
		select {
		case <-q.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		// The one who asked may have gone away meanwhile: that error is not ours.
		if !q.at.Before(start) && q.err == nil {
			return q.answer, nil
		}
	}
}

func (d *directory) run(ctx context.Context, q *question) {
	q.answer, q.err = d.ask(ctx)
	if q.err == nil {
		q.answer.at, q.answer.took = q.at, time.Since(q.at)
	}
	d.mu.Lock()
	d.asking = nil
	if q.err == nil {
		d.latest = q
	}
	d.mu.Unlock()
	close(q.done)
}
