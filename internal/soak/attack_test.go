package soak

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/internal/websocket"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

const (
	opText   = byte(websocket.OpText)
	opBinary = byte(websocket.OpBinary)
	fin      = websocket.BitFin
	more     = byte(websocket.OpContinuation)
)

var attacks = slices.Concat(requestAttacks, frameAttacks, packetAttacks, floodAttacks, namespaceAttacks)

func limit(kind string) func(*server.Stats) uint64 {
	return func(s *server.Stats) uint64 { return s.Engine.Limits[kind] }
}

func parseErrors(s *server.Stats) uint64 { return s.ParseErrors }

// requestAttacks are about HTTP requests.
var requestAttacks = []attack{
	{name: "body that never ends", memory: 3 << 20, limited: limit("body_size"), run: func(h *hostile) error {
		p, err := dialPolling(h.dial)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := p.raw([]byte("POST " + p.uri() + " HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n")); err != nil {
			return err
		}
		chunk := append(append([]byte("10000\r\n"), make([]byte, 1<<16)...), "\r\n"...)
		if taken, all := p.push(chunk, 64<<20); all {
			return errTook(taken)
		}
		return wantEnded(h, p)
	}},
	{name: "long headers", memory: 256 << 10, limited: limit("handshake_size"), run: repeated(20, func(h *hostile) error {
		for _, size := range []int{20 << 10, 100 << 10} {
			p, err := newPeer(h.dial)
			if err != nil {
				return err
			}
			_ = p.raw([]byte("GET " + target + "polling HTTP/1.1\r\nHost: soak\r\nX-Long: " + strings.Repeat("x", size) + "\r\n\r\n"))
			status, _, err := p.answer()
			p.cut()
			// After a refusal in the midst of the headers the answer may be lost in a reset.
			if size < 64<<10 && err != nil || err == nil && status != http.StatusRequestHeaderFieldsTooLarge {
				return fmt.Errorf("answered %d, %w", status, err)
			}
		}
		return nil
	})},
	{name: "half-open upgrades", memory: 4 << 20, run: func(h *hostile) error {
		var sessions []*poller
		var open []*peer
		defer func() {
			for _, p := range sessions {
				_, _ = p.post("1")
				p.cut()
			}
			for _, p := range open {
				p.cut()
			}
		}()
		for range 50 {
			p, err := dialPolling(h.dial)
			if err != nil {
				return err
			}
			sessions = append(sessions, p)
			ws, err := p.probe()
			if err != nil {
				return err
			}
			open = append(open, ws)
		}
		for range 50 {
			ws, err := dialWebSocket(h.dial, sessions[0].sid)
			if err != nil {
				return err
			}
			open = append(open, ws)
		}
		if got := h.Stats().Engine.Upgrading; got < 50 {
			return fmt.Errorf("%d upgrades under way", got)
		}
		return nil
	}},
	{name: "thirty thousand packets in one body", memory: 3 << 20, run: func(h *hostile) error {
		p, err := dialPolling(h.dial)
		if err != nil {
			return err
		}
		defer p.cut()
		if err := wantStatus(http.StatusOK)(p.post(slices.Repeat([]string{"3"}, 30_000)...)); err != nil {
			return err
		}
		return wantStatus(http.StatusOK)(p.post("1"))
	}},
}

// wantEnded makes sure that a session ended with its last request, which was refused.
func wantEnded(h *hostile, p *poller) error {
	q, err := newPeer(h.dial)
	if err != nil {
		return err
	}
	p.cut()
	p.peer = &peer{conn: q.conn, r: q.r, sid: p.sid}
	return wantStatus(http.StatusBadRequest)(p.post("1"))
}

// frameAttacks are about websocket frames.
var frameAttacks = []attack{
	{name: "a million tiny fragments of one message", memory: 64 << 10, reason: engine.ReasonTransportError,
		run: within("a million tiny fragments of one message", func(p *peer) error {
			if err := p.frame(opText, []byte("4")); err != nil {
				return err
			}
			fragments := bytes.Repeat(appendFrame(nil, more, []byte("x")), 1000)
			for range 1000 {
				if p.raw(fragments) != nil {
					break
				}
			}
			return wantPolicy(p.awaitEnd())
		})},
	{name: "many messages of tiny fragments", memory: 256 << 10, run: within("fragments", func(p *peer) error {
		event := `42["nobody","` + strings.Repeat("x", 10_000) + `"]`
		frames := appendFrame(nil, opText, []byte(event[:1]))
		for i := 1; i < len(event)-1; i++ {
			frames = appendFrame(frames, more, []byte(event[i:i+1]))
		}
		frames = appendFrame(frames, fin|more, []byte("]"))
		for range 10 {
			if err := p.raw(frames); err != nil {
				return err
			}
		}
		return p.alive()
	})},
	{name: "empty fragments", memory: 64 << 10, reason: engine.ReasonTransportError,
		run: within("empty fragments", func(p *peer) error {
			if err := p.frame(opText, nil); err != nil {
				return err
			}
			p.push(bytes.Repeat(appendFrame(nil, more, nil), 1000), 1<<20)
			return wantPolicy(p.awaitEnd())
		})},
	{name: "messages never finished", memory: 3 << 20, run: within("unfinished", func(p *peer) error {
		if err := p.frame(opBinary, make([]byte, 900_000)); err != nil {
			return err
		}
		return p.pong() // behind it, so that it has been read
	})},
	{name: "pings without end, answers not read", memory: 128 << 10, most: 3, reason: engine.ReasonTransportError,
		run: within("pings without end, answers not read", func(p *peer) error {
			pings := bytes.Repeat(appendFrame(nil, fin|byte(websocket.OpPing), make([]byte, 125)), 500)
			if taken, all := p.push(pings, 128<<20); all {
				return errTook(taken)
			}
			return nil
		})},
	{name: "pongs without end", memory: 128 << 10, run: within("pongs", func(p *peer) error {
		frames := append(appendFrame(nil, fin|opText, []byte("3")), appendFrame(nil, fin|byte(websocket.OpPong), []byte("x"))...)
		if err := p.raw(bytes.Repeat(frames, 20_000)); err != nil {
			return err
		}
		return p.alive()
	})},
	{name: "heartbeat in the wrong direction", memory: 64 << 10, reason: engine.ReasonTransportError,
		run: repeated(20, within("heartbeat in the wrong direction", func(p *peer) error {
			if err := p.text("2"); err != nil {
				return err
			}
			return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
		}))},
}

// wantPolicy checks for the close code that too many fragments get; the close frame may be lost in a reset.
func wantPolicy(err error) error {
	if errors.As(err, new(*errClosed)) {
		return wantCode(err, websocket.ClosePolicyViolation)
	}
	return nil
}

// pong sends a ping of the websocket protocol and waits for the answer.
func (p *peer) pong() error {
	if err := p.frame(fin|byte(websocket.OpPing), []byte("?")); err != nil {
		return err
	}
	for {
		op, _, err := p.readFrame()
		if err != nil || op == websocket.OpPong {
			return err
		}
	}
}

// packetAttacks are about single packets of Socket.IO.
var packetAttacks = []attack{
	{name: "attachments hoarded", memory: 3 << 20, run: func(h *hostile) error {
		header := `4510-["x"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, 10) + `]`
		for range 3 {
			p, err := h.enter("hoard")
			if err != nil {
				return err
			}
			defer p.cut()
			if err := p.text(header); err != nil {
				return err
			}
			for range 9 {
				if err := p.frame(fin|opBinary, make([]byte, 100_000)); err != nil {
					return err
				}
			}
			if err := p.pong(); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "attachments announced twice", memory: 64 << 10, limited: parseErrors, reason: engine.ReasonForcedClose,
		run: repeated(20, within("attachments announced twice", func(p *peer) error {
			header := `4510-["x",{"_placeholder":true,"num":0}]`
			if err := p.text(header, header); err != nil {
				return err
			}
			return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
		}))},
	{name: "too many attachments", memory: 64 << 10, limited: parseErrors, reason: engine.ReasonForcedClose,
		run: within("too many attachments", func(p *peer) error {
			if err := p.text(`451000000000-["x"]`); err != nil {
				return err
			}
			return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
		})},
	{name: "attachments for a namespace not joined", memory: 64 << 10, run: repeated(20, func(h *hostile) error {
		p, err := dialWebSocket(h.dial, "")
		if err != nil {
			return err
		}
		if err := p.text(`4510-["x",{"_placeholder":true,"num":0}]`); err != nil {
			return err
		}
		return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
	})},
	{name: "second CONNECT", memory: 64 << 10, run: repeated(20, within("second CONNECT", func(p *peer) error {
		if err := p.text("40"); err != nil {
			return err
		}
		return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
	}))},
	{name: "event for a namespace not joined", memory: 64 << 10, run: repeated(20, within("not joined", func(p *peer) error {
		if err := p.text(`42/n1,["echo"]`); err != nil {
			return err
		}
		return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
	}))},
	{name: "deep JSON", memory: 4 << 20, limited: parseErrors, reason: engine.ReasonForcedClose,
		run: within("deep JSON", func(p *peer) error {
			if err := p.text(`42["x",` + strings.Repeat("[", 900_000)); err != nil {
				return err
			}
			return wantCode(p.awaitEnd(), websocket.CloseNoStatus)
		})},
}

// floodAttacks send more than anybody wants.
var floodAttacks = []attack{
	{name: "acknowledgements nobody waits for", memory: 128 << 10,
		limited: func(s *server.Stats) uint64 { return s.UnknownAcks / 20_000 },
		run: within("acks", func(p *peer) error {
			if err := p.raw(bytes.Repeat(appendFrame(nil, fin|opText, []byte(`43123456["x"]`)), 20_000)); err != nil {
				return err
			}
			return p.alive()
		})},
	{name: "events faster than they are handled", memory: 3 << 20,
		limited: func(s *server.Stats) uint64 { return s.InboxPauses },
		run: func(h *hostile) error {
			return within("events", func(p *peer) error {
				return h.overflow(p, appendFrame(nil, fin|opText, []byte(`42["slow","`+strings.Repeat("x", 10_000)+`"]`)))
			})(h)
		}},
	{name: "tiny events faster than they are handled", memory: 3 << 20,
		limited: func(s *server.Stats) uint64 { return s.InboxPauses },
		run: func(h *hostile) error {
			return within("tiny events", func(p *peer) error {
				return h.overflow(p, bytes.Repeat(appendFrame(nil, fin|opText, []byte(`42["slow"]`)), 1000))
			})(h)
		}},
	{name: "events in bodies faster than they are handled", memory: 4 << 20,
		limited: func(s *server.Stats) uint64 { return s.InboxPauses },
		run: func(h *hostile) error {
			p, err := dialPolling(h.dial)
			if err != nil {
				return err
			}
			defer p.cut()
			if err := p.join("/", "bodies"); err != nil {
				return err
			}
			body := strings.Repeat("42[\"slow\"]\x1e", 60_000) + "6"
			if err := p.postHead(len(body), body); err != nil {
				return err
			}
			// Neither an answer nor a second request gets through.
			q, err := newPeer(h.dial)
			if err != nil {
				return err
			}
			defer q.cut()
			q.sid = p.sid
			h.awaitPauses()
			return wantStatus(http.StatusBadRequest)((&poller{peer: q}).post("3"))
		}},
	{name: "answers not read", memory: 20 << 20, most: 1, limited: limit("slow_consumer"), reason: engine.ReasonTransportError,
		run: within("answers not read", func(p *peer) error {
			echo := appendFrame(nil, fin|opText, []byte(`421["echo","`+strings.Repeat("x", 20_000)+`"]`))
			if taken, all := p.push(echo, 128<<20); all {
				return errTook(taken)
			}
			return nil
		})},
}
