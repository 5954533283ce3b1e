package engine

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

// lastWords is a connection whose last bytes come together with its end, as those of TLS may.
type lastWords struct {
	net.Conn
	rest string
}

func (c *lastWords) Read(p []byte) (n int, err error) {
	n = copy(p, c.rest)
	if c.rest = c.rest[n:]; c.rest == "" {
		err = io.EOF
	}
	return n, err
}

// pausing is a receiver that pauses after every batch and notes the order of what it gets.
type pausing struct {
	events string
	bytes  int
	ended  chan struct{}
}

func (p *pausing) onReadable(b []byte) verdict {
	p.bytes += len(b)
	if b == nil {
		p.events += "resumed "
		return keepReading
	}
	p.events += "data "
	return pauseReading
}

func (p *pausing) continuation() func() { return nil }

func (p *pausing) awaitResume() { p.events += "wait " }

func (p *pausing) onReadEnd(err error) {
	p.events += err.Error()
	close(p.ended)
}

// A pause delays the end of a connection behind what was read before it.
func TestPauseBeforeEnd(t *testing.T) {
	for _, size := range []int{1, plainBufferSize - 1, plainBufferSize, plainBufferSize + 1, plainBufferSize + readBufferSize} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var ts tasks
			to := &pausing{ended: make(chan struct{})}
			startReading(&workers{tasks: &ts}, &lastWords{rest: strings.Repeat("x", size)}, nil, []byte("early"), to)
			<-to.ended
			ts.wait(-1)
			batches := strings.Count(to.events, "data ")
			if want := strings.Repeat("data wait resumed ", batches) + "EOF"; to.events != want || to.bytes != size+len("early") {
				t.Errorf("%d bytes: %s", to.bytes, to.events)
			}
		})
	}
}

// A pause that begins while nothing is being read holds for the next message already, and one that follows at once on
// a resume for the rest of the batch.
func TestPauseWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("")
		r := g.recorder(sid)
		synctest.Wait()
		r.s.Pause()
		ws.say("4a")
		synctest.Wait()
		if got := r.received(); got != "" {
			t.Errorf("received %q during the pause", got)
		}
		// The reader must not get its turn between the two.
		r.s.mu.Lock()
		r.s.resumeLocked()
		r.s.pauseLocked()
		r.s.mu.Unlock()
		synctest.Wait()
		if got := r.received(); got != "" {
			t.Errorf("received %q during the second pause", got)
		}
		r.s.Resume()
		synctest.Wait()
		if got := r.received(); got != "a" {
			t.Errorf("received %q", got)
		}
	})
}
