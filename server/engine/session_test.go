package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

func (g *rig) expectEnd(sid, reason string, err error) {
	g.t.Helper()
	synctest.Wait()
	r := g.recorder(sid)
	if got := r.ended(); got != reason {
		g.t.Fatalf("session ended with %q, want %q", got, reason)
	}
	r.mu.Lock()
	lastErr := r.lastErr
	r.mu.Unlock()
	if !errors.Is(lastErr, err) {
		g.t.Errorf("error %v, want %v", lastErr, err)
	}
	if reason != "" && g.srv.lookup(sid) != nil {
		g.t.Error("the session is still known")
	}
}

func TestHeartbeat(t *testing.T) {
	const interval, timeout = 25 * time.Second, 20 * time.Second
	for _, c := range []struct {
		name string
		act  func(c *wsClient)
		ends time.Duration // after the start
	}{
		{"silence", func(c *wsClient) { c.expect("2") }, interval + timeout},
		{"pong", func(c *wsClient) { c.expect("2"); c.say("3"); c.expect("2") }, 2*interval + timeout},
		{"late pong restarts the interval", func(c *wsClient) {
			c.expect("2")
			time.Sleep(10 * time.Second)
			c.say("3")
			c.expect("2")
		}, interval + 10*time.Second + interval + timeout},
		{"another packet extends the deadline once", func(c *wsClient) {
			c.expect("2")
			time.Sleep(15 * time.Second)
			c.say("4a")
			time.Sleep(15 * time.Second)
			c.say("4b")
		}, interval + 15*time.Second + timeout},
		{"a noop extends it too", func(c *wsClient) { c.expect("2"); time.Sleep(time.Second); c.say("6") }, interval + time.Second + timeout},
		{"unsolicited pongs only move the ping", func(c *wsClient) {
			for range 5 {
				time.Sleep(10 * time.Second)
				c.say("3")
			}
			c.expect("2")
		}, 50*time.Second + interval + timeout},
		{"messages before the ping change nothing", func(c *wsClient) {
			time.Sleep(20 * time.Second)
			c.say("4a")
			c.expect("2")
		}, interval + timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, nil)
				ws, sid := g.openWS("")
				start := time.Now()
				c.act(ws)
				ws.expect("end")
				if late := time.Since(start) - c.ends; late < 0 || late > 100*time.Millisecond {
					t.Errorf("ended after %v, want %v", time.Since(start), c.ends)
				}
				g.expectEnd(sid, ReasonPingTimeout, nil)
				if n := g.srv.wheel.Len(); n != 0 {
					t.Errorf("%d timers left", n)
				}
			})
		})
	}
}

func TestHeartbeatPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		if a := g.must("GET", target, ""); a.body != "2" {
			t.Fatalf("got %q", a.body)
		}
		g.must("POST", target, "3")
		time.Sleep(25*time.Second + 19*time.Second)
		g.expectEnd(sid, "", nil)
		time.Sleep(2 * time.Second)
		g.expectEnd(sid, ReasonPingTimeout, nil)
		if a := g.must("GET", target, ""); a.status != 400 {
			t.Errorf("status %d", a.status)
		}
	})
}

func TestPollingExchange(t *testing.T) {
	for _, c := range []struct {
		name, post       string
		status           int
		answer, got      string
		poll, end        string
		err              error
		binary, parallel bool
	}{
		{name: "text and binary", post: "4a\x1ebAQID\x1e4", answer: "ok", got: "a|<010203>|"},
		{name: "utf-8", post: "4\u20ac", answer: "ok", got: "\u20ac"},
		{name: "broken utf-8", post: "4a\xff\xe2\x82z", answer: "ok", got: "a\uFFFD\uFFFDz"},
		{name: "loose base64", post: "bA-_ *A=x", answer: "ok", got: "<03efc0>"},
		{name: "ignored types", post: "0\x1e5\x1e6\x1e4x", answer: "ok", got: "x"},
		{name: "unknown type", post: "4a\x1e9\x1e4b", answer: "ok", got: "a", poll: "1", end: ReasonParseError},
		{name: "empty packet", post: "4a\x1e", answer: "ok", got: "a", poll: "1", end: ReasonParseError},
		{name: "close packet", post: "4a\x1e1\x1e4b", answer: "ok", got: "a", poll: "6", end: ReasonTransportClose},
		{name: "ping from the client", post: "2", answer: "ok", poll: "1", end: ReasonTransportError, err: errPingDirection},
		{name: "too large", post: "4" + strings.Repeat("x", 100), status: 413, poll: "6", end: ReasonTransportError, err: errBodyTooLarge},
		{name: "as large as allowed", post: "4" + strings.Repeat("x", 99), answer: "ok", got: strings.Repeat("x", 99)},
		{name: "octet stream", post: "4a", status: 400, binary: true, poll: "1", end: ReasonTransportError, err: errInvalidContent},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, &Options{MaxHTTPBufferSize: 100})
				sid, target := g.openPoll()
				poll := g.async("GET", target, "")
				synctest.Wait()
				var header []string
				if c.binary {
					header = []string{"Content-Type", "application/octet-stream"}
				}
				a := g.must("POST", target, c.post, header...)
				if want := max(c.status, 200); c.status == 0 && a.status != want || c.status != 0 && a.status != c.status || a.body != c.answer {
					t.Errorf("got %d %q", a.status, a.body)
				}
				if got := g.recorder(sid).received(); got != c.got {
					t.Errorf("received %q, want %q", got, c.got)
				}
				g.expectEnd(sid, c.end, c.err)
				if c.end != "" {
					if a := <-poll; a.body != c.poll {
						t.Errorf("the poll got %+v, want %q", a, c.poll)
					}
				}
			})
		})
	}
}

func TestOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		poll := g.async("GET", target, "")
		synctest.Wait()
		if a := g.must("GET", target, ""); a.status != 400 || a.body != "" {
			t.Errorf("second poll: %+v", a)
		}
		if a := <-poll; a.body != "1" {
			t.Errorf("first poll: %+v", a)
		}
		g.expectEnd(sid, ReasonTransportError, errPollOverlap)

		sid, target = g.openPoll()
		conn, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n4abc", target)
		synctest.Wait()
		if a := g.must("POST", target, "4x"); a.status != 400 {
			t.Errorf("second POST: %+v", a)
		}
		g.expectEnd(sid, ReasonTransportError, errDataOverlap)
		// The first one, whose body is not complete, is told so.
		if rest, _ := io.ReadAll(conn); !bytes.HasPrefix(rest, []byte("HTTP/1.1 400 ")) || !bytes.Contains(rest, []byte("Connection: close")) {
			t.Errorf("first POST: %q", rest)
		}
	})
}

func TestClientGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		gone := func(request string) string {
			sid, target := g.openPoll()
			conn, err := g.dial()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, request, target)
			synctest.Wait()
			_ = conn.Close()
			return sid
		}
		g.expectEnd(gone("GET %s HTTP/1.1\r\nHost: test\r\n\r\n"), ReasonTransportError, errPollGone)
		g.expectEnd(gone("POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n4abc"), ReasonTransportError, errDataGone)

		ws, sid := g.openWS("")
		_ = ws.conn.Close()
		g.expectEnd(sid, ReasonTransportClose, nil)

		ws, sid = g.openWS("")
		ws.send(websocket.OpClose, "\x0b\xb8bye")
		ws.expect("close 3000", "end")
		g.expectEnd(sid, ReasonTransportClose, nil)
	})
}

// A body that never ends does not hold the session's POST for ever.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{PingInterval: time.Minute})
		sid, target := g.openPoll()
		conn, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		poll := g.async("GET", target, "")
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n4abc", target)
		start := time.Now()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); res.StatusCode != http.StatusRequestTimeout || took != defaultBodyTimeout {
			t.Errorf("answered %d after %v", res.StatusCode, took)
		}
		if a := <-poll; a.body != "6" {
			t.Errorf("the poll got %q", a.body)
		}
		g.expectEnd(sid, ReasonTransportError, errBodyTimeout)
		if n := g.srv.Stats().Limits["body_time"]; n != 1 {
			t.Errorf("%d late bodies counted", n)
		}
	})
}

// What comes in very many pieces is not taken, unless the pieces are of a useful size.
func TestBodyInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 20
		g := newRig(t, &Options{MaxBufferedChunks: most})
		post := func(head string, pieces int, piece string) (sid string, status int) {
			sid, target := g.openPoll()
			conn, err := g.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go func() {
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: test\r\n%s\r\n\r\n", target, head)
				for range pieces {
					_, _ = io.WriteString(conn, piece)
				}
				_, _ = io.WriteString(conn, "0\r\n\r\n")
			}()
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			return sid, res.StatusCode
		}
		const chunked = "Transfer-Encoding: chunked"
		large := "400\r\n4" + strings.Repeat("x", 1023) + "\r\n"
		if _, status := post(chunked, 10*most, large); status != http.StatusOK {
			t.Errorf("large chunks were answered %d", status)
		}
		if _, status := post(chunked, most, "1\r\n4\r\n"); status != http.StatusOK {
			t.Errorf("as many chunks as allowed were answered %d", status)
		}
		sid, status := post(chunked, most+5, "1\r\n4\r\n")
		if status != http.StatusRequestEntityTooLarge {
			t.Errorf("some chunks more were answered %d", status)
		}
		g.expectEnd(sid, ReasonTransportError, errTooManyChunks)
		sid, status = post(fmt.Sprintf("Content-Length: %d", most+10), most+10, "4")
		if status != http.StatusRequestEntityTooLarge {
			t.Errorf("pieces of a body with a length were answered %d", status)
		}
		g.expectEnd(sid, ReasonTransportError, errTooManyChunks)
	})
}

func TestOrderlyClosePolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		// With a parked poll.
		sid, target := g.openPoll()
		poll := g.async("GET", target, "")
		synctest.Wait()
		g.recorder(sid).s.Close()
		if a := <-poll; a.body != "1" {
			t.Errorf("parked poll: %+v", a)
		}
		g.expectEnd(sid, ReasonForcedClose, nil)

		// Without one, nothing queued.
		sid, target = g.openPoll()
		g.recorder(sid).s.Close()
		g.expectEnd(sid, "", nil)
		if a := g.must("GET", target, ""); a.body != "6\x1e1" {
			t.Errorf("next poll: %+v", a)
		}
		g.expectEnd(sid, ReasonForcedClose, nil)

		// Without one, with messages queued.
		sid, target = g.openPoll()
		s := g.recorder(sid).s
		if err := s.Send(NewMessage([]byte("last"), []byte{1})); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if err := s.Send(NewMessage([]byte("after"))); err != ErrClosed {
			t.Errorf("Send after Close: %v", err)
		}
		if a := g.must("GET", target, ""); a.body != "4last\x1ebAQ==" {
			t.Errorf("next poll: %+v", a)
		}
		g.expectEnd(sid, "", nil)
		if a := g.must("GET", target, ""); a.body != "6\x1e1" {
			t.Errorf("poll after: %+v", a)
		}
		g.expectEnd(sid, ReasonForcedClose, nil)

		// No poll comes.
		sid, _ = g.openPoll()
		g.recorder(sid).s.Close()
		time.Sleep(29 * time.Second)
		g.expectEnd(sid, "", nil)
		time.Sleep(2 * time.Second)
		g.expectEnd(sid, ReasonForcedClose, nil)
	})
}

func TestCloseWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("")
		s := g.recorder(sid).s
		for _, text := range []string{"a", "b"} {
			if err := s.SendQueued(NewMessage([]byte(text))); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		ws.expect("4a", "4b", "close")
		g.expectEnd(sid, ReasonForcedClose, nil)
		if g.srv.Stats().Closing != 1 {
			t.Error("the closing handshake is not counted")
		}
		ws.goodbye()
		ws.expect("end")

		// A peer that does not answer is cut after 30 s.
		ws, sid = g.openWS("")
		g.recorder(sid).s.Discard()
		ws.expect("close")
		start := time.Now()
		ws.expect("end")
		if waited := time.Since(start).Round(time.Second); waited != lingerTime {
			t.Errorf("cut after %v", waited)
		}
		synctest.Wait()
		if n := g.srv.Stats().Closing; n != 0 {
			t.Errorf("%d connections still closing", n)
		}
	})
}

func TestFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.onText = func(r *recorder, _ string) {
			r.s.Fail(ReasonParseError, errTest)
			r.s.Fail("again", nil)
			r.s.Close()
			r.s.Discard()
			if r.ended() != "" {
				t.Error("OnClose during OnText")
			}
		}
		ws, sid := g.openWS("")
		ws.say("4x")
		ws.say("4y")
		ws.expect("close")
		g.expectEnd(sid, ReasonParseError, errTest)
		if got := g.recorder(sid).received(); got != "x" {
			t.Errorf("received %q", got)
		}
	})
}

// TestEnded counts sessions by the reason of their end.
func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.onText = func(r *recorder, text string) { r.s.Fail(text, errTest) }
		for _, reason := range []string{ReasonParseError, "a reason of mine", "another"} {
			ws, sid := g.openWS("")
			ws.say("4" + reason)
			ws.expect("close")
			g.expectEnd(sid, reason, errTest)
		}
		ws, sid := g.openWS("")
		ws.goodbye()
		g.expectEnd(sid, ReasonTransportClose, nil)
		want := map[string]uint64{
			ReasonTransportClose: 1, ReasonTransportError: 0, ReasonPingTimeout: 0, ReasonParseError: 1, ReasonForcedClose: 0,
			ReasonMoved: 0, "other": 2,
		}
		if st := g.srv.Stats(); !maps.Equal(st.Ended, want) || st.Closed != 4 {
			t.Errorf("%d closed: %v, want 4: %v", st.Closed, st.Ended, want)
		}
	})
}

func TestWebSocketPackets(t *testing.T) {
	for _, c := range []struct {
		name   string
		op     websocket.Opcode
		text   string
		got    string
		end    string
		answer string
	}{
		{"text", websocket.OpText, "4hello", "hello", "", ""},
		{"binary", websocket.OpBinary, "\x01\x02", "<0102>", "", ""},
		{"base64", websocket.OpText, "bAQI=", "<0102>", "", ""},
		{"empty", websocket.OpText, "", "", ReasonParseError, "close"},
		{"unknown type", websocket.OpText, "7", "", ReasonParseError, "close"},
		{"ping", websocket.OpText, "2", "", ReasonTransportError, "close"},
		{"close packet is ignored", websocket.OpText, "1", "", "", ""},
		{"websocket ping", websocket.OpPing, "x", "", "", "pong x"},
		{"too long", websocket.OpText, "4" + strings.Repeat("x", 1000), "", ReasonTransportError, "end"},
		{"reserved opcode", 3, "", "", ReasonTransportError, "close 1002"},
		{"not utf-8", websocket.OpText, "4\xff", "", ReasonTransportError, "close 1007"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, &Options{MaxHTTPBufferSize: 1000})
				ws, sid := g.openWS("")
				if err := ws.trySend(c.op, c.text); err != nil && c.answer != "end" { // the connection may end before all is written
					t.Fatal(err)
				}
				if c.answer != "" {
					ws.expect(c.answer)
				}
				if strings.HasPrefix(c.answer, "close") {
					ws.goodbye()
				}
				synctest.Wait()
				r := g.recorder(sid)
				if r.received() != c.got || r.ended() != c.end {
					t.Errorf("received %q, ended %q", r.received(), r.ended())
				}
			})
		})
	}
}

func TestInitialPacketAndBase64(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{InitialPacket: NewMessage([]byte("hi"))})
		g.onAccept = func(s *Session) { _ = s.Send(NewMessage([]byte("accepted"))) }
		ws, sid := g.openWS("&b64=1")
		ws.expect("4hi", "4accepted")
		if err := g.recorder(sid).s.Send(NewMessage([]byte("x"), []byte{1, 2})); err != nil {
			t.Fatal(err)
		}
		ws.expect("4x", "bAQI=")
		_, target := g.openPoll()
		if a := g.must("GET", target, ""); a.body != "4accepted" {
			t.Errorf("second poll: %q", a.body)
		}
	})
}

func TestPauseWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.onText = func(r *recorder, data string) {
			if data == "stop" {
				r.s.Pause()
			}
		}
		ws, sid := g.openWS("")
		r := g.recorder(sid)
		var frames []byte
		for _, text := range []string{"4a", "4stop", "4b", "4c"} {
			frames = append(frames, websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpText), maskKey, []byte(text))...)
		}
		if _, err := ws.conn.Write(frames); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := r.received(); got != "a|stop" {
			t.Fatalf("received %q", got)
		}
		// The pong deadline does not count while nothing is read, but the client still hears that the server is alive.
		start := time.Now()
		for range 100 {
			ws.expect("2")
		}
		if d := time.Since(start); d < time.Hour/2 || d > 45*time.Minute {
			t.Errorf("100 pings in %v", d)
		}
		r.s.Resume()
		synctest.Wait()
		if got := r.received(); got != "a|stop|b|c" {
			t.Errorf("received %q", got)
		}
		time.Sleep(19 * time.Second)
		ws.say("3")
		ws.expect("2")
		r.s.Pause()
		r.s.Discard()
		ws.expect("close")
		ws.goodbye()
		ws.expect("end")
	})
}

func TestPausePolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.onText = func(r *recorder, data string) {
			if data == "stop" {
				r.s.Pause()
			}
		}
		sid, target := g.openPoll()
		post := g.async("POST", target, "4stop\x1e4b")
		synctest.Wait()
		r := g.recorder(sid)
		if got := r.received(); got != "stop" {
			t.Fatalf("received %q", got)
		}
		r.s.Resume()
		if a := <-post; a.body != "ok" || r.received() != "stop|b" {
			t.Errorf("%+v, received %q", a, r.received())
		}
		post = g.async("POST", target, "4stop\x1e4b")
		synctest.Wait()
		r.s.Discard()
		if a := <-post; a.status != 200 {
			t.Errorf("%+v", a)
		}
	})
}

// TestGoneDuringPause holds that a client which goes while nothing is read from it is missed.
func TestGoneDuringPause(t *testing.T) {
	pause := func(g *rig) {
		g.onText = func(r *recorder, _ string) { r.s.Pause() }
	}
	t.Run("polling", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, nil)
			pause(g)
			sid, target := g.openPoll()
			post := g.async("POST", target, "4stop\x1e4b")
			for range 10 {
				if a := g.must("GET", target, ""); a.body != "2" {
					t.Fatalf("poll: %+v", a)
				}
			}
			time.Sleep(51 * time.Second)
			if got := g.recorder(sid).ended(); got != ReasonPingTimeout {
				t.Errorf("ended with %q", got)
			}
			<-post
		})
	})
	t.Run("websocket", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, nil)
			pause(g)
			ws, sid := g.openWS("")
			ws.say("4stop")
			for range 10 {
				ws.expect("2")
			}
			_ = ws.conn.Close()
			time.Sleep(26 * time.Second)
			if got := g.recorder(sid).ended(); got != ReasonTransportError && got != ReasonTransportClose {
				t.Errorf("ended with %q", got)
			}
		})
	})
}

// A handler that does not return takes its session with it and strands nothing.
func TestHandlerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.onText = func(_ *recorder, data string) {
			if data == "panic" {
				panic("test")
			}
			runtime.Goexit()
		}
		sid, target := g.openPoll()
		if _, err := g.request("POST", target, "4panic"); err == nil {
			t.Error("the request has been answered")
		}
		g.expectEnd(sid, ReasonTransportError, errHandlerLeft)
		ws, sid := g.openWS("")
		ws.say("4exit")
		if got := ws.text(); got != "close" && got != "end" {
			t.Errorf("got %q", got)
		}
		g.expectEnd(sid, ReasonTransportError, errHandlerLeft)
		_ = ws.conn.Close()
		synctest.Wait()
		if st := g.srv.Stats(); st.Sessions+st.Closing+st.Timers != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestServerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		ws, wsID := g.openWS("")
		probing := g.upgrade("/engine.io/?EIO=4&transport=websocket&sid=" + sid)
		poll := g.async("GET", target, "")
		synctest.Wait()
		done := make(chan struct{})
		start := time.Now()
		go func() {
			_ = g.srv.Close()
			_ = g.srv.Close()
			close(done)
		}()
		if a := <-poll; a.body != "6" {
			t.Errorf("poll: %+v", a)
		}
		ws.expect("end")
		probing.expect("end")
		<-done
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
		for _, id := range []string{sid, wsID} {
			g.expectEnd(id, ReasonForcedClose, nil)
		}
		if a := g.must("GET", base, ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("status %d after Close", a.status)
		}
	})
}

// TestServerCloseWaits closes the server while a message that came in a POST, and so on a goroutine that is not the
// server's, is being handled: Close returns after OnClose.
func TestServerCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		entered, leave := make(chan struct{}), make(chan struct{})
		g.onText = func(*recorder, string) {
			close(entered)
			<-leave
		}
		sid, target := g.openPoll()
		r := g.recorder(sid)
		post := g.async("POST", target, "4hello")
		<-entered
		closed := make(chan struct{})
		go func() {
			_ = g.srv.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait for the handler")
		default:
		}
		close(leave)
		<-closed
		if r.ended() == "" {
			t.Error("Close did not wait for OnClose")
		}
		<-post
	})
}

func TestIDs(t *testing.T) {
	newServer := func() *Server {
		srv, err := New(nil, func(*Session) Handler { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return srv
	}
	srv := newServer()
	seen := make(map[string]bool)
	check := func(tag string) {
		t.Helper()
		for range 1000 {
			id := srv.newID()
			random, found := strings.CutPrefix(id, tag)
			if !found || len(random) != 16 || strings.ContainsFunc(id, func(r rune) bool { return !isTagCharacter(r) }) || seen[random] {
				t.Fatalf("bad id %q, the tag is %q", id, tag)
			}
			seen[random] = true
		}
	}
	own := srv.newID()[:tagLength]
	check(own)
	if other := newServer().newID()[:tagLength]; other == own && other == newServer().newID()[:tagLength] {
		t.Errorf("three servers with the tag %q", other)
	}
	if err := srv.SetTag("a-_9"); err != nil {
		t.Fatal(err)
	}
	check("a-_9")
	for _, bad := range []string{"", "abc", "abcde", "ab/d", "ab d", "abé"} {
		if err := srv.SetTag(bad); err == nil {
			t.Errorf("the tag %q is taken", bad)
		}
	}
	check("a-_9")
}

func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("&a=1&a=2;b&c=%zz+x", "Origin: http://o\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\nUser-Agent: x\r\nUser-Agent: y\r\nX-Raw: v\xe4l\r\nX-Utf: v\u00e4l\r\n")
		_ = ws
		h := g.recorder(sid).s.Handshake()
		headers := h.Headers()
		for name, want := range map[string]string{"host": "test", "x-a": "1, 2", "cookie": "a=1; b=2", "user-agent": "x", "upgrade": "websocket",
			"x-raw": "väl", "x-utf": "vÃ¤l"} {
			if headers[name] != want {
				t.Errorf("%s: %q, want %q", name, headers[name], want)
			}
		}
		query := h.Query()
		for name, want := range map[string]string{"a": "2;b", "c": "%zz x", "EIO": "4"} {
			if query[name] != want {
				t.Errorf("%s: %q, want %q", name, query[name], want)
			}
		}
		if !h.XDomain() || h.Secure() || !h.Time().Equal(time.Now()) || h.Address() != "pipe" || !strings.HasPrefix(h.URL(), "/engine.io/?EIO=4") {
			t.Errorf("%+v", h)
		}
	})
}
