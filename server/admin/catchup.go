package admin

import (
	"context"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/server"
)

// sendList sends a page the list of all sockets, which replaces all that it knows. Other nodes are asked for it, which can take
// seconds; what the page is told meanwhile is worked into the list, or the page would forget it. It blocks.
func (a *Admin) sendList(ctx context.Context, s *server.Socket) {
	c := new(catchUp)
	remove := s.HandleAnyOutgoing(func(_ context.Context, _ *server.Socket, e *server.Event) { c.note(e) })
	defer remove()
	list := a.listAll(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	// What c.note waits with meanwhile comes behind the list. A page that has gone needs nothing.
	_ = s.Emit(eventList, c.applyLocked(list))
}

// eventList is the name of the list.
const eventList = "all_sockets"

// maxCatchUp bounds how many events are worked into a list.
const maxCatchUp = 10_000

// catchUp are the events about sockets that a page has been told of, in their order.
type catchUp struct {
	mu sync.Mutex
	// Guarded by mu.
	events []*server.Event
}

// note keeps an event that changes what the page shows.
func (c *catchUp) note(e *server.Event) {
	switch e.Name {
	case "socket_connected", "socket_disconnected", "socket_updated", "room_joined", "room_left":
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.events) < maxCatchUp {
			c.events = append(c.events, e)
		}
	}
}

// place is where a socket is in the list.
type place struct{ namespace, id string }

// applyLocked does to a list what the page would do. Events that the list has in it already change nothing.
func (c *catchUp) applyLocked(list []details) []details {
	at := make(map[place]int, len(list))
	for i, d := range list {
		at[place{d.Namespace, d.ID}] = i
	}
	gone := make(map[int]bool)
	for _, e := range c.events {
		switch e.Name {
		case "socket_connected":
			var d details
			if e.Args.Unmarshal(0, &d) != nil {
				break
			}
			p := place{d.Namespace, d.ID}
			if i, known := at[p]; !known {
				at[p] = len(list)
				list = append(list, d)
			} else {
				list[i].ClientID, list[i].Transport = d.ClientID, d.Transport // its node may not have known yet
			}
		case "socket_disconnected":
			if i, ok := at[placeIn(e, 0, 1)]; ok {
				gone[i] = true
			}
		case "socket_updated":
			applyUpdate(e, at, list)
		default:
			if i, ok := at[placeIn(e, 0, 2)]; ok {
				applyRoom(e, &list[i])
			}
		}
	}
	if len(gone) == 0 {
		return list
	}
	rest := make([]details, 0, len(list))
	for i, d := range list {
		if !gone[i] {
			rest = append(rest, d)
		}
	}
	return rest
}

// placeIn reads of which socket an event tells.
func placeIn(e *server.Event, namespaceAt, idAt int) (p place) {
	// What nodes of other kinds may have sent instead names no socket.
	_ = e.Args.Unmarshal(namespaceAt, &p.namespace)
	_ = e.Args.Unmarshal(idAt, &p.id)
	return p
}

func applyUpdate(e *server.Event, at map[place]int, list []details) {
	var d details
	if e.Args.Unmarshal(0, &d) != nil {
		return
	}
	i, ok := at[place{d.Namespace, d.ID}]
	if !ok {
		return
	}
	if d.Transport != "" {
		list[i].Transport = d.Transport
	}
	if d.Data != nil {
		list[i].Data = d.Data
	}
}

func applyRoom(e *server.Event, d *details) {
	var room string
	if e.Args.Unmarshal(1, &room) != nil {
		return
	}
	known := slices.Contains(d.Rooms, room)
	switch {
	case e.Name == "room_left" && known:
		d.Rooms = slices.DeleteFunc(slices.Clone(d.Rooms), func(r string) bool { return r == room })
	case e.Name == "room_joined" && !known:
		d.Rooms = append(slices.Clip(d.Rooms), room)
	}
}
