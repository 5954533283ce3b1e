package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

var errLimit = errors.New("limit")

// watcher is an Observer that notes what it is told.
type watcher struct {
	mu       sync.Mutex
	notes    []string
	held     int64
	mostHeld int64
	packets  int   // refuses after so many; 0: no limit
	hold     int64 // refuses more than that; 0: no limit
}

func (w *watcher) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

func (w *watcher) Received(transport string, bytes int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("in %s %d", transport, bytes)
	if w.packets--; w.packets == 0 {
		return errLimit
	}
	return nil
}

func (w *watcher) Sent(transport string, packets, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("out %s %d %d", transport, packets, bytes)
}

func (w *watcher) Hold(bytes int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hold > 0 && w.held+bytes > w.hold {
		return errLimit
	}
	w.held += bytes
	w.mostHeld = max(w.mostHeld, w.held)
	return nil
}

func (w *watcher) Release(bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held -= bytes
}

func (w *watcher) Closed(reason string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("closed %s %v", reason, err)
}

func (w *watcher) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.notes, "|")
}

// An observer hears of all packets of its session, by transport, across an upgrade, and of its end after the handler.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{}
		asked := 0
		g := newRig(t, &Options{Observe: func(s *Session) Observer {
			if asked++; asked > 1 {
				return nil
			}
			if s.Transport() != TransportPolling || len(s.ID()) != idLength || s.Handshake().Query()["EIO"] != "4" {
				t.Errorf("observing %s over %s", s.ID(), s.Transport())
			}
			return w
		}})
		sid, target := g.openPoll()
		open := len(g.srv.openPacket(g.recorder(sid).s))
		other, _ := g.openWS("")
		other.say("4unobserved")
		g.must("POST", target, "4four\x1ebAQID")
		ws := g.probe(sid)
		ws.say("2probe")
		ws.expect("3probe")
		ws.say("5")
		ws.say("4over websocket")
		synctest.Wait()
		r := g.recorder(sid)
		_ = r.s.Send(NewMessage([]byte("answer"), []byte{1}))
		ws.expect("4answer", "<01>")
		synctest.Wait()
		r.s.Discard()
		synctest.Wait()
		want := fmt.Sprintf("out polling 1 %d|in polling 5|in polling 4|in websocket 15|out websocket 2 8|closed forced close <nil>", open)
		if got := w.all(); got != want {
			t.Errorf("observed %s\nwant     %s", got, want)
		}
		if w.held != 0 || w.mostHeld == 0 {
			t.Errorf("%d bytes of %d are held", w.held, w.mostHeld)
		}
	})
}

// An observer may end a session for a packet, which then is not handled.
func TestObserverRefusesPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{packets: 3}
		g := newRig(t, &Options{Observe: func(*Session) Observer { return w }})
		ws, sid := g.openWS("")
		for _, text := range []string{"4a", "4b", "4c"} {
			ws.say(text)
		}
		ws.expect(fmt.Sprintf("close %d", websocket.ClosePolicyViolation))
		g.expectEnd(sid, ReasonTransportError, errLimit)
		if got := g.recorder(sid).received(); got != "a|b" {
			t.Errorf("received %q", got)
		}
	})
}

// An observer may end a session before memory is taken for what its client sends, on both transports.
func TestObserverRefusesInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{hold: 2000}
		g := newRig(t, &Options{Observe: func(*Session) Observer { return w }})
		ws, sid := g.openWS("")
		whole := websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpText), maskKey, make([]byte, 50_000))
		if _, err := ws.conn.Write(whole[:10_000]); err != nil {
			t.Fatal(err)
		}
		ws.expect(fmt.Sprintf("close %d", websocket.CloseTryAgainLater))
		g.expectEnd(sid, ReasonTransportError, errLimit)

		sid, target := g.openPoll()
		if a := g.must("POST", target, "4"+strings.Repeat("x", 5000)); a.status != 503 {
			t.Errorf("the POST got %+v", a)
		}
		g.expectEnd(sid, ReasonTransportError, errLimit)
		if w.held != 0 || w.mostHeld > 2000 {
			t.Errorf("%d bytes of %d are held", w.held, w.mostHeld)
		}
	})
}
