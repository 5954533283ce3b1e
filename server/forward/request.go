package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
	"github.com/sockeye-io/sockeye/server/engine"
)

// call is a request that is being passed on.
type call struct {
	// Static.
	to     *peer
	hop    int
	sid    string
	client context.Context // ends when the client has gone

	reason Reason // why there is no answer, "" if there is
	body   *watchedBody
}

type (
	callKey struct{}
	passKey struct{} // of a request that came from another node
)

// Elsewhere implements server.Forwarder.
func (f *Forwarder) Elsewhere(w http.ResponseWriter, r *http.Request, sid string) bool {
	c := &call{sid: sid, client: r.Context()}
	forPeer := false
	if from, ok := r.Context().Value(passKey{}).(*pass); ok {
		c.hop, forPeer = from.Hop, from.From != ""
	}
	reason := f.route(c)
	if reason == "" {
		if websocket.IsUpgrade(r) {
			reason = f.upgrade(w, r, c)
		} else {
			reason = f.pass(w, r, c)
		}
	}
	if reason == "" {
		return true
	}
	if forPeer {
		w.Header().Set(headerName, string(f.self)+" "+string(OwnerUnknown))
	}
	f.noteUnknown(c, reason)
	return false
}

// route finds the node that has the session.
func (f *Forwarder) route(c *call) Reason {
	if !validSID(c.sid) {
		return NoOwner
	}
	if c.to = f.pointers.follow(c.sid); c.to == nil {
		if c.hop > 0 {
			return NotForwarded
		}
		if c.to = f.peers.owner(c.sid); c.to == nil {
			if f.engine.Tag() == c.sid[:tagLength] {
				return OwnSession
			}
			return NoOwner
		}
	}
	if c.hop++; c.hop > maxHops {
		return NotForwarded
	}
	return c.to.unusable(time.Now())
}

// noteUnknown counts, and logs seldom, that a client was told that its session is unknown.
func (f *Forwarder) noteUnknown(c *call, reason Reason) {
	f.count.unknown[reason].Add(1)
	if c.to == nil || reason == OwnerUnknown {
		return // sessions end, and ids can be made up
	}
	if held, ok := f.unknown.Pass(string(c.to.id)+string(reason), logInterval); ok {
		node := c.to.node.Load()
		f.opts.Logger.Warn("a request could not be brought to the node of its session, and the client was told that the session is unknown",
			"node", node.Name, "address", node.Address, "reason", string(reason), "more", held)
	}
}

// logInterval is how often the log tells of one kind of failure of one node.
const logInterval = 10 * time.Second

// pass has the other node answer a poll or a POST.
func (f *Forwarder) pass(w http.ResponseWriter, r *http.Request, c *call) Reason {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), callKey{}, c))
	defer cancel()
	defer context.AfterFunc(c.to.life, cancel)()
	if r.Method == http.MethodGet {
		defer f.polls.add(c, cancel)()
	}
	r = r.WithContext(ctx)
	if r.ContentLength != 0 {
		c.body = f.watchBody(w, r)
		defer c.body.leave()
		r.Body = c.body
	}
	f.proxy.ServeHTTP(w, r)
	if c.reason == "" {
		f.count.forwarded.Add(1)
	}
	return c.reason
}

// bodyGrace is by how much longer the body may take here than at its node, whose answer counts.
const bodyGrace = time.Second

// watchedBody notes whether it was the client that broke off, and bounds the time that a body takes: of a node that has died net/http
// tells only when the rest of the body has been read.
type watchedBody struct {
	io.ReadCloser
	conn *http.ResponseController
	err  atomic.Pointer[error]

	mu sync.Mutex
	// Guarded by mu.
	ended, left bool
}

func (f *Forwarder) watchBody(w http.ResponseWriter, r *http.Request) *watchedBody {
	b := &watchedBody{ReadCloser: r.Body, conn: http.NewResponseController(w)}
	_ = b.conn.SetReadDeadline(time.Now().Add(f.engine.BodyTimeout() + bodyGrace))
	return b
}

// bodyError returns why the body could not be read, nil if it could.
func (c *call) bodyError() error {
	if c.body == nil {
		return nil
	}
	if err := c.body.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	if b.wasLeft() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.end()
	case err != nil && !b.wasLeft():
		b.err.Store(&err)
	}
	return n, err
}

func (b *watchedBody) wasLeft() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// end lets the node take its time for the answer: net/http waits now for the client's next request, or its end.
func (b *watchedBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	_ = b.conn.SetReadDeadline(time.Time{})
}

// leave gives the rest of the body back to the server: a node that answers before it has read all may have the transport wait for
// the client, who waits for the answer.
func (b *watchedBody) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left = true; !b.ended {
		_ = b.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close implements io.Closer. The server's body has to be left to the server.
func (b *watchedBody) Close() error { return nil }

const (
	dialTimeout = 2 * time.Second
	idleTimeout = 90 * time.Second
	maxIdle     = 256 // connections to one node
)

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

func (f *Forwarder) newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive, Control: limitUnconfirmed}
	t := &http.Transport{
		DialContext: dialer.DialContext, DisableCompression: true, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
	if f.opts.TLS != nil {
		t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout) // the connection, and the handshake
			defer cancel()
			return f.tlsDialer(dialer).DialContext(ctx, network, address)
		}
	}
	return t
}

func (f *Forwarder) tlsDialer(dialer *net.Dialer) *tls.Dialer {
	config := f.opts.TLS
	if f.opts.ClientTLS != nil {
		config = f.opts.ClientTLS()
	}
	return &tls.Dialer{NetDialer: dialer, Config: config}
}

func (f *Forwarder) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: f.rewrite, ModifyResponse: f.checkAnswer, ErrorHandler: f.fail, Transport: f.client,
		BufferPool: new(buffers), ErrorLog: log.New(io.Discard, "", 0), FlushInterval: -1,
	}
}

// rewrite addresses and signs a request. Its target and what proxies have added stay as they are.
func (f *Forwarder) rewrite(pr *httputil.ProxyRequest) {
	c := pr.In.Context().Value(callKey{}).(*call)
	scheme := "http"
	if f.opts.TLS != nil {
		scheme = "https"
	}
	pr.Out.URL = &url.URL{Scheme: scheme, Host: c.to.node.Load().Address, Opaque: pr.In.RequestURI}
	pr.Out.Host = pr.In.Host
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} { // which ReverseProxy removes
		if values, ok := pr.In.Header[name]; ok {
			pr.Out.Header[name] = values
		}
	}
	pr.Out.Header.Del("Expect") // net/http tells the client to continue when the body is read here
	pr.Out.Header.Set(headerName, f.sign(c, pr.In))
}

// sign makes the pass of a client's request.
func (f *Forwarder) sign(c *call, r *http.Request) string {
	return f.signFor(c, passRequest, r.Method, r.RequestURI, f.engine.Peer(r))
}

func (f *Forwarder) signFor(c *call, kind, method, target string, client engine.Peer) string {
	if len(client.Host) > maxHost {
		client.Host = ""
	}
	p := pass{Kind: kind, From: f.self, To: c.to.id, Number: f.peers.next(c.to), Hop: c.hop, SID: c.sid, Client: client}
	return p.sign(*c.to.key.Load(), method, target)
}

// answerError is an answer that is none: not from the node that was asked, or a refusal.
type answerError struct {
	reason Reason
	text   string
}

// Error implements error.
func (e *answerError) Error() string { return e.text }

// checkAnswer looks whether an answer comes from the node that was asked.
func (f *Forwarder) checkAnswer(resp *http.Response) error {
	c := resp.Request.Context().Value(callKey{}).(*call)
	said := resp.Header.Get(headerName)
	resp.Header.Del(headerName)
	if resp.Close {
		resp.Header.Set("Connection", "close") // for the client, too: it may be about to send what nobody reads
	}
	return f.judge(c, said)
}

// judge tells by what an answer says in headerName whether it comes from the node that was asked.
func (f *Forwarder) judge(c *call, said string) error {
	switch said {
	case string(c.to.id):
		return nil
	case string(c.to.id) + " " + string(OwnerUnknown):
		f.count.unknown[OwnerUnknown].Add(1)
		f.pointers.drop(c.sid, c.to)
		return nil
	}
	switch reason, ok := refusal(said); {
	case ok && reason == errReplay.Error():
		// net/http has sent it again because the connection broke while it waited for the first answer.
		return &answerError{OwnerFailed, "refused: " + reason}
	case ok:
		return &answerError{PeerRefused, "refused: " + reason}
	}
	return &answerError{OwnerUnreachable, "answer of somebody else"}
}

// fail notes why there is no answer. The engine then tells the client that the session is unknown, but for what the client did.
func (f *Forwarder) fail(w http.ResponseWriter, r *http.Request, err error) {
	c := r.Context().Value(callKey{}).(*call)
	answer := (*answerError)(nil)
	dial := (*net.OpError)(nil)
	switch {
	case errors.As(err, &answer):
		c.reason = answer.reason
	case errors.Is(c.bodyError(), os.ErrDeadlineExceeded):
		c.reason = OwnerFailed
	case c.client.Err() != nil:
		panic(http.ErrAbortHandler) // the client has gone
	case c.bodyError() != nil:
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusBadRequest) // the client sends a malformed body
	case errors.As(err, &dial) && dial.Op == "dial":
		c.to.failed(time.Now())
		c.reason = OwnerUnreachable
	default:
		c.reason = OwnerFailed
	}
	f.opts.Logger.Debug("forwarding failed", "node", c.to.id, "error", err)
}

// buffers are those in which bodies are copied.
type buffers struct{ pool sync.Pool }

const bufferSize = 8 << 10

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
