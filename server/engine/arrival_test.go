package engine

import (
	"bytes"
	"slices"
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

// The packets of a POST that arrived behind the "5" are refused, even if its handler runs first.
func TestPostBehindUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, late := range []bool{false, true} {
			g := newRig(t, nil)
			sid, target := g.openPoll()
			ws := g.upgrade("/engine.io/?EIO=4&transport=websocket&sid=" + sid)
			ws.say("2probe")
			ws.expect("3probe")
			arrives(sid, 2)
			start := time.Now()
			post := g.async("POST", target, "4a")
			want, within := 200, settleTime
			if late {
				time.Sleep(settleTime / 2)
				five := &arrival{key: arrivalKey([]byte(sid)), from: "websocket", at: 1}
				inFlight.add(five)
				inFlight.await(five)
				g.recorder(sid).s.noteProbe(1)
				ws.say("5")
				synctest.Wait()
				inFlight.end(five)
				want = 400
			}
			if a := <-post; a.status != want || time.Since(start) > within {
				t.Errorf("late %v: the POST got %+v in %v", late, a, time.Since(start))
			}
			if !inFlight.empty() {
				t.Error("something is left on the list")
			}
		}
	})
}

// A POST that arrived in front of a close packet is delivered, also if it is read behind it.
func TestPostBesideClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		arrives(sid, 2)
		closing := g.async("POST", target, "1")
		time.Sleep(settleTime / 2)
		arrives(sid, 1)
		post := g.async("POST", target, "4a")
		for _, a := range []answer{<-post, <-closing} {
			if a.body != "ok" {
				t.Errorf("got %+v", a)
			}
		}
		g.expectEnd(sid, ReasonTransportClose, nil)
		if got := g.recorder(sid).received(); got != "a" {
			t.Errorf("delivered %q", got)
		}
	})
}

// One that arrived earlier but is read when a later one has its turn waits for its end.
func TestOneTurn(t *testing.T) {
	const sid = "AAAABBBBCCCCDDDDEEEE"
	synctest.Test(t, func(t *testing.T) {
		late := arrives(sid, 2)
		inFlight.await(late)
		early := arrives(sid, 1)
		var order []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			inFlight.await(early)
			order = append(order, "early")
			inFlight.end(early)
		}()
		synctest.Wait()
		order = append(order, "late")
		inFlight.settle(late) // which lets the other in
		order = append(order, "late")
		inFlight.end(late)
		<-done
		if want := []string{"late", "early", "late"}; !slices.Equal(order, want) {
			t.Errorf("turns %q, want %q", order, want)
		}
		if !inFlight.empty() {
			t.Error("something is left on the list")
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
	{"GET /?s%69d=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", "AAAABBBBCCCCDDDDEEEE"},
	{"POST /?%73%69%64=%41AAABBBBCCCCDDDDEEE%45&x HTTP/1.1\r\n", "AAAABBBBCCCCDDDDEEEE"},
	{"GET /?sid=AAAABBBBCCCCDDDDEEEE&s%69d=EEEEDDDDCCCCBBBBAAAA HTTP/1.1\r\n", "EEEEDDDDCCCCBBBBAAAA"},
	{"GET /?x=%zz&sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", "AAAABBBBCCCCDDDDEEEE"},
	{"GET /?sid=AAAABBBBCCCCDDDDEE+E HTTP/1.1\r\n", "AAAABBBBCCCCDDDDEE E"},
	{"GET /?sid=AAAABBBBCCCCDDDDEE%4 HTTP/1.1\r\n", "AAAABBBBCCCCDDDDEE%4"},
	{"GET /?sid=AAAABBBBCCCCDDDDEEEE#&sid=x HTTP/1.1\r\n", "AAAABBBBCCCCDDDDEEEE"},
	{"GET /#?sid=AAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", ""},
	{"GET /?sid%3DAAAABBBBCCCCDDDDEEEE HTTP/1.1\r\n", ""},
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
		key, ok := requestSession(0, []byte(c.head))
		if ok != (c.sid != "") || ok && string(key[:]) != c.sid {
			t.Errorf("%q: got %q %v", c.head, key, ok)
		}
		checkLead(t, []byte(c.head))
	}
}

// checkLead compares what is found in a head that came in one piece and behind its first byte.
func checkLead(t *testing.T, head []byte) {
	if len(head) == 0 || head[0] == 0 {
		return
	}
	key, ok := requestSession(0, head)
	if got, found := requestSession(head[0], head[1:]); got != key || found != ok {
		t.Errorf("%q: got %q %v behind the first byte, %q %v in one piece", head, got, found, key, ok)
	}
}

func FuzzRequestSession(f *testing.F) {
	for _, c := range requestHeads {
		f.Add([]byte(c.head))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		checkLead(t, p)
		key, ok := requestSession(0, p)
		if !ok {
			return
		}
		_, target, _ := bytes.Cut(p, []byte(" "))
		if i := bytes.IndexByte(target, ' '); i >= 0 && !bytes.ContainsAny(target[:i], "\n") {
			got := parseEngineQuery(string(target[:i])).sid
			if string(validUTF8(key[:])) != got {
				t.Errorf("%q: got %q, the handler sees %q", p, key, got)
			}
		}
	})
}
