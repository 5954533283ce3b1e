package users

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// source is what this node has of a group that some node watches. Used by the goroutine of presence.run alone.
type source struct {
	key     groupKey
	sockets map[string]seen
	members map[seat]*here
	changed map[seat]bool
	streams map[adapter.NodeID]*stream // of this node too
}

// seen is what is known of a socket.
type seen struct {
	user  string
	rooms []string
	info  json.RawMessage
}

// stream is what one watching node is sent of a group.
type stream struct {
	id      string
	seq     uint64
	fresh   bool // everything is to be sent
	answer  bool // the watcher asks how far the stream is
	renewed time.Time
}

// update is one message of a stream. A node that finds that one is missing asks for all anew.
type update struct {
	From   adapter.NodeID `json:"from"`
	Group  groupKey       `json:"group"`
	Stream string         `json:"stream"`
	Seq    uint64         `json:"seq"`
	Begins bool           `json:"begins,omitempty"` // what was known of the node before does not count
	More   bool           `json:"more,omitempty"`   // the next message belongs to the same change
	Set    []here         `json:"set,omitempty"`    // one without sockets has gone
}

// updateSize is how many members one update has at most.
const updateSize = 500

func newSource(key groupKey) *source {
	return &source{
		key: key, sockets: make(map[string]seen), members: make(map[seat]*here),
		changed: make(map[seat]bool), streams: make(map[adapter.NodeID]*stream),
	}
}

// look takes in what is true of a socket now.
func (src *source) look(d *Directory, id string) {
	before := src.sockets[id]
	var now seen
	if s, user, ok := d.boundSocket(id); ok {
		if rooms := src.key.rooms(s); len(rooms) > 0 {
			now = seen{user, rooms, infoOf(s)}
		}
	}
	for _, room := range before.rooms {
		src.count(seat{before.user, room}, -1, nil)
	}
	for _, room := range now.rooms {
		src.count(seat{now.user, room}, 1, now.info)
	}
	if len(now.rooms) == 0 {
		delete(src.sockets, id)
	} else {
		src.sockets[id] = now
	}
}

func (src *source) count(m seat, n int, info json.RawMessage) {
	h := src.members[m]
	if h == nil {
		h = &here{seat: m}
		src.members[m] = h
	}
	h.Sockets += n
	if n > 0 && info != nil && !bytes.Equal(h.Info, info) {
		h.Info = info
	}
	src.changed[m] = true
}

// news returns what has changed, and forgets it. Members that have gone have no sockets.
func (src *source) news() []here {
	list := make([]here, 0, len(src.changed))
	for m := range src.changed {
		h := src.members[m]
		if h.Sockets == 0 {
			delete(src.members, m)
			list = append(list, here{seat: m})
			continue
		}
		list = append(list, *h)
	}
	clear(src.changed)
	return list
}

// updates makes the messages of a stream.
func (st *stream) updates(src *source, self adapter.NodeID, news []here) []update {
	begins := st.fresh
	if st.fresh {
		news = make([]here, 0, len(src.members))
		for _, h := range src.members {
			news = append(news, *h)
		}
	}
	var list []update
	for first := true; len(news) > 0 || first && begins; first = false {
		n := min(len(news), updateSize)
		st.seq++
		list = append(list, update{
			From: self, Group: src.key, Stream: st.id, Seq: st.seq, Begins: first && begins, Set: news[:n], More: n < len(news),
		})
		news = news[n:]
	}
	if len(list) == 0 && st.answer {
		list = append(list, update{From: self, Group: src.key, Stream: st.id, Seq: st.seq})
	}
	st.fresh, st.answer = false, false
	return list
}

// request is what a watching node wants of another one: sent when it begins, now and then, and when it has missed something.
type request struct {
	From  adapter.NodeID `json:"from"`
	Watch []wish         `json:"watch,omitempty"`
	Drop  []groupKey     `json:"drop,omitempty"`
}

// wish is one group of a request, with how far the watcher is.
type wish struct {
	Group  groupKey `json:"group"`
	Stream string   `json:"stream,omitempty"`
}

// requestSize is how many groups one request has at most.
const requestSize = 200

// serveRequest begins, renews and ends streams.
func (p *presence) serveRequest(r request) {
	for _, key := range r.Drop {
		if src := p.sources[key]; src != nil {
			delete(src.streams, r.From)
		}
	}
	for _, w := range r.Watch {
		src := p.source(w.Group)
		st := src.streams[r.From]
		if st == nil || st.id != w.Stream {
			st = &stream{id: string(adapter.NewNodeID()), fresh: true}
			src.streams[r.From] = st
		}
		st.answer, st.renewed = true, time.Now()
	}
}

// source returns the source of a group, which begins with all sockets.
func (p *presence) source(key groupKey) *source {
	if src := p.sources[key]; src != nil {
		return src
	}
	src := newSource(key)
	p.sources[key] = src
	p.listen()
	for _, id := range p.d.candidates(key) {
		src.look(p.d, id)
	}
	return src
}

// serveSources looks at the sockets of which something has changed, and tells who watches. It returns how many changes that were.
func (p *presence) serveSources(touched map[string]bool) int {
	total := 0
	for key, src := range p.sources {
		for id := range touched {
			src.look(p.d, id)
		}
		news := src.news()
		total += len(news)
		for node, st := range src.streams {
			if time.Since(st.renewed) > leaseTime && node != p.d.members.self || !p.send(node, st.updates(src, p.d.members.self, news)) {
				delete(src.streams, node)
			}
		}
		if len(src.streams) == 0 {
			delete(p.sources, key)
		}
	}
	p.serving.Store(int32(len(p.sources)))
	if len(p.sources) == 0 {
		p.unlisten()
	}
	return total
}

// send reports false if the stream cannot go on: its watcher asks for it anew, if it still wants it.
func (p *presence) send(node adapter.NodeID, updates []update) bool {
	for i := range updates {
		if node == p.d.members.self {
			p.take(&updates[i])
		} else if err := p.d.nsp.ServerSideEmitTo(node, streamEvent, frame{Update: &updates[i]}); err != nil {
			return false
		}
	}
	return true
}
