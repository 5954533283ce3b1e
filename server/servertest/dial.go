package servertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"testing"

	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

// DialOptions say how a client connects. Nil and the zero value mean websocket and nothing special.
type DialOptions struct {
	// Transport is engine.TransportWebSocket, the default, or engine.TransportPolling.
	Transport string
	// SessionID continues an existing session instead of opening one; over websocket that is the start of an upgrade.
	SessionID string
	// Query has further parameters of every request; they replace the usual ones of the same name (EIO, transport, sid).
	Query url.Values
	// Header has further headers of every request.
	Header http.Header
	// Codec is the encoding of the packets that Socket sends and reads. Default: parser.JSON.
	Codec parser.Codec
	// Raw hands every packet to the test, pings and noops included, and answers none; nor are close frames answered.
	Raw bool
	// Stalled starts as if Stall had been called right after the handshake; over polling no poll is ever made until
	// Resume.
	Stalled bool
}

// Dial opens a connection, without joining a namespace. It is cut when t ends. Dial fails the test if the server refuses.
func (srv *Server) Dial(t testing.TB, opts *DialOptions) *Client {
	t.Helper()
	c, err := srv.TryDial(t, opts)
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	return c
}

// TryDial is Dial that returns an error, which wraps a *CloseError with the status and body if the server refuses the handshake. It
// may be called from any goroutine.
func (srv *Server) TryDial(t testing.TB, opts *DialOptions) (*Client, error) {
	if opts == nil {
		opts = &DialOptions{}
	}
	c := newClient(t, srv, opts)
	ctx, cancel := srv.patience()
	defer cancel()
	var err error
	switch c.opts.Transport {
	case "", engine.TransportWebSocket:
		err = c.openWebSocket(ctx)
	case engine.TransportPolling:
		err = c.openPolling(ctx)
	default:
		return nil, fmt.Errorf("unknown transport %q", c.opts.Transport)
	}
	if err != nil {
		c.Cut()
		return nil, fmt.Errorf("dial: %w", err)
	}
	if c.opts.Stalled {
		c.Stall()
	}
	c.pumps.Go(func() { c.pump(c.transport) })
	t.Cleanup(c.release)
	return c, nil
}

// opened takes the handshake packet.
func (c *Client) opened(p Packet) error {
	var open struct{ SID string }
	if p.Binary || len(p.Data) == 0 || p.Data[0] != '0' {
		return fmt.Errorf("%v instead of the handshake packet", p)
	}
	if err := json.Unmarshal([]byte(p.Data[1:]), &open); err != nil {
		return fmt.Errorf("handshake packet %v: %w", p, err)
	}
	c.sid = open.SID
	return nil
}

// request makes a request with the client's parameters.
func (c *Client) request(method, transport, body string) *http.Request {
	query := url.Values{"EIO": {"4"}, "transport": {transport}}
	if c.sid != "" {
		query.Set("sid", c.sid)
	}
	maps.Copy(query, c.opts.Query)
	r := &http.Request{
		Method: method,
		URL:    &url.URL{Scheme: "http", Host: serverAddr.String(), Path: c.srv.opts.Path, RawQuery: query.Encode()},
		Header: c.opts.Header.Clone(),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	setBody(r, body)
	return r
}
