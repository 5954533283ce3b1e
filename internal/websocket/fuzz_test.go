package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"slices"
	"testing"
	"unicode/utf8"
)

// FuzzFeed checks that no stream does harm and that its outcome does not depend on how it is cut. Unmasked frames are
// fed as they are; so that the fuzzer gets further, the stream is also tried with the mask bits set.
func FuzzFeed(f *testing.F) {
	f.Add(stream(frame(finText, "héllo"), frame(finPing, "p"), frame(finClose, closePayload(1000, "bye"))), byte(3))
	f.Add(stream(frame(text, "a"), frame(finPong, ""), frame(finCont, "\xe2\x82\xac")), byte(1))
	f.Add(stream(frame(finText|rsv1, deflated("hello hello")), frame(binary_|rsv1, deflated("x")), frame(finCont, "")), byte(7))
	f.Add(rawHead(finBinary, 0x80|127, 255, 255, 255, 255, 255, 255, 255, 255), byte(2))
	f.Add(rawHead(finText|rsv1, 0x81, 0, 0, 0, 0, 6), byte(2))
	cfg := &Config{MaxMessageSize: 4096, MaxFragments: 8}
	f.Fuzz(func(t *testing.T, in []byte, size byte) {
		for _, compressed := range []bool{false, true} {
			newState := func() *Deflate {
				if !compressed {
					return nil
				}
				return newDeflate(false, size&1 == 1)
			}
			want := run(cfg, newState(), in)
			equalEvents(t, "bytewise", run(cfg, newState(), bytewise(in)...), want)
			equalEvents(t, "in parts", run(cfg, newState(), slices.Collect(slices.Chunk(in, int(size)+1))...), want)
			equalEvents(t, "stepwise", stepwise(t, cfg, newState(), in), want)
		}
		if len(in) > 1 && in[1]&bitMask == 0 {
			in[1] |= bitMask
			equalEvents(t, "masked", run(cfg, nil, bytewise(in)...), run(cfg, nil, in))
		}
		checkLimits(t, cfg, in)
		fromServer := &Config{MaxMessageSize: 4096, MaxFragments: 8, FromServer: true}
		equalEvents(t, "of a server", run(fromServer, nil, bytewise(in)...), run(fromServer, nil, in))
		checkLimits(t, fromServer, in)
	})
}

// limitHandler checks the promises that Handler makes.
type limitHandler struct {
	t   *testing.T
	cfg *Config
}

func (h limitHandler) OnMessage(op Opcode, payload []byte) {
	if int64(len(payload)) > h.cfg.MaxMessageSize || op != OpText && op != OpBinary || op == OpText && !utf8.Valid(payload) {
		h.t.Errorf("message %d of %d bytes", op, len(payload))
	}
}
func (h limitHandler) OnPing(payload []byte) { h.small(payload) }
func (h limitHandler) OnPong(payload []byte) { h.small(payload) }
func (h limitHandler) OnClose(code int, reason []byte) {
	if h.small(reason); code != CloseNoStatus && !ValidCloseCode(code) || !utf8.Valid(reason) {
		h.t.Errorf("close %d %q", code, reason)
	}
}

func (h limitHandler) small(payload []byte) {
	if len(payload) > maxControlPayload {
		h.t.Errorf("control payload of %d bytes", len(payload))
	}
}

func checkLimits(t *testing.T, cfg *Config, in []byte) {
	var p Parser
	n, err := p.Feed(cfg, newDeflate(false, true), limitHandler{t, cfg}, bytes.Clone(in))
	var ce *CloseError
	if n != len(in) || err != nil && (!errors.As(err, &ce) || !ValidCloseCode(ce.Code)) {
		t.Errorf("consumed %d of %d: %v", n, len(in), err)
	}
	if pinned := p.Partial(); pinned > 2*len(in)+4*(1<<minBufferBits) || p.done && pinned > 0 {
		t.Errorf("%d bytes pinned by %d", pinned, len(in))
	}
	p.Release()
}

// FuzzAccept checks that no header does harm and that every response is good HTTP.
func FuzzAccept(f *testing.F) {
	f.Add("websocket", testWSKey, "13", "chat, other", "permessage-deflate; client_max_window_bits", uint16(0))
	f.Add("h2c", "x", "0xd", "a,,b", `permessage-deflate; server_max_window_bits="1\0"`, uint16(0xabc))
	f.Add("", "", "", "", "x; y=\"", uint16(7))
	f.Fuzz(func(t *testing.T, upgrade, key, version, protocol, extensions string, options uint16) {
		r := &http.Request{Method: http.MethodGet, Header: http.Header{
			"Upgrade": {upgrade}, "Sec-Websocket-Key": {key}, "Sec-Websocket-Version": {version},
		}}
		if protocol != "" {
			r.Header["Sec-Websocket-Protocol"] = []string{protocol}
		}
		if extensions != "" {
			r.Header["Sec-Websocket-Extensions"] = []string{extensions}
		}
		o := &DeflateOptions{ServerContextTakeover: options&1 != 0, ClientContextTakeover: options&2 != 0}
		if bits := int(options >> 2 & 15); bits >= minWindowBits {
			o.ServerMaxWindowBits = bits
		}
		if bits := int(options >> 6 & 15); bits >= minWindowBits {
			o.ClientMaxWindowBits = bits
		}
		var raw []byte
		h, refused := Accept(r, o)
		if refused != nil {
			raw = refused.AppendResponse(nil)
		} else {
			raw = h.AppendResponse(nil, nil)
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
		if err != nil {
			t.Fatalf("%v in %q", err, raw)
		}
		_ = resp.Body.Close()
		if (resp.StatusCode == http.StatusSwitchingProtocols) != (h != nil) {
			t.Errorf("status %d, accepted %v", resp.StatusCode, h != nil)
		}
		if h != nil && h.Deflate != nil {
			checkAnswer(t, o, resp.Header.Get("Sec-WebSocket-Extensions"), h.Deflate)
		}
	})
}

// checkAnswer reads the answer to an offer back and compares it with the state that was set up.
func checkAnswer(t *testing.T, o *DeflateOptions, answer string, d *Deflate) {
	offers, err := parseExtensions(answer)
	if err != nil || len(offers) != 1 {
		t.Fatalf("answer %q: %v", answer, err)
	}
	p, err := readParameters(offers[0].params)
	if err != nil || p.clientBitsAnyway {
		t.Fatalf("answer %q: %v", answer, err)
	}
	if p.serverNoContext != (d.out == nil) || p.clientNoContext != (d.in == nil) || p.serverBits != 0 && p.serverBits != int(d.serverBits) {
		t.Errorf("answer %q does not fit %+v", answer, d)
	}
	if o.ServerMaxWindowBits != 0 && p.serverBits != o.ServerMaxWindowBits || o.ClientMaxWindowBits != 0 && p.clientBits != o.ClientMaxWindowBits {
		t.Errorf("answer %q does not fit %+v", answer, o)
	}
}

// FuzzDeflate sends pairs of messages through both halves with every combination of contexts and windows.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("hello"), []byte("hello hello hello"), byte(0))
	f.Add(bytes.Repeat([]byte("abc"), 3000), []byte{}, byte(0x1f))
	f.Add([]byte(messages()[4]), []byte(messages()[4]), byte(0x13))
	f.Fuzz(func(t *testing.T, first, second []byte, settings byte) {
		context := settings&1 != 0
		sender, receiver := newDeflate(context, false), newDeflate(false, context)
		sender.serverBits = minWindowBits + settings>>1&7
		sender.level = int8(settings >> 4)
		if context {
			sender.out.bits, receiver.in.bits = sender.serverBits, sender.serverBits
		}
		cfg := &Config{MaxMessageSize: int64(max(len(first), len(second), 1)) + 10_000}
		var in []byte
		var want recorder
		for _, m := range [][]byte{first, second, first} {
			in = append(in, frame(finBinary|rsv1, string(sender.AppendDeflated(nil, m)))...)
			want.OnMessage(OpBinary, m)
		}
		equalEvents(t, "round trip", run(cfg, receiver, in), want.events)
	})
}
