package engine

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const pipeAddress = "pipe" // of every connection of a rig in memory

// arrives notes a request of a session, as the connection that brings it does.
func arrives(sid string, at int64) *arrival {
	a := &arrival{key: arrivalKey([]byte(sid)), from: pipeAddress, at: at}
	inFlight.add(a)
	return a
}

func (l *arrivals) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.first) == 0
}

func TestArrivalsAreOrdered(t *testing.T) {
	const sid = "AAAABBBBCCCCDDDDEEEE"
	for _, order := range [][]int64{{1, 2, 3}, {3, 2, 1}, {2, 3, 1}, {2, 1, 3}, {3, 1, 2}} {
		all := make(map[int64]*arrival)
		for _, at := range order {
			all[at] = arrives(sid, at)
		}
		other := arrives(strings.ToLower(sid), 0)
		inFlight.end(all[2])
		inFlight.end(all[2])
		if first := inFlight.first[all[1].key]; first != all[1] || first.next != all[3] || all[3].next != nil {
			t.Errorf("%v: the list is out of order", order)
		}
		for _, a := range []*arrival{all[1], all[3], other, nil} {
			inFlight.end(a)
		}
		if !inFlight.empty() {
			t.Errorf("%v: something is left", order)
		}
	}
}

// What arrived earlier is served earlier, whoever comes to its handler first.
func TestPollBesideClose(t *testing.T) {
	for _, c := range []struct {
		name     string
		pollAt   int64
		pollLate bool // the poll's handler runs after that of the close packet
		status   int
		body     string
	}{
		{"poll, close", 1, false, 200, "6"},
		{"poll, close; the close is handled first", 1, true, 200, "6"},
		{"close, poll", 3, true, 400, `{"code":1,"message":"Session ID unknown"}`},
		{"close, poll; the poll is handled first", 3, false, 400, `{"code":1,"message":"Session ID unknown"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, nil)
				sid, target := g.openPoll()
				startPoll := func() <-chan answer {
					arrives(sid, c.pollAt)
					ch := g.async("GET", target, "")
					time.Sleep(settleTime / 2)
					return ch
				}
				var poll <-chan answer
				if !c.pollLate {
					poll = startPoll()
				}
				arrives(sid, 2)
				post := g.async("POST", target, "1")
				if c.pollLate {
					time.Sleep(settleTime / 4)
					poll = startPoll()
				}
				if a := <-post; a.body != "ok" {
					t.Errorf("the close got %+v", a)
				}
				if a := <-poll; a.status != c.status || a.body != c.body {
					t.Errorf("the poll got %+v", a)
				}
				g.expectEnd(sid, ReasonTransportClose, nil)
				if !inFlight.empty() {
					t.Error("something is left on the list")
				}
			})
		})
	}
}

// A poll that arrived after the client had left polling is refused.
func TestPollBehindUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, late := range []bool{false, true} {
			g := newRig(t, nil)
			sid, target := g.openPoll()
			ws := g.upgrade("/engine.io/?EIO=4&transport=websocket&sid=" + sid)
			ws.say("2probe")
			ws.expect("3probe")
			at := int64(1)
			if late {
				at = 3
			}
			arrives(sid, at)
			poll := g.async("GET", target, "")
			synctest.Wait()
			g.recorder(sid).s.noteProbe(2)
			ws.say("5")
			want := 200
			if late {
				want = 400
			}
			if a := <-poll; a.status != want {
				t.Errorf("late %v: the poll got %+v", late, a)
			}
		}
	})
}

// A request whose connection brings it in parts holds the others up for a moment, once.
func TestLostTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		arrives(sid, 1).from = "elsewhere"
		for i, want := range []time.Duration{turnTime, 0} {
			arrives(sid, int64(i)+2)
			start := time.Now()
			if a := g.must("POST", target, "4a"); a.body != "ok" {
				t.Errorf("got %+v", a)
			}
			if took := time.Since(start); took != want {
				t.Errorf("request %d took %v, want %v", i, took, want)
			}
		}
		if !inFlight.empty() {
			t.Error("something is left on the list")
		}
	})
}

var requestHeads = []struct{ head, sid string }{
	{"GET /engine.io/?EIO=4&transport=polling&sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", "AAAABBBBCCCCDDDDEEEE"},
	{"POST /socket.io/?sid=AAAABBBBCCCCDDDDEEEE&t=1 HTTP/1.1\r\nHost: a\r\n", "AAAABBBBCCCCDDDDEEEE"},
	{"GET /?sid=x&sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", "AAAABBBBCCCCDDDDEEEE"},
	{"GET /?sid=AAAABBBBCCCCDDDDEEEE&sid=x HTTP/1.1\r\n", ""},
	{"GET /?xsid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", ""},
	{"GET /?sid=AAAABBBBCCCCDDDDEEEEF HTTP/1.1\r\n", ""},
	{"GET /?sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1", ""},
	{"GET /?sid=AAAABBBBCCCCDDDDEEEE\n", ""},
	{"GET /?x=?sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", ""},
	{"GET /?sid=AAAABBBBCCCCDDDDEEEE&sid HTTP/1.1\r\n", ""},
	{"GET /&sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", ""},
	{"POST  &sid=AAAABBBBCCCCDDDDEEEE \n", ""},
	{"POST / /?sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", ""},
	{"PUT /?sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", ""},
	{"4[\"?sid=AAAABBBBCCCCDDDDEEEE \"]\n", ""},
	{"\x16\x03\x01", ""},
	{"", ""},
}

func TestRequestSession(t *testing.T) {
	for _, c := range requestHeads {
		key, ok := requestSession([]byte(c.head))
		if ok != (c.sid != "") || ok && string(key[:]) != c.sid {
			t.Errorf("%q: got %q %v", c.head, key, ok)
		}
	}
}

func FuzzRequestSession(f *testing.F) {
	for _, c := range requestHeads {
		f.Add([]byte(c.head))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		key, ok := requestSession(p)
		if !ok {
			return
		}
		_, target, _ := bytes.Cut(p, []byte(" "))
		if i := bytes.IndexByte(target, ' '); i >= 0 && !bytes.ContainsAny(target[:i], "#%+\n") {
			got := parseEngineQuery(string(target[:i])).sid
			if string(validUTF8(key[:])) != got {
				t.Errorf("%q: got %q, the handler sees %q", p, key, got)
			}
		}
	})
}
