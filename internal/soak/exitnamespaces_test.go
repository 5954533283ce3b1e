package soak

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/sockeye-io/sockeye/internal/websocket"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// connectPaths end before, while or after namespaces are joined.
var connectPaths = []exitPath{
	{"never finishes its request", func(c *churn, _ string) error {
		p, err := newPeer(c.dial)
		if err != nil {
			return err
		}
		if err := p.raw([]byte("GET " + target + "polling HTTP/1.1\r\nHost: so")); err != nil {
			return err
		}
		c.wait("", func() error { p.awaitEnd(); return nil })
		return nil
	}, nil},
	{"never sends CONNECT", func(c *churn, name string) error {
		p, err := dialWebSocket(c.dial, "")
		if err != nil {
			return err
		}
		c.wait(name, func() error { return wantCode(p.awaitEnd(), websocket.CloseNoStatus) })
		return nil
	}, nil},
	{"refused by a middleware, then cut", func(c *churn, name string) error {
		p, err := refusedBy(c, "/guarded", name)
		if err != nil {
			return err
		}
		p.cut()
		return nil
	}, nil},
	{"refused by a middleware, then waiting", func(c *churn, name string) error {
		p, err := refusedBy(c, "/guarded", name)
		if err != nil {
			return err
		}
		c.wait(name, func() error { return wantCode(p.awaitEnd(), websocket.CloseNoStatus) })
		return nil
	}, nil},
	{"refused by the middleware of a dynamic namespace", func(c *churn, name string) error {
		p, err := refusedBy(c, c.name("/refusing-"), name)
		if err != nil {
			return err
		}
		p.cut()
		return nil
	}, nil},
	{"unknown namespace", func(c *churn, name string) error {
		p, err := refusedBy(c, "/unknown", name)
		if err != nil {
			return err
		}
		p.cut()
		return nil
	}, nil},
	{"gone during a middleware", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		defer p.cut()
		return p.text(`40/slow,{"path":"`+name+`"}`, `421["echo"]`)
	}, gone},
	{"closed by the server during a middleware", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		if err := p.text(`40/slow,{"path":"`+name+`"}`, `42["kick"]`); err != nil {
			return err
		}
		return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
	}, []server.Reason{server.ReasonServerDisconnect}},
	{"ten namespaces, then cut", func(c *churn, name string) error {
		p, err := tenNamespaces(c, name)
		if err != nil {
			return err
		}
		p.cut()
		return nil
	}, gone},
	{"ten namespaces, then left one by one", func(c *churn, name string) error {
		p, err := tenNamespaces(c, name)
		if err != nil {
			return err
		}
		if err := p.text("41", "41/n1,", "41/n2,", "41/n3,", "41/n4,"); err != nil {
			return err
		}
		return p.close()
	}, []server.Reason{server.ReasonClientDisconnect, engine.ReasonTransportClose}},
}

func refusedBy(c *churn, namespace, name string) (*peer, error) {
	p, err := dialWebSocket(c.dial, "")
	if err != nil {
		return nil, err
	}
	if err := p.text("40" + namespace + `,{"path":"` + name + `"}`); err != nil {
		return nil, err
	}
	_, err = p.await("44" + namespace + ",")
	return p, err
}

func tenNamespaces(c *churn, name string) (*peer, error) {
	p, err := c.enter(name)
	if err != nil {
		return nil, err
	}
	shared := fmt.Sprintf("/pattern-shared-%d", c.serial.Load()%8)
	for _, namespace := range []string{
		"/n1", "/n2", "/n3", "/n4", shared,
		c.name("/pattern-"), c.name("/pattern-"), c.name("/func-"), c.name("/func-"),
	} {
		if err := p.join(namespace, name); err != nil {
			return nil, err
		}
		if err := p.text("42" + namespace + `,["join","room` + namespace + `"]`); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// acknowledgementPaths end while somebody waits for an acknowledgement.
var acknowledgementPaths = []exitPath{
	{"cut with acknowledgements pending on both sides", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := p.text(`421["late"]`, `422["ask"]`); err != nil {
			return err
		}
		_, err = p.await("42")
		return err
	}, gone},
	{"acknowledgement never sent", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		if err := p.text(`421["ask"]`); err != nil {
			return err
		}
		c.wait(name, func() error {
			// The handler's error is the answer.
			if _, err := p.await("431["); err != nil {
				return err
			}
			return p.close()
		})
		return nil
	}, []server.Reason{engine.ReasonTransportClose}},
	{"cut during a broadcast with acknowledgements", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := p.text(`42["join","circle"]`, `42["askAll","circle"]`); err != nil {
			return err
		}
		_, err = p.await("42")
		return err
	}, gone},
	{"closed by the server with acknowledgements pending", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		if err := p.join("/n1", name); err != nil {
			return err
		}
		if err := p.text(`421["late"]`, `42["ask"]`, `42/n1,["kick"]`); err != nil {
			return err
		}
		return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
	}, []server.Reason{server.ReasonServerDisconnect}},
}

// violationPaths end because the client breaks a rule.
var violationPaths = []exitPath{
	{"oversize message", violation(noCloseFrame, func(p *peer) error {
		return p.raw([]byte{0x82, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 1, 2, 3, 4})
	}), []server.Reason{engine.ReasonTransportError}},
	{"oversize body", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := p.postHead(1_000_001, ""); err != nil {
			return err
		}
		status, _, err := p.answer()
		return wantStatus(http.StatusRequestEntityTooLarge)(status, err)
	}, []server.Reason{engine.ReasonTransportError}},
	{"packet of an unknown type", violation(websocket.CloseNoStatus, func(p *peer) error { return p.text("49") }), forced},
	{"text that is no packet", violation(websocket.CloseNoStatus, func(p *peer) error { return p.text("x") }),
		[]server.Reason{engine.ReasonParseError}},
	{"frame of an unknown type", violation(websocket.CloseProtocolError, func(p *peer) error {
		return p.frame(websocket.BitFin|3, nil)
	}), []server.Reason{engine.ReasonTransportError}},
	{"second CONNECT", violation(websocket.CloseNoStatus, func(p *peer) error { return p.text("40") }), forced},
	{"event for a namespace not joined", violation(websocket.CloseNoStatus, func(p *peer) error {
		return p.text(`42/n1,["echo"]`)
	}), forced},
	{"attachments never sent", func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := p.text(`452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`); err != nil {
			return err
		}
		return p.frame(websocket.BitFin|byte(websocket.OpBinary), make([]byte, 1000))
	}, gone},
	{"two polls at once", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		for range 4 {
			q, err := p.park()
			if err != nil {
				return err
			}
			c.wait(name, func() error { q.awaitAnswer(); return nil })
		}
		return nil
	}, []server.Reason{engine.ReasonTransportError, engine.ReasonPingTimeout}}, // the latter if broadcasts answer each in time
	{"body cut", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		return p.postHead(1000, strings.Repeat("4", 500))
	}, []server.Reason{engine.ReasonTransportError}},
	{"binary body", func(c *churn, name string) error {
		p, err := c.enterPolling(name)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := p.raw([]byte("POST " + p.uri() + " HTTP/1.1\r\nHost: soak\r\nContent-Type: application/octet-stream\r\n" +
			"Content-Length: 1\r\n\r\nx")); err != nil {
			return err
		}
		status, _, err := p.answer()
		return wantStatus(http.StatusBadRequest)(status, err)
	}, []server.Reason{engine.ReasonTransportError}},
}

// violation is a websocket client that does something and is closed with a code for it.
func violation(code int, commit func(p *peer) error) func(*churn, string) error {
	return func(c *churn, name string) error {
		p, err := c.enter(name)
		if err != nil {
			return err
		}
		if err := commit(p); err != nil {
			return err
		}
		return wantCode(p.awaitEnd(), code)
	}
}

// awaitAnswer reads whatever comes as answer and closes the connection.
func (p *peer) awaitAnswer() {
	_, _, _ = p.answer()
	p.cut()
}
