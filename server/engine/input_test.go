package engine

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

const (
	inputMessage = 64 << 10
	inputTotal   = 8 * inputMessage
)

// sendPart sends the head of a text message of inputMessage bytes and as much of it as it may without ending it.
func (c *wsClient) sendPart() error {
	whole := websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpText), maskKey, []byte("4"+strings.Repeat("x", inputMessage-1)))
	_, err := c.conn.Write(whole[:len(whole)-1])
	return err
}

// expectRefused checks that a session has been ended for its input.
func (g *rig) expectRefused(sid string) {
	g.t.Helper()
	g.expectEnd(sid, ReasonTransportError, ErrInputTotal)
}

// Unfinished websocket messages of all sessions together are bounded. Who has hoarded for longest is cut off; who does not
// hoard can go on, with small messages and with large ones, in pieces too.
func TestInputTotalWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{MaxHTTPBufferSize: inputMessage, InputTotal: inputTotal})
		good, goodID := g.openWS("")
		g.recorder(goodID).onText = func(r *recorder, data string) { _ = r.s.Send(NewMessage([]byte(data))) }
		var hoarders []*wsClient
		var ids []string
		for range 24 {
			ws, sid := g.openWS("")
			hoarders, ids = append(hoarders, ws), append(ids, sid)
			if err := ws.sendPart(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := g.srv.Stats().InputBytes; n > inputTotal {
				t.Fatalf("%d bytes are held", n)
			}
			large := strings.Repeat("y", inputMessage-1)
			message := websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpText), maskKey, []byte("4"+large))
			for _, part := range [][]byte{message[:10], message[10:5000], message[5000:]} {
				if _, err := good.conn.Write(part); err != nil {
					t.Fatalf("beside %d hoarders: %v", len(hoarders), err)
				}
				time.Sleep(200 * time.Millisecond)
			}
			good.expect("4" + large)
		}
		refused := 0
		for i, sid := range ids {
			if g.recorder(sid).ended() == "" {
				continue
			}
			if refused != i {
				t.Errorf("hoarder %d was ended before an earlier one", i)
			}
			refused++
			g.expectRefused(sid)
			hoarders[i].expect("end")
		}
		st := g.srv.Stats()
		if kept := len(hoarders) - refused; kept < 3 || refused < 12 {
			t.Errorf("%d of %d are kept", kept, len(hoarders))
		}
		if st.Limits["input_total"] != uint64(refused) {
			t.Errorf("%d refused: %+v", refused, st)
		}
		if reason := g.recorder(goodID).ended(); reason != "" {
			t.Errorf("the client that behaves was ended with %q", reason)
		}
		for _, ws := range hoarders {
			_ = ws.conn.Close()
		}
		synctest.Wait()
		if n := g.srv.Stats().InputBytes; n != 0 {
			t.Errorf("%d bytes are held after the end", n)
		}
	})
}

func TestInputTotalPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{MaxHTTPBufferSize: inputMessage, InputTotal: inputTotal})
		var hoarders []string
		for range 24 {
			sid, target := g.openPoll()
			hoarders = append(hoarders, sid)
			conn, err := g.dial()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s", target, inputMessage,
				"4"+strings.Repeat("x", inputMessage-10))
			time.Sleep(200 * time.Millisecond)
			if n := g.srv.Stats().InputBytes; n > inputTotal {
				t.Fatalf("%d bytes are held", n)
			}
			_, target = g.openPoll()
			for _, size := range []int{5, inputMessage - 10} {
				if a := g.must("POST", target, "4"+strings.Repeat("x", size)); a.status != http.StatusOK {
					t.Errorf("beside %d hoarders %d bytes were answered %d", len(hoarders), size, a.status)
				}
			}
		}
		refused := 0
		for i, sid := range hoarders {
			if g.recorder(sid).ended() == "" {
				continue
			}
			if refused != i {
				t.Errorf("hoarder %d was ended before an earlier one", i)
			}
			refused++
			g.expectRefused(sid)
		}
		if refused < 12 || g.srv.Stats().Limits["input_total"] != uint64(refused) {
			t.Errorf("%d were ended: %+v", refused, g.srv.Stats())
		}
		for _, sid := range hoarders {
			g.recorder(sid).s.Discard()
		}
		synctest.Wait()
		if n := g.srv.Stats().InputBytes; n != 0 {
			t.Errorf("%d bytes are held after the end", n)
		}
	})
}

// What invalid UTF-8 in a body becomes is longer, and charged as long as the body is handled.
func TestInputOfInvalidBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		s := g.recorder(sid).s
		s.Pause()
		answer := g.async("POST", target, "4"+strings.Repeat("\xff", 1000))
		synctest.Wait()
		if n := g.srv.Stats().InputBytes; n < 3000 {
			t.Errorf("%d bytes are held during the pause", n)
		}
		s.Resume()
		if a := <-answer; a.status != http.StatusOK {
			t.Errorf("answered %d", a.status)
		}
		if got := g.recorder(sid).received(); got != strings.Repeat("\uFFFD", 1000) {
			t.Errorf("received %q", got)
		}
		if n := g.srv.Stats().InputBytes; n != 0 {
			t.Errorf("%d bytes are held after the end", n)
		}
	})
}

// The layer above shares the budget. Who holds most for longest makes room, also for one that has begun to hold since.
func TestHoldInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{MaxHTTPBufferSize: 10, InputTotal: 1000})
		_, first := g.openWS("")
		_, second := g.openWS("")
		a, b := g.recorder(first).s, g.recorder(second).s
		for _, step := range []struct {
			s     *Session
			n     int64
			share int64
		}{
			{b, 240, math.MaxInt64},
			{a, 360, 250},
			{b, 400, 250},
		} {
			if !step.s.HoldInput(step.n) {
				t.Errorf("%+v is refused", step)
			}
			if share := step.s.InputShare(); share != step.share {
				t.Errorf("%+v: a share of %d", step, share)
			}
		}
		if !a.HoldInput(1) {
			t.Error("who holds least was not spared")
		}
		synctest.Wait()
		g.expectRefused(second)
		if n := g.srv.Stats().InputBytes; n != 361 || g.srv.Stats().Limits["input_total"] != 1 {
			t.Errorf("%d bytes are held", n)
		}
		if b.HoldInput(1) {
			t.Error("an ended session may hold more")
		}
		b.ReleaseInput(640)
		a.ReleaseInput(361)
		if n := g.srv.Stats().InputBytes; n != 0 {
			t.Errorf("%d bytes are held", n)
		}
		if share := a.InputShare(); share != math.MaxInt64 {
			t.Errorf("a share of %d of an empty budget", share)
		}
	})
}

// A session that has ended may still hold input that is being handled. Nobody can be ended for that, and the budget holds.
func TestInputOfEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{MaxHTTPBufferSize: 10, InputTotal: 1000})
		_, first := g.openWS("")
		_, second := g.openWS("")
		a, b := g.recorder(first).s, g.recorder(second).s
		if !a.HoldInput(1000) {
			t.Fatal("refused")
		}
		a.Discard()
		synctest.Wait()
		if b.HoldInput(1) {
			t.Error("more than the budget is held")
		}
		g.expectRefused(second)
		if n := g.srv.Stats().InputBytes; n != 1000 {
			t.Errorf("%d bytes are held", n)
		}
	})
}

func TestInputTotalOption(t *testing.T) {
	accept := func(*Session) Handler { return nil }
	_, err := New(&Options{MaxHTTPBufferSize: 1000, InputTotal: 7999}, accept)
	if err == nil || !strings.Contains(err.Error(), "input total 7999 must be at least 8 times") || errors.Unwrap(err) != nil {
		t.Errorf("got %v", err)
	}
	for _, size := range []int64{0, 1000, 1 << 20, 1 << 30} {
		srv, err := New(&Options{MaxHTTPBufferSize: size}, accept)
		if err != nil {
			t.Fatal(err)
		}
		if total := srv.cfg.InputTotal; total < 8*size || total > max(32*size, defaultInputTotal) {
			t.Errorf("%d for messages of %d", total, size)
		}
	}
}

// TestBudgets: what was not chosen follows the memory of the process.
func TestBudgets(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, tt := range []struct {
		memory, outbox, input, state int64
		halfOpen, idle               int
	}{
		{400 << 20, 100 << 20, 100 << 20, 100 << 20, 1600, 6400},
		{0, defaultOutboxLimit, 8 * defaultMaxBuffer, minStateTotal, 100, 100},
	} {
		debug.SetMemoryLimit(tt.memory)
		srv, err := New(nil, func(*Session) Handler { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if c := srv.cfg; c.MaxHalfOpen != tt.halfOpen || c.MaxIdle != tt.idle {
			t.Errorf("with %d bytes: %d and %d connections", tt.memory, c.MaxHalfOpen, c.MaxIdle)
		}
		if c := srv.cfg; c.OutboxTotal != tt.outbox || c.InputTotal != tt.input || c.StateTotal != tt.state {
			t.Errorf("with %d bytes: %d, %d, %d", tt.memory, c.OutboxTotal, c.InputTotal, c.StateTotal)
		}
	}
	debug.SetMemoryLimit(400 << 20)
	srv, err := New(&Options{OutboxTotal: 1 << 30, InputTotal: 1 << 30, StateTotal: 1 << 30}, func(*Session) Handler { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if c := srv.cfg; c.OutboxTotal != 1<<30 || c.InputTotal != 1<<30 || c.StateTotal != 1<<30 {
		t.Errorf("what was chosen is %d, %d, %d", c.OutboxTotal, c.InputTotal, c.StateTotal)
	}
}
