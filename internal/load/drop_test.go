package load

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// dropping is a short run in which each of 20 clients loses its connection twice, and gets some 200 messages.
func dropping(target Target, scenario string, rooms int) Config {
	return Config{Target: target, Scenario: scenario, Clients: 20, Timeout: time.Minute, Duration: time.Second, DropEvery: 500 * time.Millisecond,
		DropFor: 50 * time.Millisecond, MessageRate: 200, Rooms: rooms, Reconnect: ReconnectImmediate}
}

// TestDrops has a server that keeps sessions, and loses nothing, over both transports and with all ways to send.
func TestDrops(t *testing.T) {
	t.Parallel()
	target := serve(t, app{recovery: true})
	for _, tc := range []struct {
		scenario, transport string
		rooms               int
	}{{Jitter, WebSocket, 1}, {Avalanche, WebSocket, 1}, {Jitter, WebSocket, 20}, {Avalanche, WebSocket, 3}, {Jitter, Polling, 1}} {
		cfg := dropping(target, tc.scenario, tc.rooms)
		cfg.Target.Transport = tc.transport
		res, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		d, m := res.Drops, res.Messages
		if res.Err() != nil || m.Delivered == 0 || m.Delivered != m.Expected || d.Delivered != 1 {
			t.Errorf("%+v: %v, %+v, %+v", tc, res.Err(), m, res.Connections)
		}
		if d.Count != 40 || d.Back != 40 || d.Resumed != 40 || d.Resume.Count != 40 || d.Answer.Count != 40 || d.CaughtUp == nil {
			t.Errorf("%+v: %+v", tc, d)
		}
		if text := res.Text(); !strings.Contains(text, "100.000 % of the messages") || !strings.Contains(text, "drop's end to CONNECT") {
			t.Errorf("text\n%s", text)
		}
	}
}

// TestDropsStock waits between attempts as the npm client does.
func TestDropsStock(t *testing.T) {
	t.Parallel()
	cfg := dropping(serve(t, app{recovery: true}), Avalanche, 1)
	cfg.Reconnect, cfg.Duration, cfg.DropEvery = "", 300*time.Millisecond, 400*time.Millisecond
	res, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	// The first attempt is 0.5 to 1.5 s after the loss, and the way is open after 50 ms.
	if d := res.Drops; res.Err() != nil || d.Resumed != 20 || d.Resume.P50 < 440 || d.Answer.P50 >= d.Resume.P50 {
		t.Errorf("%v, %+v, resume %+v, answer %+v", res.Err(), d, d.Resume, d.Answer)
	}
}

// TestDropsWithoutRecovery has a server that keeps no sessions: what is sent meanwhile is lost, and told.
func TestDropsWithoutRecovery(t *testing.T) {
	t.Parallel()
	cfg := dropping(serve(t, app{}), Jitter, 1)
	res, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d, m := res.Drops, res.Messages
	// Two drops of 50 ms each in some 200 messages 5 ms apart.
	if least := int64(20 * 2 * 5); m.Lost < least || m.Lost+m.Delivered != m.Expected || d.Resumed != 0 || d.Back != 40 || d.CaughtUp != nil {
		t.Errorf("%+v, %+v, want at least %d lost", m, d, least)
	}
	if err := res.Err(); !errors.As(err, new(*LossError)) || d.Delivered >= 1 || d.Delivered <= 0 {
		t.Errorf("%v, %+v", err, d)
	}
}

// TestDropsMistakes lets a server with recovery make one mistake, and holds that it is found.
func TestDropsMistakes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		mangle func(nsp *server.Namespace, victim *server.Socket, payload, before parser.Payload) error
		want   Messages
	}{
		{"loses one", func(nsp *server.Namespace, victim *server.Socket, payload, _ parser.Payload) error {
			return nsp.To(Room).Except(victim.ID()).Emit("msg", payload)
		}, Messages{Lost: 1}},
		{"sends one twice", func(nsp *server.Namespace, victim *server.Socket, payload, _ parser.Payload) error {
			return errors.Join(toRoom(nsp, payload), victim.Emit("msg", payload))
		}, Messages{Duplicate: 1}},
		{"repeats the one before in its place", func(nsp *server.Namespace, victim *server.Socket, payload, before parser.Payload) error {
			return errors.Join(nsp.To(Room).Except(victim.ID()).Emit("msg", payload), victim.Emit("msg", before))
		}, Messages{Lost: 1, Duplicate: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var calls, made atomic.Int64
			var before atomic.Pointer[parser.Payload]
			target := serve(t, app{recovery: true, broadcast: func(nsp *server.Namespace, payload parser.Payload) error {
				last := before.Swap(&payload)
				members := slices.DeleteFunc(nsp.Sockets(), func(s *server.Socket) bool { return !slices.Contains(s.Rooms(), Room) })
				if calls.Add(1) < 3 || len(members) < 20 || made.Add(1) > 1 { // the first is the probe's
					return toRoom(nsp, payload)
				}
				return tc.mangle(nsp, members[0], payload, *last)
			}})
			cfg := dropping(target, Avalanche, 1)
			res, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			m := res.Messages
			if !errors.As(res.Err(), new(*LossError)) || m.Lost != tc.want.Lost || m.Duplicate != tc.want.Duplicate || m.Late != tc.want.Late {
				t.Errorf("%v: %+v, want %+v", res.Err(), m, tc.want)
			}
		})
	}
}

// TestLastString finds what the npm client takes for an offset.
func TestLastString(t *testing.T) {
	for array, want := range map[string]string{
		`["msg","hi","offset"]`:  "offset",
		`["msg","offset"]`:       "offset",
		`["msg",1,"a\"b\\"]`:     `a\"b\\`,
		`["msg","a,\"b"]`:        `a,\"b`,
		`["msg",""]`:             "",
		`["msg"]`:                "msg",
		`["msg","x",null]`:       "none",
		`["msg",{"a":"b"}]`:      "none",
		`["msg",["a","b"]]`:      "none",
		`["]`:                    "none",
		`"]`:                     "none",
		``:                       "none",
		`["msg",{"a":"\\"},"x"]`: "x",
	} {
		got, ok := lastString([]byte(array))
		if ok != (want != "none") || ok && string(got) != want {
			t.Errorf("%s: %q %v, want %q", array, got, ok, want)
		}
	}
}

// TestReason leaves out what differs from connection to connection, so that reasons can be counted.
func TestReason(t *testing.T) {
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 41398}
	err := fmt.Errorf("during the handshake: %w", &net.OpError{Op: "read", Net: "tcp", Source: addr, Addr: addr, Err: syscall.ECONNRESET})
	if got, want := reason(err), "during the handshake: read: connection reset by peer"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := reason(errPeerClosed); got != errPeerClosed.Error() {
		t.Errorf("got %q", got)
	}
}
