package natsadapter

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// maxDiscovered is how many servers are remembered that NATS has told of, the last ones.
const maxDiscovered = 16

// inbound is how many messages may wait to be sorted.
const inbound = 32_768

// connect makes a connection to one of the servers.
func (h *hub) connect() (*session, error) {
	c, err := h.opts.connection()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	for _, url := range h.urls {
		if !slices.Contains(c.Servers, url) {
			c.Servers = append(slices.Clone(c.Servers), url)
		}
	}
	h.mu.Unlock()
	s := newSession(h)
	s.dialer = &dialer{ctx: h.ctx, timeout: h.opts.AnswerTimeout, custom: c.CustomDialer, plain: c.Dialer}
	h.adjust(&c, s)
	nc, err := c.Connect()
	if err != nil {
		s.dialer.abort()
		if said := s.dialer.refusal(); said != nil && trouble(err) == troubleConnection {
			err = said
		}
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	s.nc = nc
	s.dialer.connected()
	s.discovered(nc)
	return s, nil
}

// adjust sets what the adapter relies on. A connection that ends is not made anew by nats.go, which would keep and send what is too
// old by then, and subscribe again without telling when that has been done.
func (h *hub) adjust(c *nats.Options, s *session) {
	if c.Name == "" {
		c.Name = "sockeye " + string(h.subjects.id)
	}
	c.AllowReconnect, c.RetryOnFailedConnect = false, false
	c.NoEcho = false // the membership wants to hear itself
	c.Timeout, c.FlusherTimeout = h.opts.AnswerTimeout, h.opts.AnswerTimeout
	c.PingInterval, c.MaxPingsOut = h.opts.AnswerTimeout/3, 2
	c.ReconnectOnFlusherError = true // ends it, since it does not reconnect
	c.SkipSubjectValidation = true   // they are made by us
	if c.InboxPrefix == "" {
		c.InboxPrefix = h.subjects.answers()
	}
	c.CustomDialer, c.Dialer = s.dialer, nil
	c.DisconnectedErrCB, c.DisconnectedCB, c.ConnectedCB, c.ReconnectedCB, c.ReconnectErrCB = nil, nil, nil, nil, nil
	c.DiscoveredServersCB = s.discovered
	c.ClosedCB = func(nc *nats.Conn) { s.ended(nc.LastError()) }
	c.AsyncErrorCB = func(_ *nats.Conn, sub *nats.Subscription, err error) { s.trouble(sub, err) }
	c.LameDuckModeHandler = func(*nats.Conn) { s.leave() }
}

// withDiscovered adds the servers that NATS has told of. Those of former connections are remembered, too: nats.go does not tell again
// of what it was given. They get the credentials of the server that told of them, if those are in its URL.
func withDiscovered(urls []string, nc *nats.Conn) []string {
	at := nc.ConnectedUrl()
	from, err := url.Parse(at)
	if at == "" || err != nil {
		return urls // the connection has ended
	}
	for _, server := range nc.DiscoveredServers() {
		if u, err := url.Parse(server); err == nil && u.User == nil && from.User != nil {
			u.User = from.User
			server = u.String()
		}
		if !slices.Contains(urls, server) {
			urls = append(urls, server)
		}
	}
	return urls[max(0, len(urls)-maxDiscovered):]
}

// dialer makes the connections of one session and can end them, whatever nats.go is doing.
type dialer struct {
	// Static after construction.
	ctx     context.Context
	timeout time.Duration
	custom  nats.CustomDialer // of the application; may be nil
	plain   *net.Dialer       // the same

	mu sync.Mutex
	// Guarded by mu.
	aborted bool
	conn    *firstWords
	stop    func() bool
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.dial(network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.aborted {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if d.stop != nil {
		d.stop()
	}
	d.conn, d.stop = &firstWords{Conn: conn}, context.AfterFunc(d.ctx, func() { _ = conn.Close() })
	return d.conn, nil
}

func (d *dialer) dial(network, address string) (net.Conn, error) {
	switch {
	case d.custom != nil:
		return d.custom.Dial(network, address)
	case d.plain != nil:
		return d.plain.DialContext(d.ctx, network, address)
	}
	return (&net.Dialer{Timeout: d.timeout}).DialContext(d.ctx, network, address)
}

// SkipTLSHandshake is asked by nats.go.
func (d *dialer) SkipTLSHandshake() bool {
	skips, ok := d.custom.(interface{ SkipTLSHandshake() bool })
	return ok && skips.SkipTLSHandshake()
}

// connected forgets what was remembered for refusal.
func (d *dialer) connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.forget()
	}
}

// refusal returns why the server has refused the last connection, nil if it has not said.
func (d *dialer) refusal() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	_, said, ok := strings.Cut(d.conn.words(), "-ERR '")
	said, _, closed := strings.Cut(said, "'")
	switch {
	case !ok || !closed:
		return nil
	case strings.EqualFold(said, nats.MAX_CONNECTIONS_ERR):
		return nats.ErrMaxConnectionsExceeded
	case strings.EqualFold(said, nats.MAX_ACCOUNT_CONNECTIONS_ERR):
		return nats.ErrMaxAccountConnectionsExceeded
	}
	return fmt.Errorf("the server says %q", said)
}

// firstWords is a connection that remembers what the server says before it is spoken to: one that refuses a connection says why and
// closes it, and nats.go, which has something to write first, finds only the latter.
type firstWords struct {
	net.Conn
	spoken atomic.Bool

	mu sync.Mutex
	// Guarded by mu.
	said []byte
}

// maxWords bounds what is remembered, in bytes.
const maxWords = 32 << 10

func (c *firstWords) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.spoken.Load() {
		c.mu.Lock()
		c.said = append(c.said, b[:min(n, maxWords-len(c.said))]...)
		c.mu.Unlock()
	}
	return n, err
}

func (c *firstWords) Write(b []byte) (int, error) {
	if !c.spoken.Load() {
		c.spoken.Store(true)
	}
	return c.Conn.Write(b)
}

// forget is for a connection that was made.
func (c *firstWords) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = nil
}

func (c *firstWords) words() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.said)
}

// abort ends the connection without a word.
func (d *dialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aborted = true
	if d.stop != nil {
		d.stop()
	}
	if d.conn != nil {
		_ = d.conn.Close()
	}
}
