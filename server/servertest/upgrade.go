package servertest

import (
	"context"
	"fmt"

	"github.com/sockeye-io/sockeye/server/engine"
)

// Probe starts an upgrade from polling to websocket and leaves it half done: it returns a new connection on which the
// probe has been answered and which belongs to the same session. The session stays on polling unless the test sends "5"
// on it.
func (c *Client) Probe() *Client {
	c.t.Helper()
	opts := c.opts
	opts.Transport, opts.SessionID, opts.Stalled = engine.TransportWebSocket, c.sid, false
	probe := c.srv.Dial(c.t, &opts)
	probe.Send(packetProbe.Data)
	probe.Expect(packetProbed.Data)
	return probe
}

// Upgrade moves the client from polling to websocket in the steps of the npm client: it probes, waits for the open poll
// to end, and switches. No packet is lost or overtaken.
func (c *Client) Upgrade() {
	c.t.Helper()
	ctx, cancel := c.patience()
	defer cancel()
	if err := c.upgrade(ctx); err != nil {
		c.t.Fatalf("servertest: upgrade: %v", err)
	}
}

func (c *Client) upgrade(ctx context.Context) error {
	old, ok := c.transport.(*pollTransport) // only this goroutine changes it
	if !ok {
		return errNotPolling
	}
	tr, err := c.dialWebSocket(ctx)
	if err != nil {
		return err
	}
	if err := tr.probe(ctx); err != nil {
		return err
	}
	if err := c.endPolls(ctx); err != nil {
		return err
	}
	return c.inTurn(ctx, func(transport) error {
		if err := tr.write(ctx, []Packet{packetUpgrade}); err != nil {
			return err
		}
		c.transport = tr
		old.get.close()
		old.post.close()
		c.pumps.Go(func() { c.pump(tr) })
		return nil
	})
}

// probe asks whether the websocket works.
func (tr *wsTransport) probe(ctx context.Context) error {
	defer closeAtEnd(ctx, tr.conn)()
	if err := tr.write(ctx, []Packet{packetProbe}); err != nil {
		return err
	}
	packets, err := tr.read()
	if err != nil {
		return err
	}
	if packets[0] != packetProbed {
		return fmt.Errorf("the probe was answered %v", packets[0])
	}
	return nil
}

// endPolls waits for the server to end the open poll; no further one is made.
func (c *Client) endPolls(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upgrading = true
	c.change.Broadcast()
	if err := c.awaitLocked(ctx, func() bool { return c.quiet || c.end != nil }); err != nil {
		return fmt.Errorf("the server does not end the open poll: %w", err)
	}
	if c.end != nil {
		return c.end
	}
	return nil
}
