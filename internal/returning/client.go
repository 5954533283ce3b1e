// Package returning has clients that come back as the npm client does, for tests of recovery with any adapter.
package returning

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server/servertest"
)

// readTimeout is how long a client waits for a packet.
const readTimeout = 20 * time.Second

// Dialer is where a client connects to: a *servertest.Server, or a node with one.
type Dialer interface {
	Dial(t testing.TB, opts *servertest.DialOptions) *servertest.Client
}

// Client is a client of the main namespace that remembers its secret, and the last argument of an event if that is a string. It fails its
// test when something does not come, or is none of what was expected. It is for one goroutine.
type Client struct {
	T    testing.TB
	Conn *servertest.Client // nil before Come

	SID, PID, Offset string // the socket's id, the session's secret, and where in the history the client is
	// On is told of each event: its name, its other arguments without offset, and whether it had one. nil: nobody is.
	On func(name string, args []any, kept bool)
}

// Come connects, with the secret if there is one, and reports whether the client goes on. What it has missed comes first.
func (c *Client) Come(to Dialer) (recovered bool) {
	c.T.Helper()
	auth := ""
	if c.PID != "" {
		members := map[string]string{"pid": c.PID}
		if c.Offset != "" {
			members["offset"] = c.Offset
		}
		text, _ := json.Marshal(members)
		auth = string(text)
	}
	c.Conn = to.Dial(c.T, nil)
	c.Conn.Send("40" + auth)
	for {
		text := c.Read()
		rest, connect := strings.CutPrefix(text, "40")
		if !connect {
			c.Take(text)
			continue
		}
		var reply struct{ SID, PID string }
		if err := json.Unmarshal([]byte(rest), &reply); err != nil || reply.PID == "" {
			c.fail("answer to CONNECT: %s", text)
		}
		recovered = reply.PID == c.PID
		if recovered != (reply.SID == c.SID) {
			c.fail("socket %s with secret %s became %s with %s", c.SID, c.PID, reply.SID, reply.PID)
		}
		if !recovered {
			c.Offset = ""
		}
		c.SID, c.PID = reply.SID, reply.PID
		return recovered
	}
}

// Read returns the next packet, in the form of the wire.
func (c *Client) Read() string {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), readTimeout)
	defer cancel()
	p, err := c.Conn.Read(ctx)
	if err != nil {
		c.fail("client %s: %v", c.SID, err)
	}
	return p.Data
}

// Take takes a packet that Read has returned, which must be an event.
func (c *Client) Take(text string) {
	c.T.Helper()
	var list []any
	rest, event := strings.CutPrefix(text, "42")
	if !event || json.Unmarshal([]byte(rest), &list) != nil || len(list) == 0 {
		c.fail("no event: %s", text)
	}
	name, _ := list[0].(string)
	args := list[1:]
	offset, kept := "", false
	if n := len(args); n > 0 {
		if offset, kept = args[n-1].(string); kept {
			c.Offset, args = offset, args[:n-1]
		}
	}
	if c.On != nil {
		c.On(name, args, kept)
	}
}

// fail ends the test, on whatever goroutine.
func (c *Client) fail(format string, args ...any) {
	c.T.Helper()
	c.T.Errorf(format, args...)
	c.T.FailNow()
}
