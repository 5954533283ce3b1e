package websocket

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"
)

func closePayload(code int, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

// rawHead builds the start of a frame by hand, for lengths that no encoder writes.
func rawHead(b ...byte) []byte { return b }

func TestFeed(t *testing.T) {
	long := strings.Repeat("x", 126)
	limits := &Config{MaxMessageSize: 200, MaxFragments: 4}
	rsvError := []string{"error 1002 reserved bit set"}
	opError := []string{"error 1002 unexpected opcode"}
	controlError := []string{"error 1002 fragmented or overlong control frame"}
	tooBig := []string{"error 1009 message too big"}
	tests := []struct {
		name string
		in   []byte
		want []string
	}{
		{"text", frame(finText, "hello"), []string{`message 1 "hello"`}},
		{"empty text", frame(finText, ""), []string{`message 1 ""`}},
		{"binary", frame(finBinary, "\xff\x00"), []string{`message 2 "\xff\x00"`}},
		{"two", stream(frame(finText, "a"), frame(finBinary, "b")), []string{`message 1 "a"`, `message 2 "b"`}},
		{"zero key", AppendMasked(nil, finText, [4]byte{}, []byte("hello")), []string{`message 1 "hello"`}},
		{"16-bit length", frame(finBinary, long), []string{fmt.Sprintf("message 2 %q", long)}},
		{"16-bit length not minimal", append(rawHead(finText, 0x80|126, 0, 1, 0, 0, 0, 0), 'a'), []string{`message 1 "a"`}},
		{"64-bit length not minimal", append(rawHead(finText, 0x80|127, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0), 'a'), []string{`message 1 "a"`}},
		{"ping", frame(finPing, "p"), []string{`ping "p"`}},
		{"empty ping", frame(finPing, ""), []string{`ping ""`}},
		{"pong", frame(finPong, long[:125]), []string{fmt.Sprintf("pong %q", long[:125])}},
		{"fragments", stream(frame(text, "a"), frame(cont, ""), frame(finCont, "b")), []string{`message 1 "ab"`}},
		{"empty fragments", stream(frame(binary_, ""), frame(finCont, "")), []string{`message 2 ""`}},
		{"control between fragments", stream(frame(text, "a"), frame(finPing, "1"), frame(cont, "b"), frame(finPong, "2"), frame(finCont, "c")), []string{`ping "1"`, `pong "2"`, `message 1 "abc"`}},
		{"message after fragments", stream(frame(text, "a"), frame(finCont, "b"), frame(finBinary, "c")), []string{`message 1 "ab"`, `message 2 "c"`}},
		{"as many fragments as allowed", stream(frame(text, "a"), frame(cont, "b"), frame(cont, "c"), frame(finCont, "d")), []string{`message 1 "abcd"`}},
		{"too many fragments", stream(frame(text, "a"), frame(cont, ""), frame(cont, ""), frame(cont, ""), frame(finCont, "e")), []string{"error 1008 too many fragments"}},
		{"fragment count restarts", stream(frame(text, "a"), frame(cont, ""), frame(finCont, ""), frame(text, "b"), frame(cont, ""), frame(finCont, "")), []string{`message 1 "a"`, `message 1 "b"`}},

		{"rsv1 without extension", rawHead(finText|rsv1, 0x80), rsvError},
		{"rsv2", rawHead(finText|0x20, 0x80), rsvError},
		{"rsv3", rawHead(finText|0x10, 0x80), rsvError},
		{"rsv2 on ping", rawHead(finPing|0x20, 0x80), rsvError},
		{"opcode 3", rawHead(BitFin|3, 0x80), opError},
		{"opcode 7", rawHead(BitFin|7, 0x80), opError},
		{"opcode 11", rawHead(BitFin|11, 0x80), opError},
		{"opcode 15", rawHead(BitFin|15, 0x80), opError},
		{"continuation of nothing", rawHead(finCont, 0x80), opError},
		{"open continuation of nothing", rawHead(cont, 0x80), opError},
		{"continuation after the end", stream(frame(text, ""), frame(finCont, ""), rawHead(finCont, 0x80)), append([]string{`message 1 ""`}, opError...)},
		{"text inside a message", stream(frame(text, "a"), rawHead(finText, 0x80)), opError},
		{"binary inside an empty message", stream(frame(text, ""), rawHead(binary_, 0x80)), opError},
		{"not masked", rawHead(finText, 0), []string{"error 1002 frame not masked"}},
		{"ping not masked", rawHead(finPing, 0), []string{"error 1002 frame not masked"}},
		{"ping of 126", rawHead(finPing, 0x80|126), controlError},
		{"pong of 127", rawHead(finPong, 0x80|127), controlError},
		{"ping without fin", rawHead(byte(OpPing), 0x80), controlError},
		{"close without fin", rawHead(byte(OpClose), 0x80), controlError},
		{"close of 1", rawHead(finClose, 0x81), controlError},

		{"longer than the limit", rawHead(finText, 0x80|126, 0, 201), tooBig},
		{"as long as the limit", frame(finBinary, strings.Repeat("y", 200)), []string{fmt.Sprintf("message 2 %q", strings.Repeat("y", 200))}},
		{"fragments longer than the limit", stream(frame(text, strings.Repeat("z", 100)), rawHead(finCont, 0x80|101)), tooBig},
		{"64-bit length", rawHead(finBinary, 0x80|127, 0, 0, 0, 1, 0, 0, 0, 0), tooBig},
		{"64-bit length with the top bit", rawHead(finBinary, 0x80|127, 0x80, 0, 0, 0, 0, 0, 0, 5), tooBig},
		{"64-bit length of all ones", rawHead(finBinary, 0x80|127, 255, 255, 255, 255, 255, 255, 255, 255), tooBig},
		{"all ones after a fragment", stream(frame(text, "abc"), rawHead(finCont, 0x80|127, 255, 255, 255, 255, 255, 255, 255, 255)), tooBig},

		{"close", frame(finClose, ""), []string{`close 1005 ""`}},
		{"close with a reason", frame(finClose, closePayload(1000, "bye")), []string{`close 1000 "bye"`}},
		{"close in a message", stream(frame(text, "a"), frame(finClose, "")), []string{`close 1005 ""`}},
		{"data after close", stream(frame(finClose, ""), frame(finText, "x"), rawHead(0xff, 0xff)), []string{`close 1005 ""`}},
		{"close reason not UTF-8", frame(finClose, closePayload(1000, "\xc3")), []string{"error 1007 text is not UTF-8"}},
		{"bad code and reason", frame(finClose, closePayload(1005, "\xc3")), []string{"error 1002 close code not allowed on the wire"}},

		{"bad text", frame(finText, "a\xff"), []string{"error 1007 text is not UTF-8"}},
		{"bad text ends at the end", stream(frame(text, "\xff"), frame(finPing, ""), frame(finCont, "")), []string{`ping ""`, "error 1007 text is not UTF-8"}},
		{"violation before the end of a bad text", stream(frame(text, "\xff"), rawHead(finText, 0x80)), opError},
		{"nothing after an error", stream(frame(finText, "\xff"), frame(finText, "x")), []string{"error 1007 text is not UTF-8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			equalEvents(t, "whole", run(limits, nil, tt.in), tt.want)
			equalEvents(t, "bytewise", run(limits, nil, bytewise(tt.in)...), tt.want)
			equalEvents(t, "stepwise", stepwise(t, limits, nil, tt.in), tt.want)
		})
	}
}

func TestCloseCodes(t *testing.T) {
	for code := range 1 << 16 {
		valid := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
		want := "error 1002 close code not allowed on the wire"
		if valid {
			want = fmt.Sprintf(`close %d ""`, code)
		}
		if got := run(nil, nil, frame(finClose, closePayload(code, ""))); !slices.Equal(got, []string{want}) {
			t.Fatalf("code %d: got %q, want %q", code, got, want)
		}
	}
}

// TestEveryCut feeds streams in two parts, cut at each place, and in parts of each small size.
func TestEveryCut(t *testing.T) {
	big := strings.Repeat("0123456789", 7000)
	streams := map[string][]byte{
		"small": stream(frame(finText, "héllo"), frame(finPing, "p"), frame(text, "a"), frame(finPong, ""), frame(cont, "€"),
			frame(finPing, strings.Repeat("q", 125)), frame(finCont, "😀"), frame(finBinary, ""), frame(finClose, closePayload(1001, "bye"))),
		"error": stream(frame(finBinary, "abc"), frame(text, "a"), frame(finCont, "\xe2\x82"), frame(finText, "never")),
		"compressed": stream(frame(finText|rsv1, deflated("hello hello hello hello")), frame(binary_|rsv1, deflated("split message")[:4]),
			frame(finPing, "p"), frame(finCont, deflated("split message")[4:]), frame(finText, "plain")),
	}
	d := newDeflate(false, false)
	for name, s := range streams {
		want := run(nil, d, s)
		equalEvents(t, name+" stepwise", stepwise(t, nil, d, s), want)
		for cut := range len(s) {
			equalEvents(t, fmt.Sprintf("%s cut at %d", name, cut), run(nil, d, s[:cut], s[cut:]), want)
		}
		for size := 1; size < 20; size++ {
			equalEvents(t, fmt.Sprintf("%s in parts of %d", name, size), run(nil, d, slices.Collect(slices.Chunk(s, size))...), want)
		}
	}
	long := stream(frame(finText, big), frame(text, big[:3]), frame(finCont, big))
	want := run(nil, nil, long)
	for size := 500; size < 80_000; size = size*3/2 + 1 {
		equalEvents(t, fmt.Sprintf("long in parts of %d", size), run(nil, nil, slices.Collect(slices.Chunk(long, size))...), want)
	}
}

// TestUTF8 cuts texts into two fragments at each place; the outcome is that of the whole.
func TestUTF8(t *testing.T) {
	texts := []string{
		"κόσμε", "\u0000\u007f\u0080\u07ff\u0800\uffff", "\U00010000\U0010ffff", "\ud7ff\ue000", "\ufdd0\ufffe",
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", // overlong and long forms
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xf4\x90\x80\x80", "\xf7\xbf\xbf\xbf", // surrogates, beyond the range
		"\x80", "a\xbf", "\xc2", "\xe1\x80", "\xf1\x80\x80", "\xc2a", "\xe1\x80a", "\xfe", "\xff", "abc\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80edited",
	}
	for _, s := range texts {
		want := []string{"error 1007 text is not UTF-8"}
		if utf8.ValidString(s) {
			want = []string{fmt.Sprintf("message 1 %q", s)}
		}
		for cut := range len(s) + 1 {
			in := stream(frame(text, s[:cut]), frame(finCont, s[cut:]))
			equalEvents(t, fmt.Sprintf("%q cut at %d", s, cut), run(nil, nil, in), want)
			equalEvents(t, fmt.Sprintf("%q cut at %d, bytewise", s, cut), run(nil, nil, bytewise(in)...), want)
		}
	}
}

func TestManyFragments(t *testing.T) {
	for _, extra := range []int{0, 1} {
		in := frame(text, "")
		for range defaultMaxFragments - 2 + extra {
			in = append(in, frame(cont, "x")...)
		}
		in = append(in, frame(finCont, "")...)
		got := run(nil, nil, in)
		want := fmt.Sprintf("message 1 %q", strings.Repeat("x", defaultMaxFragments-2))
		if extra > 0 {
			want = "error 1008 too many fragments"
		}
		equalEvents(t, fmt.Sprintf("%d more than allowed", extra), got, []string{want})
	}
}

// TestMemory checks what a connection pins: nothing between messages, and never much more than what has arrived,
// whatever the header announces.
func TestMemory(t *testing.T) {
	if size := unsafe.Sizeof(Parser{}); size > 64 {
		t.Errorf("an idle parser has %d bytes, want at most 64", size)
	}
	var p Parser
	var r recorder
	feed := func(b []byte) {
		t.Helper()
		if _, err := p.Feed(nil, nil, &r, b); err != nil {
			t.Fatal(err)
		}
	}
	whole := frame(finText, strings.Repeat("x", 100_000))
	feed(whole[:20])
	if n := p.Partial(); n == 0 || n > 256 {
		t.Errorf("%d bytes pinned after 20 bytes of a long frame, want at most 256", n)
	}
	feed(whole[20:50_020])
	if n := p.Partial(); n < 50_000 || n > 131_072 {
		t.Errorf("%d bytes pinned after 50,020 bytes, want at most 131,072", n)
	}
	feed(whole[50_020:])
	if n := p.Partial(); n != 0 {
		t.Errorf("%d bytes pinned after the message, want none", n)
	}
	feed(frame(text, "a"))
	feed(frame(finPing, "pp")[:7])
	if n := p.Partial(); n == 0 || n > 256 {
		t.Errorf("%d bytes pinned by a fragment and a ping, want at most 256", n)
	}
	p.Release()
	if n := p.Partial(); n != 0 {
		t.Errorf("%d bytes pinned after Release", n)
	}
	before := len(r.events)
	feed(frame(finText, "ignored"))
	if len(r.events) != before {
		t.Error("a released parser called its handler")
	}
}

// frugal lets the parser have so much memory and no more.
type frugal struct {
	recorder
	left, asked int
}

func (f *frugal) Reserve(n int) bool {
	f.asked += n
	f.left -= n
	return f.left >= 0
}

// TestReserve checks that memory for unfinished messages is asked for before it is held, all of it.
func TestReserve(t *testing.T) {
	whole := frame(finText, strings.Repeat("x", 3_000_000))
	cfg := &Config{MaxMessageSize: 4_000_000}
	var p Parser
	h := &frugal{left: math.MaxInt}
	for len(whole) > 1 {
		n := min(len(whole)-1, 4096)
		if _, err := p.Feed(cfg, nil, h, whole[:n]); err != nil {
			t.Fatal(err)
		}
		whole = whole[n:]
		if h.asked != p.Partial() {
			t.Fatalf("asked for %d, holds %d", h.asked, p.Partial())
		}
	}
	p.Release()

	p, h = Parser{}, &frugal{left: 256}
	if _, err := p.Feed(nil, nil, h, frame(text, strings.Repeat("x", 200))); err != nil {
		t.Fatal(err)
	}
	_, err := p.Feed(nil, nil, h, frame(finText&^byte(OpText), strings.Repeat("x", 100)))
	var refused *CloseError
	if !errors.As(err, &refused) || refused.Code != CloseTryAgainLater || !errors.Is(err, ErrNoRoom) {
		t.Errorf("got %v", err)
	}
	if p.Partial() != 0 || len(h.events) != 0 {
		t.Errorf("%d bytes held, events %v", p.Partial(), h.events)
	}
	// A message in one piece needs no memory.
	p, h = Parser{}, &frugal{}
	if _, err := p.Feed(nil, nil, h, frame(finText, strings.Repeat("x", 1000))); err != nil || len(h.events) != 1 {
		t.Errorf("%v, events %v", err, h.events)
	}
}

// TestNoCopy checks that a whole frame is delivered from the caller's own bytes.
func TestNoCopy(t *testing.T) {
	data := frame(finText, strings.Repeat("x", 5000))
	var h addressHandler
	var p Parser
	if _, err := p.Feed(nil, nil, &h, data); err != nil {
		t.Fatal(err)
	}
	if h.at != &data[len(data)-5000] {
		t.Error("the payload was copied")
	}
}

type addressHandler struct {
	recorder
	at *byte
}

func (h *addressHandler) OnMessage(_ Opcode, payload []byte) { h.at = &payload[0] }

// discard takes events without keeping them.
type discard struct{ bytes int }

func (d *discard) OnMessage(_ Opcode, payload []byte) { d.bytes += len(payload) }
func (d *discard) OnPing(payload []byte)              { d.bytes += len(payload) }
func (d *discard) OnPong(payload []byte)              { d.bytes += len(payload) }
func (d *discard) OnClose(int, []byte)                {}

func TestAllocations(t *testing.T) {
	streams := map[string][]byte{
		"small text": frame(finText, "42[\"message\",\"hello\"]"),
		"ping":       frame(finPing, "ping"),
		"pong":       frame(finPong, ""),
		"binary":     frame(finBinary, strings.Repeat("b", 3000)),
	}
	for name, s := range streams {
		var p Parser
		h := &discard{}
		data := make([]byte, len(s))
		allocs := testing.AllocsPerRun(200, func() {
			copy(data, s)
			if _, err := p.Feed(nil, nil, h, data); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %.1f allocations, want none", name, allocs)
		}
	}
}

// TestFeedFromServer reads what AppendFrame wrote, as a client does.
func TestFeedFromServer(t *testing.T) {
	cfg := &Config{FromServer: true}
	long := strings.Repeat("x", 70_000)
	in := stream(AppendFrame(nil, OpText, false, []byte("hello")), AppendFrame(nil, OpPing, false, nil),
		AppendFrame(nil, OpBinary, false, []byte(long)), AppendFrame(nil, OpBinary, false, []byte(long[:200])), AppendClose(nil, 1000, "bye"))
	want := []string{`message 1 "hello"`, `ping ""`, fmt.Sprintf("message 2 %q", long), fmt.Sprintf("message 2 %q", long[:200]), `close 1000 "bye"`}
	equalEvents(t, "at once", run(cfg, nil, in), want)
	equalEvents(t, "bytewise", run(cfg, nil, bytewise(in)...), want)
	equalEvents(t, "masked", run(cfg, nil, frame(finText, "hello")), []string{"error 1002 frame of a server masked"})
}
