package servertest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/sockeye-io/sockeye/server/engine"
)

// pollTransport is HTTP long-polling: one GET after the other on one line, POSTs on another.
type pollTransport struct {
	c         *Client
	get, post line
}

// openPolling opens a session, or goes on with the one that the options name.
func (c *Client) openPolling(ctx context.Context) error {
	tr := &pollTransport{c: c, get: line{c: c, polls: true}, post: line{c: c}}
	c.transport = tr
	if c.opts.SessionID != "" {
		return nil
	}
	packets, err := tr.poll(ctx)
	if err != nil {
		return err
	}
	if err := c.opened(packets[0]); err != nil {
		return err
	}
	for _, p := range packets[1:] {
		c.take(p)
	}
	return nil
}

// poll makes one GET.
func (tr *pollTransport) poll(ctx context.Context) ([]Packet, error) {
	body, err := tr.get.do(ctx, tr.c.request(http.MethodGet, engine.TransportPolling, ""))
	if err != nil {
		return nil, err
	}
	packets, err := decodePayload(body)
	if i := slices.Index(packets, packetClose); i >= 0 {
		return packets[:i], &CloseError{Status: http.StatusOK, Reason: "close packet"}
	}
	return packets, err
}

func (tr *pollTransport) read() ([]Packet, error) {
	if err := tr.c.awaitPoll(); err != nil {
		return nil, err
	}
	packets, err := tr.poll(context.Background())
	if err != nil && tr.c.isClosing() {
		// The poll came too late for the session that the client has just closed.
		err = errClosing
	}
	return packets, err
}

func (c *Client) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

var (
	// errLeft ends the reading of a transport that the client has left for another.
	errLeft = errors.New("the client has left polling")
	// errClosing is the end of a client that has sent a close packet.
	errClosing = &CloseError{Status: http.StatusOK, Reason: "closed by the client"}
)

// awaitPoll returns when a poll may be made, or why none is made any more.
func (c *Client) awaitPoll() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.stalled && c.end == nil && !c.closing && !c.upgrading {
		c.change.Wait()
	}
	switch {
	case c.end != nil:
		return c.end
	case c.closing:
		return errClosing
	case c.upgrading:
		c.quiet = true
		c.change.Broadcast()
		return errLeft
	}
	return nil
}

func (tr *pollTransport) write(ctx context.Context, packets []Packet) error {
	return tr.writeRaw(ctx, []byte(encodePayload(packets)))
}

func (tr *pollTransport) writeRaw(ctx context.Context, data []byte) error {
	body, err := tr.post.do(ctx, tr.c.request(http.MethodPost, engine.TransportPolling, string(data)))
	if err == nil && body != "ok" {
		err = fmt.Errorf("POST answered %q, want ok", body)
	}
	return err
}

func (tr *pollTransport) goodbye(ctx context.Context) error {
	return tr.write(ctx, []Packet{packetClose})
}

// drain has nothing to wait for: the last answer has been read.
func (tr *pollTransport) drain() { tr.get.close() }

// line is a connection for requests one after the other.
type line struct {
	c     *Client
	polls bool // carries GETs, and is what Stall stops

	conn *conn
	r    *bufio.Reader
}

// do makes one request and returns the body of the answer; an answer other than 200 is a *CloseError. The connection is
// closed when ctx ends.
func (l *line) do(ctx context.Context, r *http.Request) (string, error) {
	if l.conn == nil {
		conn, err := l.c.dial(ctx, l)
		if err != nil {
			return "", err
		}
		l.conn, l.r = conn, bufio.NewReader(conn)
	}
	stop := closeAtEnd(ctx, l.conn)
	status, body, keep, err := l.exchange(r)
	stop()
	if !keep {
		l.close()
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return "", fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case err != nil:
		return "", err
	case status != http.StatusOK:
		return "", &CloseError{Status: status, Reason: body}
	}
	return body, nil
}

func (l *line) exchange(r *http.Request) (status int, body string, keep bool, err error) {
	var request bytes.Buffer
	if err := r.Write(&request); err != nil {
		return 0, "", false, err
	}
	// A server that refuses a long body may answer and close before it has read all of it.
	if _, err := l.conn.Write(request.Bytes()); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return 0, "", false, err
	}
	res, err := http.ReadResponse(l.r, r)
	if err != nil {
		return 0, "", false, unexpected(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if encoding := res.Header.Get("Content-Encoding"); err == nil && encoding != "" {
		err = fmt.Errorf("answer is compressed with %s, which this client does not read", encoding)
	}
	return res.StatusCode, string(data), err == nil && !res.Close, err
}

func (l *line) close() {
	if l.conn == nil {
		return
	}
	_ = l.conn.Close()
	l.c.untrack(l.conn)
	l.conn, l.r = nil, nil
}
