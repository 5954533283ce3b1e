package admin

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestQueue is bounded in number and bytes, keeps the order and has room again when it has been emptied.
func TestQueue(t *testing.T) {
	for _, c := range []struct{ size, want int }{{0, maxQueued}, {1 << 20, maxQueuedBytes / (1<<20 + noticeSize)}} {
		q := newQueue()
		for round := range uint64(2) {
			for i := range maxQueued + 5 {
				q.put(notice{event: fmt.Sprint(i), size: c.size})
			}
			list := q.take()
			if len(list) != c.want || list[0].event != "0" || list[c.want-1].event != fmt.Sprint(c.want-1) {
				t.Errorf("%d of %d bytes are kept, want %d, the oldest", len(list), c.size, c.want)
			}
			if want := (round + 1) * uint64(maxQueued+5-c.want); q.droppedCount() != want {
				t.Errorf("%d were dropped, want %d", q.droppedCount(), want)
			}
		}
		if len(q.more) != 1 || len(q.take()) != 0 {
			t.Error("nobody was told, or more is there")
		}
	}
}

// TestAddressesAreBounded: those of a large network do not fill the memory, and newcomers count as one.
func TestAddressesAreBounded(t *testing.T) {
	synctest.Test(t, boundAddresses)
}

func boundAddresses(t *testing.T) {
	a := newAttempts()
	for i := range maxAddresses + 5000 {
		a.take(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if n := len(a.spent); n > maxAddresses+1 {
		t.Errorf("%d addresses are kept", n)
	}
	if a.take("192.0.2.1") {
		t.Error("newcomers do not count as one")
	}
	if !a.take("10.0.0.1") {
		t.Error("who was known before counts as a newcomer")
	}
	time.Sleep(attemptInterval + time.Second)
	if !a.take("192.0.2.1") || len(a.spent) != 2+1 { // beside it 10.0.0.1, and who came when there was no room
		t.Errorf("%d addresses are kept after all have been forgotten but three", len(a.spent))
	}
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "invalid Prefix", "x": "invalid Prefix",
	} {
		if got := sourceOf(address).String(); got != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
}

// event makes one as it comes from another node.
func event(t testing.TB, name string, args ...any) *server.Event {
	t.Helper()
	payload, err := parser.MarshalEvent(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return eventOf(payload)
}

func eventOf(payload parser.Payload) *server.Event {
	p := parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: payload}
	name, args, err := p.Event()
	if err != nil {
		return nil
	}
	return &server.Event{Name: name, Args: args}
}

// TestCatchUp works what has happened into a list.
func TestCatchUp(t *testing.T) {
	socket := func(id string, rooms ...string) details {
		return details{ID: id, ClientID: "c" + id, Transport: "polling", Namespace: "/", Rooms: append([]string{id}, rooms...)}
	}
	c := new(catchUp)
	for _, e := range []*server.Event{
		event(t, "socket_connected", socket("b")), event(t, "socket_connected", socket("new", "r")),
		event(t, "server_stats", 1), event(t, "event_sent", "/", "a", []string{"x"}, "now"),
		event(t, "room_joined", "/", "r", "a", "now"), event(t, "room_joined", "/", "r", "a", "now"), event(t, "room_left", "/", "s", "b", "now"),
		event(t, "socket_updated", map[string]any{"id": "b", "nsp": "/", "transport": "websocket"}),
		event(t, "socket_updated", map[string]any{"id": "new", "nsp": "/", "data": map[string]int{"k": 1}}),
		event(t, "socket_updated", map[string]any{"id": "a", "nsp": "/other", "transport": "websocket"}),
		event(t, "socket_disconnected", "/", "gone", "why", "now"), event(t, "socket_disconnected", "/", "unknown", "why", "now"),
		event(t, "room_left", "/", "gone", "gone", "now"),
		event(t, "socket_connected", 7), event(t, "socket_disconnected"), event(t, "room_joined", "/", nil, nil), event(t, "socket_updated", "x"),
	} {
		c.note(e)
	}
	got := ""
	for _, d := range c.applyLocked([]details{socket("a"), socket("gone"), {ID: "b", ClientID: "b", Namespace: "/", Rooms: []string{"b", "s"}}}) {
		got += fmt.Sprint(d.ID, " ", d.ClientID, " ", d.Transport, " ", d.Rooms, " ", string(d.Data["k"]), "; ")
	}
	if want := "a ca polling [a r] ; b cb websocket [b] ; new cnew polling [new r] 1; "; got != want {
		t.Errorf("the list is %s, want %s", got, want)
	}
}

// FuzzForeign reads what pages and other nodes say.
func FuzzForeign(f *testing.F) {
	for _, text := range []string{
		`{"sessionId":"0123456789abcdef","username":"a","password":"b"}`, `{"_admin":{"clientId":"c","transport":"polling"},"k":[1]}`,
		`["socket_connected",{"id":"a","nsp":"/","rooms":["a"],"data":{},"handshake":{"headers":{}}},"2000-01-01T00:00:00.000Z"]`,
		`["room_joined","/","r","a"]`, `["room_left","/",{"_placeholder":true,"num":0},null]`, `["socket_updated",{"id":"a","nsp":"/","data":null}]`, `["socket_disconnected",1,2]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		var c credentials
		if json.Unmarshal(raw, &c) == nil && validSessionID(string(c.SessionID)) && len(c.SessionID) > maxSessionLen {
			t.Errorf("session id %q", c.SessionID)
		}
		data, _ := splitData(raw)
		if data == nil || data[ownData] != nil {
			t.Errorf("data %v", data)
		}
		e := eventOf(parser.Payload{JSON: raw})
		if e == nil {
			return
		}
		u := new(catchUp)
		u.note(e)
		list := u.applyLocked([]details{{ID: "a", Namespace: "/", Rooms: []string{"a"}}})
		if _, err := parser.MarshalEvent(eventList, list); err != nil {
			t.Errorf("%s makes a list that cannot be sent: %v", raw, err)
		}
		_, _ = stringAt(e.Args, 0, "namespace")
		_, _ = optionalStringAt(e.Args, 1, "filter")
	})
}

// BenchmarkStats is what production mode costs every two seconds, without and with sockets, and with many namespaces. One page is
// connected.
func BenchmarkStats(b *testing.B) {
	for _, c := range []struct{ sockets, namespaces int }{{0, 1}, {1000, 1}, {50_000, 1}, {0, 1000}} {
		b.Run(fmt.Sprintf("sockets=%d/namespaces=%d", c.sockets, c.namespaces), func(b *testing.B) {
			srv, err := server.New(&server.Options{Engine: server.EngineOptions{PingInterval: 1 << 40}})
			if err != nil {
				b.Fatal(err)
			}
			a, err := Instrument(srv, &Options{NoAuth: true})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { a.Close() })
			net := servertest.New(b, srv, &servertest.Options{BufferSize: 4096})
			for i := range c.namespaces {
				srv.Of(fmt.Sprint("/", i))
			}
			for range c.sockets {
				net.Dial(b, nil).Connect("/0", nil)
			}
			net.Connect(b, "/admin", nil)
			agg := newAggregates(engine.Stats{})
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				stats := srv.Engine().Stats()
				for range samplesPerStat {
					agg.sample(stats, a.began)
				}
				if err := a.emitStats(agg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
