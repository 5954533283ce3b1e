package frameworks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/sockeye-io/sockeye/server"
)

// patience bounds what should come at once.
const patience = 30 * time.Second

// who is what a server knows of a client, and its own name.
type who struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Secure  bool   `json:"secure"`
}

// newServer makes a server with an event that tells who asks.
func newServer(t testing.TB, opts server.Options) *server.Server {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := server.New(&opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/").Handle("who", server.FuncAck(func(_ context.Context, s *server.Socket, _ server.None) (who, error) {
		h := s.Handshake()
		return who{opts.NodeName, h.Address, h.Secure}, nil
	}))
	t.Cleanup(func() { _ = srv.Close() })
	return srv
}

// serve runs a handler on a free port.
func serve(t testing.TB, h http.Handler) (base string) {
	t.Helper()
	ts := httptest.NewUnstartedServer(h)
	ts.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ts.Start()
	t.Cleanup(ts.Close)
	return ts.URL
}

// away is the address of a client that is not on the machine of the proxies, 127.0.0.1.
const away = "127.0.0.2"

var dialer = net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(away)}, Timeout: patience}

// client is a browser: it has cookies, polls, and upgrades to a websocket.
type client struct {
	http   *http.Client
	target string // http://host:port/path/
	header http.Header
	sid    string
}

func newClient(target string, header http.Header) *client {
	jar, _ := cookiejar.New(nil) // fails for bad options only
	// A connection for each request: a balancer decides anew each time.
	return &client{http: &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}, target: target, header: header}
}

// use does what a browser does, and returns what the server knows by polling, after the upgrade, and of a second connection
// that is a websocket from the start.
func (c *client) use() (seen [3]who, err error) {
	if err = c.open(); err != nil {
		return seen, err
	}
	if seen[0], err = c.ask(); err != nil {
		return seen, err
	}
	if seen[1], err = c.overWebSocket("&sid="+c.sid, []string{"2probe"}, "3probe", "5", `421["who"]`); err != nil {
		return seen, fmt.Errorf("upgrade: %w", err)
	}
	if seen[2], err = c.overWebSocket("", nil, "0{", "40"); err != nil {
		return seen, fmt.Errorf("websocket: %w", err)
	}
	return seen, nil
}

func (c *client) request(method, body string) (string, error) {
	target := c.target + "?EIO=4&transport=polling"
	if c.sid != "" {
		target += "&sid=" + c.sid
	}
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	res, err := c.http.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d, %q", method, target, res.StatusCode, b)
	}
	return string(b), err
}

// open opens a polling session and joins the main namespace.
func (c *client) open() error {
	body, err := c.request(http.MethodGet, "")
	if err != nil {
		return err
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "0")), &open); err != nil {
		return fmt.Errorf("handshake %q: %w", body, err)
	}
	c.sid = open.SID
	if _, err := c.request(http.MethodPost, "40"); err != nil {
		return err
	}
	_, err = c.poll("40")
	return err
}

// ask asks by polling. The poll is open before the event is sent.
func (c *client) ask() (who, error) {
	if _, err := c.request(http.MethodPost, `420["who"]`); err != nil {
		return who{}, err
	}
	packet, err := c.poll("430")
	if err != nil {
		return who{}, err
	}
	return answerIn(packet)
}

// poll polls until a packet with a prefix comes.
func (c *client) poll(prefix string) (string, error) {
	for {
		body, err := c.request(http.MethodGet, "")
		if err != nil {
			return "", err
		}
		for packet := range strings.SplitSeq(body, "\x1e") {
			if strings.HasPrefix(packet, prefix) {
				return packet, nil
			}
		}
	}
}

func answerIn(packet string) (w who, err error) {
	at := strings.IndexByte(packet, '[')
	if at < 0 {
		return w, fmt.Errorf("packet %q is no acknowledgement", packet)
	}
	args := []*who{&w}
	return w, json.Unmarshal([]byte(packet[at:]), &args)
}

// overWebSocket opens a websocket, sends what comes first, waits for a packet, sends the rest, and asks.
func (c *client) overWebSocket(query string, first []string, await string, rest ...string) (who, error) {
	u, err := url.Parse(c.target)
	if err != nil {
		return who{}, err
	}
	header := http.Header{}
	for name, values := range c.header {
		header[name] = values
	}
	for _, cookie := range c.http.Jar.Cookies(u) {
		header.Add("Cookie", cookie.String())
	}
	upgrader := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header), Timeout: patience, NetDial: dialer.DialContext}
	conn, br, _, err := upgrader.Dial(context.Background(), "ws"+strings.TrimPrefix(c.target, "http")+"?EIO=4&transport=websocket"+query)
	if err != nil {
		return who{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	w := &websocket{conn: conn, r: io.Reader(conn)}
	if br != nil {
		w.r = io.MultiReader(bytes.NewReader(peek(br)), conn)
	}
	if err := w.send(first...); err != nil {
		return who{}, err
	}
	if _, err := w.await(await); err != nil {
		return who{}, err
	}
	if err := w.send(rest...); err != nil {
		return who{}, err
	}
	if query == "" {
		if _, err := w.await("40"); err != nil {
			return who{}, err
		}
		if err := w.send(`421["who"]`); err != nil {
			return who{}, err
		}
	}
	packet, err := w.await("431")
	if err != nil {
		return who{}, err
	}
	return answerIn(packet)
}

func peek(r interface {
	Buffered() int
	Peek(int) ([]byte, error)
}) []byte {
	b, _ := r.Peek(r.Buffered())
	return bytes.Clone(b)
}

type websocket struct {
	conn net.Conn
	r    io.Reader
}

func (w *websocket) send(packets ...string) error {
	for _, p := range packets {
		if err := wsutil.WriteClientText(w.conn, []byte(p)); err != nil {
			return err
		}
	}
	return nil
}

func (w *websocket) await(prefix string) (string, error) {
	for {
		data, _, err := wsutil.ReadServerData(struct {
			io.Reader
			io.Writer
		}{w.r, w.conn})
		if err != nil {
			return "", errors.Join(fmt.Errorf("waiting for %q", prefix), err)
		}
		if strings.HasPrefix(string(data), prefix) {
			return string(data), nil
		}
	}
}
