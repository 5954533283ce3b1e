package soak

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/limits"
)

// publicPause is how often well-behaved clients send: within the limits of the preset.
const publicPause = 25 * time.Millisecond

// maxLines is what the log may have at the end: a line for each kind of trouble, and not for each trouble.
const maxLines = 60

// TestHostileClientsPublic is TestHostileClients with the limits of the preset for the open internet, and what only they hold back.
func TestHostileClientsPublic(t *testing.T) {
	var lines logtest.Log
	opts := server.Options{
		Logger: lines.Logger(),
		Engine: engine.Options{PerMessageDeflate: &engine.PerMessageDeflate{}, MaxHalfOpen: 100},
	}
	public := limits.Public()
	public.Bytes = limits.Rate{PerSecond: 128 << 10, Burst: 256 << 10} // which a slow machine, too, reaches
	l, err := limits.New(public)
	if err != nil {
		t.Fatal(err)
	}
	l.Install(&opts)
	h := newHostile(t, &opts, publicPause)
	h.limits = l
	h.Of("/").Handle("typed", server.Func(func(context.Context, *server.Socket, int) error { return nil }))
	h.withstandAll(t, publicAttacks)
	if n := lines.Count("\n"); n > maxLines {
		t.Errorf("%d lines in the log", n)
	}
}

var publicAttacks = []attack{
	{name: "events at full speed", memory: 128 << 10, hits: "events", run: flood("events", `421["echo","x"]`)},
	{name: "large events at full speed", memory: 4 << 20, hits: "bytes", run: flood("bytes", `42["nobody","`+strings.Repeat("x", 200_000)+`"]`)},
	{name: "acknowledgements at full speed", memory: 128 << 10, hits: "packets", run: flood("packets", `43123456["x"]`)},
	{name: "heartbeats at full speed", memory: 128 << 10, hits: "packets", run: flood("packets", "3")},
	{name: "rooms without end", memory: 1 << 20, hits: "joins", run: within("rooms", func(p *peer) error {
		for i := range 400 {
			if err := p.text(fmt.Sprintf(`42%d["join","room %s %d"]`, i, p.sid, i)); err != nil {
				return err
			}
		}
		_, err := p.await(`43399[{"error":{"message":"Too many rooms joined"`)
		return err
	})},
	{name: "namespaces without end", memory: 1 << 20, hits: "connects", run: within("namespaces", func(p *peer) error {
		joined := 0
		for i := range 200 {
			ok, err := p.tryJoin(fmt.Sprintf("/func-%s-%d", p.sid, i), "{}")
			if err != nil {
				return err
			}
			if ok {
				joined++
			}
		}
		if joined > 40 {
			return fmt.Errorf("joined %d namespaces", joined)
		}
		return p.alive()
	})},
	{name: "messages that are huge when inflated", memory: 4 << 20, limited: limit("message_size"), run: inflate},
	{name: "slow headers on many connections", memory: 2 << 20, limited: limit("half_open"), run: slowHeaders},
	{name: "parallel polls and bodies", memory: 1 << 20, run: repeated(20, parallelRequests)},
	{name: "pages of other origins with cookies", memory: 256 << 10, run: repeated(50, foreignPage)},
	{name: "handshakes with forwarding headers that lie", memory: 4 << 20, hits: "address_handshakes", most: 1, run: lyingHandshakes},
	{name: "what fills the log", memory: 256 << 10, run: repeated(30, fillLog)},
}

// fullSpeed is for how long a client sends all that it can, at least.
const fullSpeed = time.Second

// flood sends a packet as fast as the server takes it, until a limit has been reached. Answers are not looked at.
func flood(kind, packet string) func(*hostile) error {
	frame := appendFrame(nil, fin|opText, []byte(packet))
	frames := bytes.Repeat(frame, max(1, 32<<10/len(frame)))
	return func(h *hostile) error {
		p, err := h.enter("flood")
		if err != nil {
			return err
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, p.conn)
		}()
		defer func() {
			p.cut()
			<-read
		}()
		begun, rest := time.Now(), frames
		for time.Since(begun) < fullSpeed || h.limits.Stats()[kind] < h.hits && time.Since(begun) < patience {
			_ = p.conn.SetWriteDeadline(time.Now().Add(fullSpeed / 10))
			n, err := p.conn.Write(rest)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			if rest = rest[n:]; len(rest) == 0 {
				rest = frames
			}
		}
		return nil
	}
}

// bomb is a text of 64 MB, deflated as a websocket message.
var bomb = sync.OnceValue(func() []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(w, "4")
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range 64 {
		_, _ = w.Write(block)
	}
	_ = w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
})

// inflate sends messages that are larger than allowed only when they are inflated.
func inflate(h *hostile) error {
	for range 5 {
		p, err := newPeer(h.dial)
		if err != nil {
			return err
		}
		if err := p.raw([]byte("GET " + target + "websocket HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
			"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")); err != nil {
			return err
		}
		res, err := http.ReadResponse(p.r, nil)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if !strings.Contains(res.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
			return fmt.Errorf("answered %s without compression", res.Status)
		}
		if err := p.frame(fin|1<<6|opText, bomb()); err != nil {
			return err
		}
		if err := wantCode(p.awaitEnd(), noCloseFrame); err != nil {
			return err
		}
	}
	return nil
}

// slowHeaders opens connections whose requests do not end.
func slowHeaders(h *hostile) error {
	var open []*peer
	defer func() {
		for _, p := range open {
			p.cut()
		}
	}()
	for range 100 {
		p, err := newPeer(h.dial)
		if err != nil {
			return err
		}
		open = append(open, p)
		_ = p.raw([]byte("GET " + target + "polling HTTP/1.1\r\nHost: soak\r\n"))
	}
	for range 20 {
		<-time.After(10 * time.Millisecond)
		for i, p := range open {
			_ = p.raw(fmt.Appendf(nil, "X-%d: x\r\n", i)) // the server may have closed it
		}
	}
	return nil
}

// parallelRequests sends requests beside each other for one session, which ends the session as in the reference.
func parallelRequests(h *hostile) error {
	p, err := dialPolling(h.dial)
	if err != nil {
		return err
	}
	defer p.cut()
	var parked []*peer
	defer func() {
		for _, q := range parked {
			q.cut()
		}
	}()
	for range 10 {
		q, err := p.park()
		if err != nil {
			return err
		}
		parked = append(parked, q)
	}
	ended := 0
	for _, q := range parked {
		if status, body, err := q.answer(); err != nil || status != http.StatusOK || body != "1" {
			ended++
		}
	}
	if ended < len(parked)-2 {
		return fmt.Errorf("%d of %d polls were refused", ended, len(parked))
	}
	return wantStatus(http.StatusBadRequest)(p.post("3"))
}

// foreignPage asks as a page of another origin would, with the user's cookies.
func foreignPage(h *hostile) error {
	const page = "Host: soak\r\nOrigin: https://evil.example\r\nCookie: session=secret\r\n"
	p, err := newPeer(h.dial)
	if err != nil {
		return err
	}
	defer p.cut()
	if err := p.raw([]byte("GET " + target + "polling HTTP/1.1\r\n" + page + "\r\n")); err != nil {
		return err
	}
	status, body, err := p.answer()
	if err != nil || status != http.StatusForbidden || strings.Contains(body, "sid") {
		return fmt.Errorf("polling answered %d %s, %w", status, body, err)
	}
	if err := p.raw([]byte("GET " + target + "websocket HTTP/1.1\r\n" + page + "Connection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")); err != nil {
		return err
	}
	if status, _, err = p.answer(); err != nil || status != http.StatusBadRequest {
		return fmt.Errorf("the upgrade answered %d, %w", status, err)
	}
	return nil
}

// lyingHandshakes opens sessions from one address that claims to be another one each time.
func lyingHandshakes(h *hostile) error {
	if runtime.GOOS != "linux" {
		return nil // there is one loopback address, which the well-behaved clients have too
	}
	address := h.good[0].conn.RemoteAddr().String()
	dial := func() (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 99, 0, 1)}}
		return d.Dial("tcp", address)
	}
	begun, accepted, refused := time.Now(), 0, 0
	for i := range 600 {
		p, err := newPeer(dial)
		if err != nil {
			return err
		}
		lie := fmt.Sprintf("198.51.%d.%d", i/200, i%200)
		err = p.raw([]byte("GET " + target + "polling HTTP/1.1\r\nHost: soak\r\nX-Forwarded-For: " + lie + "\r\nForwarded: for=" + lie + "\r\n\r\n"))
		if err != nil {
			return err
		}
		status, body, err := p.answer()
		switch {
		case err != nil:
			return err
		case status == http.StatusTooManyRequests:
			refused++
		default:
			accepted++
			p.sid = sidOf(body)
			_, err = (&poller{peer: p, dial: dial}).post("1")
		}
		p.cut()
		if err != nil {
			return err
		}
	}
	if most := 201 + int(20*time.Since(begun).Seconds()); refused == 0 || accepted > most {
		return fmt.Errorf("%d of 600 handshakes of one address were let in, %d at most should be", accepted, most)
	}
	return nil
}

// fillLog does what servers like to write lines about.
func fillLog(h *hostile) error {
	p, err := h.enter("log")
	if err != nil {
		return err
	}
	defer p.cut()
	if err := p.text(`42["typed","no number"]`, `42["nobody"]`, `4399["late"]`, `40/none,`); err != nil {
		return err
	}
	if err := p.alive(); err != nil {
		return err
	}
	if err := p.text("4" + strings.Repeat("x", 1_100_000)); err != nil {
		return nil // closed while it was sent
	}
	_ = p.awaitEnd()
	return nil
}
