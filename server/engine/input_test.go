package engine

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

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

// Unfinished websocket messages of all sessions together are bounded. Who hoards is cut off; who does not can go on, also
// with a message in pieces.
func TestInputTotalWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{MaxHTTPBufferSize: inputMessage, InputTotal: inputTotal})
		good, goodID := g.openWS("")
		g.recorder(goodID).onText = func(r *recorder, data string) { _ = r.s.Send(NewMessage([]byte(data))) }
		var hoarders []*wsClient
		refused := 0
		for range 12 {
			ws, sid := g.openWS("")
			hoarders = append(hoarders, ws)
			if err := ws.sendPart(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := g.srv.Stats().InputBytes; n > inputTotal {
				t.Fatalf("%d bytes are held", n)
			}
			if g.recorder(sid).ended() != "" {
				refused++
				g.expectRefused(sid)
				ws.expect(fmt.Sprintf("close %d", websocket.CloseTryAgainLater))
			}
		}
		st := g.srv.Stats()
		if kept := len(hoarders) - refused; kept < 4 || refused < 6 {
			t.Errorf("%d of %d are kept", kept, len(hoarders))
		}
		if st.Limits["input_total"] != uint64(refused) || st.InputBytes < inputTotal/2 {
			t.Errorf("%d refused: %+v", refused, st)
		}
		message := websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpText), maskKey, []byte("4in pieces"))
		for _, b := range message {
			if _, err := good.conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		good.expect("4in pieces")
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
		post := func(target string, body string, length int) {
			conn, err := g.dial()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s", target, length, body)
			synctest.Wait()
		}
		var hoarders []string
		for range 8 {
			sid, target := g.openPoll()
			hoarders = append(hoarders, sid)
			post(target, "4"+strings.Repeat("x", inputMessage-10), inputMessage)
		}
		held := g.srv.Stats().InputBytes
		for i, sid := range hoarders {
			if i < 4 {
				if reason := g.recorder(sid).ended(); reason != "" {
					t.Errorf("session %d ended with %q", i, reason)
				}
			} else if i > 5 {
				g.expectRefused(sid)
			}
		}
		if held < inputTotal/2 || held > inputTotal {
			t.Errorf("%d bytes are held", held)
		}
		_, target := g.openPoll()
		if a := g.must("POST", target, "4hello"); a.status != http.StatusOK {
			t.Errorf("a small message was answered %d", a.status)
		}
		if a := g.must("POST", target, "4"+strings.Repeat("x", inputMessage-10)); a.status != http.StatusServiceUnavailable {
			t.Errorf("a large message was answered %d", a.status)
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

// The layer above shares the budget.
func TestHoldInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{MaxHTTPBufferSize: 10, InputTotal: 1000})
		_, first := g.openWS("")
		_, second := g.openWS("")
		a, b := g.recorder(first).s, g.recorder(second).s
		for _, step := range []struct {
			s     *Session
			n     int64
			ok    bool
			share int64
		}{
			{a, 250, true, math.MaxInt64},
			{a, 250, true, 250},
			{b, 250, true, 250},
			{b, 1, false, 250}, // more than its share
			{a, 1, false, 250}, // more than its share
		} {
			if ok := step.s.HoldInput(step.n); ok != step.ok {
				t.Errorf("%+v: %v", step, ok)
			}
			if !step.ok {
				continue
			}
			if share := step.s.InputShare(); share != step.share {
				t.Errorf("%+v: a share of %d", step, share)
			}
		}
		synctest.Wait()
		for _, sid := range []string{first, second} {
			g.expectRefused(sid)
		}
		b.ReleaseInput(250)
		a.ReleaseInput(250)
		if share := a.InputShare(); share != math.MaxInt64 {
			t.Errorf("a share of %d at a quarter of the budget", share)
		}
		a.ReleaseInput(250)
		if n := g.srv.Stats().InputBytes; n != 0 {
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
		if total := srv.cfg.InputTotal; total < 32*size || total < defaultInputTotal {
			t.Errorf("%d for messages of %d", total, size)
		}
	}
}
