package soak

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// slowClient takes its time over something, in virtual time.
type slowClient struct {
	name string
	// run returns when the server has had enough.
	run func(c *churn) error
	// within is when that is: not later.
	within time.Duration
	// reason of its socket; "" if it has none.
	reason server.Reason
}

var slowClients = []slowClient{
	{name: "headers", within: 10 * time.Second, run: func(c *churn) error {
		p, err := newPeer(c.dial)
		if err != nil {
			return err
		}
		p.drip([]byte("GET "+target+"polling HTTP/1.1\r\nX-Slow: "+strings.Repeat("x", 1000)), time.Second)
		return nil
	}},
	// The body has 30 s (Options.HTTPRequestBodyTimeout), what is read of it after the answer 5 s.
	{name: "body", within: 36 * time.Second, reason: engine.ReasonTransportError, run: func(c *churn) error {
		p, err := c.enterPolling("body")
		if err != nil {
			return err
		}
		if err := p.postHead(1000, ""); err != nil {
			return err
		}
		p.drip([]byte(strings.Repeat("4", 1000)), time.Second)
		return nil
	}},
	// The session ends at its heartbeat, the connection with the time for the closing handshake.
	{name: "frame", within: 76 * time.Second, reason: engine.ReasonPingTimeout, run: func(c *churn) error {
		p, err := c.enter("frame")
		if err != nil {
			return err
		}
		p.drip(appendFrame(nil, opText, []byte(strings.Repeat("x", 10_000))), time.Second)
		return nil
	}},
	// The heartbeat, and then the closing handshake, stay unanswered: only frames of the websocket protocol fit between
	// fragments.
	{name: "fragments", within: 76 * time.Second, reason: engine.ReasonPingTimeout, run: func(c *churn) error {
		p, err := c.enter("fragments")
		if err != nil {
			return err
		}
		frames := appendFrame(nil, opText, []byte("4"))
		fragment := appendFrame(appendFrame(nil, more, []byte("x")), fin|byte(websocket.OpPing), nil)
		for p.raw(frames) == nil {
			frames = fragment
			time.Sleep(time.Second)
		}
		p.cut()
		return nil
	}},
	{name: "attachments", within: 91 * time.Second, reason: engine.ReasonForcedClose, run: func(c *churn) error {
		p, err := c.enter("attachments")
		if err != nil {
			return err
		}
		if err := p.text(`452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`); err != nil {
			return err
		}
		return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
	}},
	// The answer of a poll is taken from the queue; what waits behind it is not answered any more.
	{name: "reading of an answer", within: 76 * time.Second, reason: engine.ReasonPingTimeout, run: func(c *churn) error {
		p, err := c.enterPolling("reading of an answer")
		if err != nil {
			return err
		}
		if err := wantStatus(http.StatusOK)(p.post(`42["pour",20]`)); err != nil {
			return err
		}
		q, err := p.park()
		if err != nil {
			return err
		}
		time.Sleep(75 * time.Second)
		_, _, _ = q.answer()
		p.cut()
		q.cut()
		return nil
	}},
}

// drip writes a byte at a time until the server closes the connection.
func (p *peer) drip(data []byte, pause time.Duration) {
	for i := range data {
		if p.raw(data[i:i+1]) != nil {
			break
		}
		time.Sleep(pause)
	}
	p.cut()
}

// TestSlowClients holds that whatever a client is slow at ends at a deadline.
func TestSlowClients(t *testing.T) {
	for _, slow := range slowClients {
		t.Run(slow.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testSlow(t, &slow) }) })
	}
}

func testSlow(t *testing.T, slow *slowClient) {
	opts := server.Options{}
	c := &churn{app: newApp(t, &opts), errs: make(map[string]int)}
	srv := servertest.New(t, c.app.Server, &servertest.Options{
		BufferSize: 4 << 10, Timeout: time.Hour,
		Configure: func(web *http.Server) { web.ReadHeaderTimeout = 10 * time.Second },
	})
	c.dial = func() (net.Conn, error) { return srv.DialContext(t.Context(), "", "") }
	before, start := countInBubble(c.Server), time.Now()
	if err := slow.run(c); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > slow.within+time.Second {
		t.Errorf("the server put up with it for %v, want %v at most", d, slow.within)
	}
	time.Sleep(linger + time.Second)
	awaitCensusInBubble(t, c.Server, before)
	if got := c.reasonsOf(slow.name); slow.reason != "" && got[slow.reason] != 1 || len(got) > 1 {
		t.Errorf("ended with %v, want %q", got, slow.reason)
	}
}
