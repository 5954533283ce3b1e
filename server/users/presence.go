package users

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// Group is a set of bound sockets of the whole cluster whose users can be listed, counted and watched. Every node knows its own
// sockets; the others are asked. There is no grace time here: a user whose last socket has gone is gone, even if away.
type Group struct {
	d   *Directory
	key groupKey
}

// groupKey names a group among nodes.
type groupKey struct {
	Kind groupKind `json:"kind"`
	Name string    `json:"name,omitempty"`
}

type groupKind uint8

const (
	everyone groupKind = iota
	oneRoom
	roomsWith
)

// Everyone is all users.
func (d *Directory) Everyone() Group { return Group{d, groupKey{Kind: everyone}} }

// Room is the users who have sockets in a room.
func (d *Directory) Room(name string) Group { return Group{d, groupKey{oneRoom, name}} }

// RoomsWith is the users in all rooms whose names begin with prefix: one Present for each room that a user is in.
func (d *Directory) RoomsWith(prefix string) Group { return Group{d, groupKey{roomsWith, prefix}} }

// Present is a user in a group.
type Present struct {
	User    string
	Room    string          // one of RoomsWith; "" in other groups
	Info    json.RawMessage // what a socket of the user was bound with last, on the first of Nodes that has any; nil if none has
	Sockets int
	Nodes   []adapter.NodeID // sorted
}

// Presence is who is in a group.
type Presence struct {
	Users   []Present // each once, sorted by User, then Room
	Sockets int
	Missing []adapter.NodeID // nodes whose users are not in it, because they have not answered or are not heard
	// Incomplete: there may be nodes that keep no directory, such as those of Node.js, and whose users nobody knows.
	Incomplete bool
}

// Count is how many are in a group.
type Count struct {
	Users, Sockets int // Users: as many as Presence.Users would have
	Missing        []adapter.NodeID
	Incomplete     bool
}

// seat is what a group has once: a user, or one of its rooms.
type seat struct {
	User string `json:"user"`
	Room string `json:"room,omitempty"`
}

func (m seat) compare(o seat) int {
	return cmp.Or(strings.Compare(m.User, o.User), strings.Compare(m.Room, o.Room))
}

// here is what one node has of a member.
type here struct {
	seat
	Sockets int             `json:"sockets"`
	Info    json.RawMessage `json:"info,omitempty"`
}

// The server-side events between directories about presence.
const (
	askEvent    = "sockeye:present"  // a question with an answer
	streamEvent = "sockeye:presence" // streams: see presencesource.go
)

// presenceQuestion asks a node who is in a group, or how many are.
type presenceQuestion struct {
	Group groupKey `json:"group"`
	Count bool     `json:"count,omitempty"`
}

// presenceAnswer lists the members, or counts those that the node alone has and lists those that others may have too.
type presenceAnswer struct {
	List   []here `json:"list,omitempty"`
	Shared []seat `json:"shared,omitempty"`
	Alone  int    `json:"alone,omitempty"`
	Number int    `json:"number"` // of sockets
}

// Users lists who is in the group, with one question to each node. The answers of the nodes grow with their users: for thousands
// Count costs less, and Watch is told of changes only. It is an error only if ctx has ended before.
func (g Group) Users(ctx context.Context) (Presence, error) {
	answers, missing, err := g.ask(ctx, false)
	if err != nil {
		return Presence{}, failed("list presence", err)
	}
	p := Presence{Missing: missing, Incomplete: g.d.incomplete()}
	all := make(map[seat]*Present)
	for _, from := range answers {
		p.Sockets += from.Number
		for _, h := range from.List {
			u := all[h.seat]
			if u == nil {
				u = &Present{User: h.User, Room: h.Room}
				all[h.seat] = u
			}
			u.Sockets += h.Sockets
			u.Nodes = append(u.Nodes, from.node)
			if u.Info == nil {
				u.Info = h.Info
			}
		}
	}
	p.Users = make([]Present, 0, len(all))
	for _, u := range all {
		p.Users = append(p.Users, *u)
	}
	slices.SortFunc(p.Users, comparePresent)
	return p, nil
}

func comparePresent(a, b Present) int {
	return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.Room, b.Room))
}

// Count counts who is in the group. Nodes answer with numbers, and name only users whom others hold too, so that nobody is counted
// twice. Errors are as for Users.
func (g Group) Count(ctx context.Context) (Count, error) {
	answers, missing, err := g.ask(ctx, true)
	if err != nil {
		return Count{}, failed("count presence", err)
	}
	c := Count{Missing: missing, Incomplete: g.d.incomplete()}
	shared := make(map[seat]bool)
	for _, from := range answers {
		c.Sockets += from.Number
		c.Users += from.Alone
		for _, m := range from.Shared {
			shared[m] = true
		}
	}
	c.Users += len(shared)
	return c, nil
}

// answerOf is what a node has answered.
type answerOf struct {
	node adapter.NodeID
	presenceAnswer
}

// ask puts a question to all nodes, this one included, and returns the answers by node, and who is missing.
func (g Group) ask(ctx context.Context, count bool) (answers []answerOf, missing []adapter.NodeID, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, unavailable(err)
	}
	q := presenceQuestion{g.key, count}
	alive, silent := g.d.members.heard()
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, node := range alive {
		asked.Go(func() {
			a, err := server.ServerSideEmitWithAckTo[presenceAnswer](ctx, g.d.nsp, node, askEvent, q)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, node)
				return
			}
			answers = append(answers, answerOf{node, a})
		})
	}
	own, err := g.d.present(ctx, q)
	asked.Wait()
	if err != nil {
		return nil, nil, err
	}
	answers = append(answers, answerOf{g.d.members.self, own})
	slices.SortFunc(answers, func(a, b answerOf) int { return cmp.Compare(a.node, b.node) })
	slices.Sort(silent)
	return answers, silent, nil
}

// heard lists the other nodes that serve the namespace: those that are heard, and those that are not.
func (m *members) heard() (alive, silent []adapter.NodeID) {
	for id, mem := range m.known() {
		switch {
		case !mem.serves:
		case m.alive(id):
			alive = append(alive, id)
		default:
			silent = append(silent, id)
		}
	}
	return alive, silent
}

// present answers a question about this node's sockets.
func (d *Directory) present(_ context.Context, q presenceQuestion) (presenceAnswer, error) {
	var a presenceAnswer
	if q.Group.Kind == everyone && q.Count {
		d.countEveryone(&a)
		return a, nil
	}
	all := make(map[seat]*here)
	for _, socket := range d.candidates(q.Group) {
		s, user, ok := d.boundSocket(socket)
		if !ok {
			continue
		}
		rooms := q.Group.rooms(s)
		for _, room := range rooms {
			h := all[seat{user, room}]
			if h == nil {
				h = &here{seat: seat{user, room}}
				all[h.seat] = h
			}
			h.Sockets++
			if !q.Count {
				if info := infoOf(s); info != nil {
					h.Info = info
				}
			}
		}
		if len(rooms) > 0 {
			a.Number++
		}
	}
	for m, h := range all {
		switch {
		case !q.Count:
			a.List = append(a.List, *h)
		case len(d.otherHolders(m.User)) > 0:
			a.Shared = append(a.Shared, m)
		default:
			a.Alone++
		}
	}
	return a, nil
}

// countEveryone counts all bound sockets without looking at them.
func (d *Directory) countEveryone(a *presenceAnswer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a.Number = len(d.sockets)
	for id, u := range d.users {
		switch {
		case u.count == 0:
		case len(d.othersLocked(u)) > 0:
			a.Shared = append(a.Shared, seat{User: id})
		default:
			a.Alone++
		}
	}
}

// candidates names the sockets of this node that may be in a group.
func (d *Directory) candidates(g groupKey) []string {
	if g.Kind == oneRoom {
		return d.nsp.To(g.Name).LocalIDs()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := make([]string, 0, len(d.sockets))
	for id := range d.sockets {
		ids = append(ids, id)
	}
	return ids
}

// boundSocket returns a socket of this node that has a user.
func (d *Directory) boundSocket(id string) (s *server.Socket, user string, ok bool) {
	user, ok = d.userOfSocket(id)
	if !ok {
		return nil, "", false
	}
	s, ok = d.nsp.Socket(id)
	return s, user, ok
}

// rooms returns for which rooms a socket is in the group: "" if rooms do not matter.
func (g groupKey) rooms(s *server.Socket) []string {
	switch g.Kind {
	case everyone:
		return []string{""}
	case oneRoom:
		if slices.Contains(s.Rooms(), g.Name) {
			return []string{""}
		}
		return nil
	default:
		return slices.DeleteFunc(s.Rooms(), func(room string) bool { return !strings.HasPrefix(room, g.Name) })
	}
}

// infoOf returns what a socket was bound with.
func infoOf(s *server.Socket) json.RawMessage {
	var b struct {
		Info json.RawMessage `json:"info"`
	}
	if _, err := s.Data().Load(DataKey, &b); err != nil {
		return nil // it is bound anew this moment
	}
	return b.Info
}
