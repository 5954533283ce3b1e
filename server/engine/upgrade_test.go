package engine

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

func (g *rig) probe(sid string) *wsClient {
	return g.upgrade("/engine.io/?EIO=4&transport=websocket&sid=" + sid)
}

func TestUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		s := g.recorder(sid).s
		ws := g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		start := time.Now()
		if a := g.must("GET", target, ""); a.body != "6" || time.Since(start) > 110*time.Millisecond {
			t.Errorf("%q after %v", a.body, time.Since(start))
		}
		// Messages during the probe go over polling.
		poll := g.async("GET", target, "")
		synctest.Wait()
		_ = s.Send(NewMessage([]byte("during")))
		if a := <-poll; a.body != "4during" {
			t.Errorf("%+v", a)
		}
		if st := g.srv.Stats(); st.Upgrading != 1 || st.Polling != 1 || s.Transport() != "polling" {
			t.Errorf("%+v", st)
		}
		_ = s.Send(NewMessage([]byte("buffered"), []byte{1}))
		ws.say("5")
		ws.expect("4buffered", "<01>")
		ws.say("4over websocket")
		synctest.Wait()
		if got := g.recorder(sid).received(); got != "over websocket" || s.Transport() != "websocket" {
			t.Errorf("received %q over %s", got, s.Transport())
		}
		if st := g.srv.Stats(); st.Upgrading != 0 || st.Polling != 0 || st.WebSocket != 1 {
			t.Errorf("%+v", st)
		}
		if a := g.must("GET", target, ""); a.status != 400 {
			t.Errorf("poll after the upgrade: %+v", a)
		}
		second := g.probe(sid)
		second.expect("close")
		second.goodbye()
		second.expect("end")
		g.expectEnd(sid, "", nil)
	})
}

func TestUpgradeFails(t *testing.T) {
	for _, c := range []struct {
		name string
		op   websocket.Opcode
		text string
	}{
		{"ping without probe", websocket.OpText, "2"},
		{"message", websocket.OpText, "4x"},
		{"binary", websocket.OpBinary, "2probe"},
		{"nothing", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, nil)
				sid, target := g.openPoll()
				ws := g.probe(sid)
				start := time.Now()
				if c.text != "" {
					ws.send(c.op, c.text)
				}
				ws.expect("close")
				if waited := time.Since(start).Round(time.Second); (c.text == "") != (waited == 10*time.Second) {
					t.Errorf("closed after %v", waited)
				}
				ws.goodbye()
				ws.expect("end")
				// The session goes on, and may try again.
				g.expectEnd(sid, "", nil)
				if a := g.must("POST", target, "4x"); a.body != "ok" {
					t.Errorf("%+v", a)
				}
				ws = g.probe(sid)
				ws.say("2probe")
				ws.expect("3probe")
				other := g.probe(sid)
				other.expect("close")
				other.goodbye()
				ws.say("5")
				synctest.Wait()
				if g.recorder(sid).s.Transport() != "websocket" {
					t.Error("not upgraded")
				}
			})
		})
	}
}

func TestUpgradeConnectionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, _ := g.openPoll()
		ws := g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		_ = ws.conn.Close()
		g.expectEnd(sid, "", nil)
		if st := g.srv.Stats(); st.Upgrading != 0 || st.Closing != 0 {
			t.Errorf("%+v", st)
		}
		// The session ends during another attempt.
		ws = g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		g.recorder(sid).s.Discard()
		ws.expect("close")
		ws.goodbye()
		ws.expect("end")
		g.expectEnd(sid, ReasonForcedClose, nil)
	})
}

func TestUpgradeWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, _ := g.openPoll()
		ws := g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		s := g.recorder(sid).s
		_ = s.Send(NewMessage([]byte("last")))
		s.Close()
		ws.say("5")
		ws.expect("4last", "close")
		ws.goodbye()
		ws.expect("end")
		g.expectEnd(sid, ReasonForcedClose, nil)
	})
}

// The pong for a ping that went out over polling may come over either transport, or not at all.
func TestUpgradeWithPingOutstanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		if a := g.must("GET", target, ""); a.body != "2" {
			t.Fatal(a.body)
		}
		ws := g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		ws.say("5")
		start := time.Now()
		ws.expect("end")
		if waited := time.Since(start).Round(time.Second); waited != 20*time.Second {
			t.Errorf("closed after %v", waited)
		}
		g.expectEnd(sid, ReasonPingTimeout, nil)
	})
}

// A websocket must not overtake a POST that is being handled.
func TestUpgradeWaitsForPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.onText = func(r *recorder, data string) {
			if data == "stop" {
				r.s.Pause()
			}
		}
		sid, target := g.openPoll()
		ws := g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		post := g.async("POST", target, "4stop\x1e4a\x1e4b")
		synctest.Wait()
		var frames []byte
		for _, text := range []string{"5", "4c"} {
			frames = append(frames, websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpText), maskKey, []byte(text))...)
		}
		if _, err := ws.conn.Write(frames); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r := g.recorder(sid)
		if got := r.received(); got != "stop" {
			t.Errorf("received %q", got)
		}
		r.s.Resume()
		<-post
		synctest.Wait()
		if got := r.received(); got != "stop|a|b|c" {
			t.Errorf("received %q", got)
		}
	})
}

// As in the reference, a session that began on websocket may move to another one, once.
func TestUpgradeOfWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		old, sid := g.openWS("")
		ws := g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		old.say("4on the old one")
		time.Sleep(time.Second)
		ws.say("5")
		old.expect("close")
		old.say("4too late")
		old.goodbye()
		old.expect("end")
		ws.say("4on the new one")
		_ = g.recorder(sid).s.Send(NewMessage([]byte("answer")))
		ws.expect("4answer")
		synctest.Wait()
		if got := g.recorder(sid).received(); got != "on the old one|on the new one" {
			t.Errorf("received %q", got)
		}
		if st := g.srv.Stats(); st.WebSocket != 1 || st.Closing != 0 {
			t.Errorf("%+v", st)
		}
		third := g.probe(sid)
		third.expect("close")
		third.goodbye()
		g.expectEnd(sid, "", nil)
	})
}

// A POST whose body is still coming when its session moves on is refused; the session is not harmed.
func TestUpgradeDuringPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		ws := g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		conn, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n4abc", target)
		synctest.Wait()
		ws.say("5")
		if rest, _ := io.ReadAll(conn); !bytes.HasPrefix(rest, []byte("HTTP/1.1 400 ")) {
			t.Errorf("the POST got %q", rest)
		}
		ws.say("4x")
		g.expectEnd(sid, "", nil)
		if got := g.recorder(sid).received(); got != "x" {
			t.Errorf("received %q", got)
		}
	})
}

// Messages with attachments, from several goroutines, while the session moves to websocket: each goroutine's order
// holds and attachments follow their text.
func TestOrderAcrossUpgrade(t *testing.T) {
	const senders, each = 4, 50
	g := newRigOn(t, nil, true, 0)
	sid, target := g.openPoll()
	s := g.recorder(sid).s
	var got []string
	finished := make(chan struct{}, senders)
	for n := range senders {
		go func() {
			look := time.NewTicker(time.Millisecond)
			defer look.Stop()
			for i := range each {
				m := NewMessage(fmt.Appendf(nil, "%d:%d", n, i), []byte{byte(n)}, []byte{byte(i)})
				var err error
				if i%2 == 0 {
					err = s.Send(m)
				} else {
					err = s.SendQueued(m)
				}
				if err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					// Spread over the upgrade: each sender waits for its earlier messages to leave.
					for s.Queued() > 5000 {
						<-look.C
					}
				}
			}
			finished <- struct{}{}
		}()
	}
	poll := func() bool {
		body := g.must("GET", target, "").body
		got = append(got, strings.Split(body, "\x1e")...)
		return strings.Contains(body, "6")
	}
	poll()
	poll()
	ws := g.probe(sid)
	ws.say("2probe")
	ws.expect("3probe")
	ws.say("5")
	for packets(got) < senders*each*3 {
		got = append(got, ws.text())
	}
	for range senders {
		<-finished
	}
	checkOrder(t, got, senders, each)
}

func packets(got []string) (n int) {
	for _, p := range got {
		if p != "2" && p != "6" {
			n++
		}
	}
	return n
}

func checkOrder(t *testing.T, got []string, senders, each int) {
	t.Helper()
	next := make([]int, senders)
	for i := 0; i < len(got); i++ {
		if got[i] == "2" || got[i] == "6" {
			continue
		}
		var n, k int
		if _, err := fmt.Sscanf(got[i], "4%d:%d", &n, &k); err != nil {
			t.Fatalf("packet %d is %q", i, got[i])
		}
		if k != next[n] {
			t.Fatalf("sender %d: message %d, want %d", n, k, next[n])
		}
		next[n]++
		for j, b := range []byte{byte(n), byte(k)} {
			packet := got[i+1+j]
			if packet != fmt.Sprintf("<%02x>", b) && packet != string(appendBase64Packet(nil, []byte{b})) {
				t.Fatalf("attachment %d of %q is %q", j, got[i], packet)
			}
		}
		i += 2
	}
	for n, k := range next {
		if k != each {
			t.Errorf("sender %d: %d messages", n, k)
		}
	}
}
