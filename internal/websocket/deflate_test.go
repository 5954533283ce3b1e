package websocket

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
)

func TestInflate(t *testing.T) {
	limits := &Config{MaxMessageSize: 2000}
	bomb := deflated(strings.Repeat("x", 2001))
	corrupt := []string{"error 1007 corrupt deflate stream"}
	tooBig := []string{"error 1009 message too big"}
	tests := []struct {
		name string
		in   []byte
		want []string
	}{
		{"text", frame(finText|rsv1, deflated("hello")), []string{`message 1 "hello"`}},
		{"empty", frame(finText|rsv1, deflated("")), []string{`message 1 ""`}},
		{"no bytes at all", frame(finBinary|rsv1, ""), []string{`message 2 ""`}},
		{"not compressed", frame(finText, "plain"), []string{`message 1 "plain"`}},
		{"stored block", frame(finText|rsv1, "\x00\x05\x00\xfa\xffHello\x00"), []string{`message 1 "Hello"`}},
		{"final block", frame(finText|rsv1, finalBlock("Hello")), []string{`message 1 "Hello"`}},
		{"after a final block", frame(finText|rsv1, finalBlock("Hello")+deflated("x")), []string{`message 1 "Hello"`}},
		{"fragments", stream(frame(text|rsv1, deflated("Hello")[:3]), frame(finPing, "p"), frame(finCont, deflated("Hello")[3:])), []string{`ping "p"`, `message 1 "Hello"`}},
		{"empty fragments", stream(frame(text|rsv1, ""), frame(cont, deflated("Hello")), frame(finCont, "")), []string{`message 1 "Hello"`}},
		{"cut off", frame(finText|rsv1, "\x00\x0a\x00\xf5\xffABC"), []string{`error 1007 text is not UTF-8`}},
		{"cut off, binary", frame(finBinary|rsv1, "\x00\x0a\x00\xf5\xffABC"), []string{`message 2 "ABC\x00\x00\xff\xff"`}},
		{"not UTF-8", frame(finText|rsv1, deflated("a\xff")), []string{"error 1007 text is not UTF-8"}},
		{"as long as the limit", frame(finBinary|rsv1, deflated(strings.Repeat("x", 2000))), []string{fmt.Sprintf("message 2 %q", strings.Repeat("x", 2000))}},
		{"bomb", frame(finBinary|rsv1, bomb), tooBig},
		{"bomb in an open fragment", frame(binary_|rsv1, bomb), tooBig},
		{"compressed form too long", rawHead(finBinary|rsv1, 0x80|126, 0x07, 0xd1), tooBig},
		{"reserved block type", frame(finText|rsv1, "\x06"), corrupt},
		{"reserved block type in an open fragment", stream(frame(text|rsv1, "\x06"), frame(finPing, "")), corrupt},
		{"stored lengths", frame(finText|rsv1, "\x00\x05\x00\x05\x00Hello"), corrupt},
		{"distance too far", frame(finText|rsv1, "\x4b\x04\x62\x00"), corrupt},
		{"rsv1 on a continuation", stream(frame(text|rsv1, deflated("Hello")), rawHead(finCont|rsv1, 0x80)), []string{"error 1002 reserved bit set"}},
		{"rsv1 on a ping", rawHead(finPing|rsv1, 0x80), []string{"error 1002 reserved bit set"}},
		{"rsv1 on a close", rawHead(finClose|rsv1, 0x80), []string{"error 1002 reserved bit set"}},
		{"the next message stands alone", stream(frame(finText|rsv1, deflated("Hello")), frame(finText|rsv1, deflated("Hello"))), []string{`message 1 "Hello"`, `message 1 "Hello"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			equalEvents(t, "whole", run(limits, newDeflate(false, false), tt.in), tt.want)
			equalEvents(t, "bytewise", run(limits, newDeflate(false, false), bytewise(tt.in)...), tt.want)
			equalEvents(t, "stepwise", stepwise(t, limits, newDeflate(false, false), tt.in), tt.want)
		})
	}
}

// TestInflateForgetsTables sends a block whose tables are empty behind one whose tables are not: the decompressor, which
// has been used for other messages, must not decode it with what it remembers.
func TestInflateForgetsTables(t *testing.T) {
	var varied strings.Builder
	for r := rand.New(rand.NewPCG(1, 2)); varied.Len() < 4000; {
		varied.WriteByte(byte(min(r.IntN(16), r.IntN(16))))
	}
	dynamic := string(AppendDeflated(nil, []byte(varied.String()), flate.HuffmanOnly))
	if dynamic[0]&6 != 4 {
		t.Fatal("the first message has no tables of its own")
	}
	corrupt := "error 1007 corrupt deflate stream"
	for fill := range 256 {
		// Not final, dynamic, four code lengths of 0; then any bits. The message is not finished.
		empty := "\x04\x00\x00\x00" + strings.Repeat(string([]byte{byte(fill)}), 12)
		in := stream(frame(finBinary|rsv1, dynamic), frame(binary_|rsv1, empty))
		if got := run(&Config{}, newDeflate(false, false), in); len(got) != 2 || got[1] != corrupt {
			t.Fatalf("filled with %#x: %.80q", fill, got[1:])
		}
	}
}

// TestLookAheadBounded makes sure that a message of very many fragments, each of which could be inflated from the
// beginning, is not.
func TestLookAheadBounded(t *testing.T) {
	payload := deflated(strings.Repeat("x", 900_000))
	in := frame(binary_|rsv1, payload)
	for range 10_000 {
		in = append(in, frame(cont, "")...)
	}
	var p Parser
	h := &discard{}
	if _, err := p.Feed(nil, newDeflate(false, false), h, in); err != nil {
		t.Fatal(err)
	}
	if limit := int64(4*defaultMaxMessageSize + 2*900_000); p.inflated > limit {
		t.Errorf("looked ahead into %d bytes, want at most %d", p.inflated, limit)
	}
	if _, err := p.Feed(nil, newDeflate(false, false), h, frame(finCont, "")); err != nil || h.bytes != 900_000 {
		t.Errorf("got %d bytes and %v, want 900000 and no error", h.bytes, err)
	}
}

func messages() []string {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 40_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	return []string{
		"", "a", strings.Repeat(`{"user":"alice","text":"hello"}`, 50), string(noise[:300]), string(noise),
		strings.Repeat("long ", 20_000), string(noise[:300]), strings.Repeat(`{"user":"alice","text":"hello"}`, 50),
		string(noise[5000:38_000]), "a", "",
	}
}

// peerInflate is a client's half: it keeps the whole history when the server keeps its context.
type peerInflate struct {
	context bool
	dict    []byte
}

func (c *peerInflate) inflate(t *testing.T, compressed []byte) string {
	t.Helper()
	var out bytes.Buffer
	r := flate.NewReaderDict(bytes.NewReader(append(bytes.Clone(compressed), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)), c.dict)
	if _, err := out.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	if c.context {
		c.dict = append(c.dict, out.Bytes()...)
	}
	return out.String()
}

func TestServerContextTakeover(t *testing.T) {
	for bits := uint8(minWindowBits); bits <= maxWindowBits; bits++ {
		for _, context := range []bool{true, false} {
			d := newDeflate(context, false)
			d.serverBits = bits
			if d.out != nil {
				d.out.bits = bits
			}
			peer := peerInflate{context: context}
			for i, m := range messages() {
				before := []byte("before")
				got := d.AppendDeflated(before, []byte(m))
				if !bytes.HasPrefix(got, before) {
					t.Fatal("AppendDeflated lost what was there")
				}
				if out := peer.inflate(t, got[len(before):]); out != m {
					t.Fatalf("%d bits, context %v, message %d: got %.40q, want %.40q", bits, context, i, out, m)
				}
				if d.out != nil && cap(d.out.b) > 1<<bits {
					t.Fatalf("window of %d bytes for %d bits", cap(d.out.b), bits)
				}
			}
		}
	}
}

// TestContextHelps shows that the window is really used, both ways.
func TestContextHelps(t *testing.T) {
	d := newDeflate(true, true)
	message := []byte(messages()[3]) // 300 bytes that do not compress
	first, second := d.AppendDeflated(nil, message), d.AppendDeflated(nil, message)
	if len(first) < 300 || len(second) > 50 {
		t.Errorf("%d and %d bytes for the same message twice", len(first), len(second))
	}
	want := fmt.Sprintf("message 2 %q", message)
	in := stream(frame(finBinary|rsv1, string(first)), frame(finBinary|rsv1, string(second)))
	equalEvents(t, "client context", run(nil, d, in), []string{want, want})
	equalEvents(t, "no client context", run(nil, newDeflate(true, false), in), []string{want, "error 1007 corrupt deflate stream"})
}

// TestWindowKept checks that no match reaches beyond the negotiated window: the same noise at a larger distance does not
// compress.
func TestWindowKept(t *testing.T) {
	noise := messages()[4]
	payload := []byte(noise[:300] + noise[1000:2000] + noise[:300])
	for _, tt := range []struct {
		bits uint8
		far  bool
	}{{10, true}, {11, false}} {
		d := &Deflate{serverBits: tt.bits}
		if got := len(d.AppendDeflated(nil, payload)) > 1550; got != tt.far {
			t.Errorf("%d bits: compressed to %d bytes", tt.bits, len(d.AppendDeflated(nil, payload)))
		}
	}
}

// TestFinalBlockEndsContext: a final block ends the client's context, as ws starts a new stream after it.
func TestFinalBlockEndsContext(t *testing.T) {
	noise := messages()[3]
	server := newDeflate(true, false)
	_ = server.AppendDeflated(nil, []byte(noise))
	withContext := string(server.AppendDeflated(nil, []byte(noise)))
	in := stream(frame(finBinary|rsv1, finalBlock(noise)), frame(finBinary|rsv1, withContext))
	equalEvents(t, "context", run(nil, newDeflate(false, true), in),
		[]string{fmt.Sprintf("message 2 %q", noise), "error 1007 corrupt deflate stream"})
}

func TestShares(t *testing.T) {
	small := newDeflate(false, false)
	small.serverBits = 9
	tests := []struct {
		name       string
		d          *Deflate
		n          int
		compresses bool
		shares     bool
	}{
		{"not negotiated", nil, 5000, false, false},
		{"below the threshold", newDeflate(false, false), 1023, false, true},
		{"at the threshold", newDeflate(false, false), 1024, true, true},
		{"context ignores the threshold", newDeflate(true, false), 1, true, false},
		{"fits the small window", small, 512, false, true},
		{"larger than the window", small, 2000, true, false},
	}
	for _, tt := range tests {
		if got := tt.d.Compresses(tt.n); got != tt.compresses {
			t.Errorf("%s: Compresses is %v", tt.name, got)
		}
		if got := tt.d.Shares(tt.n); got != tt.shares {
			t.Errorf("%s: Shares is %v", tt.name, got)
		}
	}
}

func TestLevels(t *testing.T) {
	for _, level := range []int{-100, minLevel, -1, 0, 1, 5, 9, 100} {
		for i, m := range messages() {
			peer := peerInflate{}
			if out := peer.inflate(t, AppendDeflated(nil, []byte(m), level)); out != m {
				t.Errorf("level %d, message %d: got %.40q, want %.40q", level, i, out, m)
			}
		}
	}
}
