package soak

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/sockeye-io/sockeye/internal/websocket"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// exitPath is one way in which a session ends.
type exitPath struct {
	name string
	// run opens a session that goes this way. The name is also what the client gives as auth.
	run func(c *churn, name string) error
	// reasons that its sockets may be given; none if it has no socket.
	reasons []server.Reason
}

// gone are the reasons of a connection that just ends: which one depends on who notices first, reader or writer.
var gone = []server.Reason{engine.ReasonTransportClose, engine.ReasonTransportError}

var forced = []server.Reason{engine.ReasonForcedClose, server.ReasonForcedServerClose}

var exitPaths = slices.Concat(closingPaths, vanishingPaths, upgradePaths, connectPaths, acknowledgementPaths, violationPaths)

// closingPaths end in an orderly way.
var closingPaths = []exitPath{
	{"closed by the client over websocket", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		if err := p.text(`421["echo","hello"]`); err != nil {
			return err
		}
		if _, err := p.await(`431["hello"]`); err != nil {
			return err
		}
		return p.close()
	}, []server.Reason{engine.ReasonTransportClose}},
	{"closed by the server over websocket", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		if err := p.text(`42["kick"]`); err != nil {
			return err
		}
		return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
	}, []server.Reason{server.ReasonServerDisconnect}},
	{"closed by the client over polling", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		return wantStatus(http.StatusOK)(p.post("1"))
	}, []server.Reason{engine.ReasonTransportClose}},
	{"closed by the server over polling", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := wantStatus(http.StatusOK)(p.post(`42["kick"]`)); err != nil {
			return err
		}
		return p.awaitPacket("1")
	}, []server.Reason{server.ReasonServerDisconnect}},
	{"disconnected by the server, then cut", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := p.text(`42["leave"]`); err != nil {
			return err
		}
		_, err = p.await("41")
		return err
	}, []server.Reason{server.ReasonServerDisconnect}},
	{"left by the client, then cut", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := p.text("41", `40/n1,{"path":"`+name+`"}`); err != nil {
			return err
		}
		if _, err := p.await("40/n1,"); err != nil {
			return err
		}
		return p.text("41/n1,")
	}, append([]server.Reason{server.ReasonClientDisconnect}, gone...)},
}

// vanishingPaths end without a word.
var vanishingPaths = []exitPath{
	{"reset", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		p.cut()
		return nil
	}, gone},
	{"reset with a parked poll", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		q, err := p.park()
		p.cut()
		if err != nil {
			return err
		}
		q.cut()
		return nil
	}, []server.Reason{engine.ReasonTransportError, engine.ReasonPingTimeout}},
	{"reset within a message", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		defer p.cut()
		frame := appendFrame(nil, byte(websocket.OpText), make([]byte, 4000))
		return p.raw(frame[:3000])
	}, gone},
	{"black hole", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		c.hold(c.blackHole, p)
		return nil
	}, []server.Reason{engine.ReasonPingTimeout}},
	{"black hole with much on the way", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		if err := p.text(`42["pour",8]`); err != nil {
			return err
		}
		c.hold(c.blackHole, p)
		return nil
	}, []server.Reason{engine.ReasonPingTimeout, engine.ReasonTransportError}},
	{"black hole with a parked poll", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		q, err := p.park()
		if err != nil {
			return err
		}
		c.hold(c.blackHole, p.peer, q)
		return nil
	}, []server.Reason{engine.ReasonPingTimeout}},
	{"abandoned polling", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		p.cut()
		return nil
	}, []server.Reason{engine.ReasonPingTimeout}},
	{"abandoned polling, never connected", func(c *churn, _ string) error {
		p, err := dialPolling(c.dial)
		if err != nil {
			return err
		}
		p.cut()
		return nil
	}, nil},
}

// upgradePaths end around the change of the transport.
var upgradePaths = []exitPath{
	{"upgraded, then closed", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		ws, err := p.probe()
		if err != nil {
			return err
		}
		if err := ws.text("5", `421["echo","hello"]`); err != nil {
			return err
		}
		if _, err := ws.await(`431["hello"]`); err != nil {
			return err
		}
		return ws.close()
	}, []server.Reason{engine.ReasonTransportClose}},
	{"probe never followed by an upgrade", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		ws, err := p.probe()
		if err != nil {
			return err
		}
		c.wait(name, func() error {
			defer p.cut()
			if err := wantCode(ws.awaitEnd(), websocket.CloseNoStatus); err != nil {
				return err
			}
			return wantStatus(http.StatusOK)(p.post("1"))
		})
		return nil
	}, []server.Reason{engine.ReasonTransportClose, engine.ReasonPingTimeout}},
	{"probe and session cut", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		ws, err := p.probe()
		if err != nil {
			return err
		}
		ws.cut()
		return nil
	}, []server.Reason{engine.ReasonPingTimeout}},
	{"websocket for the session, silent", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		ws, err := dialWebSocket(c.dial, p.sid)
		if err != nil {
			return err
		}
		c.hold(c.blackHole, p.peer, ws)
		return nil
	}, []server.Reason{engine.ReasonPingTimeout}},
	{"two probes", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		first, err := p.probe()
		if err != nil {
			return err
		}
		defer first.cut()
		second, err := dialWebSocket(c.dial, p.sid)
		if err != nil {
			return err
		}
		return wantCode(second.awaitEnd(), websocket.CloseNoStatus)
	}, []server.Reason{engine.ReasonPingTimeout}},
	{"upgraded and cut at once", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		ws, err := p.probe()
		if err != nil {
			return err
		}
		defer ws.cut()
		return ws.text("5")
	}, append([]server.Reason{engine.ReasonPingTimeout}, gone...)},
}

// wantCode checks how a connection ended.
// noCloseFrame stands for the end of a connection without a close frame.
const noCloseFrame = -1

func wantCode(err error, code int) error {
	if code == noCloseFrame && errors.Is(err, io.EOF) {
		return nil
	}
	if ended := (*errClosed)(nil); errors.As(err, &ended) && ended.code == code {
		return nil
	}
	return fmt.Errorf("ended with %w, want code %d", err, code)
}

func wantStatus(want int) func(int, error) error {
	return func(status int, err error) error {
		if err == nil && status != want {
			err = fmt.Errorf("answered %d, want %d", status, want)
		}
		return err
	}
}
