package websocket

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendFrame(t *testing.T) {
	tests := []struct {
		name       string
		op         Opcode
		compressed bool
		length     int
		want       string // header in hex
	}{
		{"empty", OpText, false, 0, "8100"},
		{"short", OpBinary, false, 125, "827d"},
		{"compressed", OpText, true, 5, "c105"},
		{"126", OpText, false, 126, "817e007e"},
		{"65535", OpText, false, 65535, "817effff"},
		{"65536", OpBinary, true, 65536, "c27f0000000000010000"},
		{"pong", OpPong, false, 3, "8a03"},
	}
	for _, tt := range tests {
		payload := []byte(strings.Repeat("x", tt.length))
		got := AppendFrame([]byte("before"), tt.op, tt.compressed, payload)
		want, _ := hex.DecodeString(tt.want)
		if want = append(append([]byte("before"), want...), payload...); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x..., want %x...", tt.name, got[:min(20, len(got))], want[:min(20, len(want))])
		}
	}
}

func TestAppendClose(t *testing.T) {
	tests := []struct {
		code   int
		reason string
		want   string
	}{
		{0, "", "\x88\x00"},
		{0, "ignored", "\x88\x00"},
		{1000, "", "\x88\x02\x03\xe8"},
		{1009, "big", "\x88\x05\x03\xf1big"},
		{1000, strings.Repeat("a", 130), "\x88\x7d\x03\xe8" + strings.Repeat("a", 123)},
		{1000, strings.Repeat("€", 60), "\x88\x7d\x03\xe8" + strings.Repeat("€", 41)},
		{1000, "a" + strings.Repeat("€", 60), "\x88\x7b\x03\xe8a" + strings.Repeat("€", 40)},
	}
	for _, tt := range tests {
		got := string(AppendClose(nil, tt.code, tt.reason))
		if got != tt.want || !utf8.ValidString(got[min(4, len(got)):]) {
			t.Errorf("code %d, reason %.10q: got %q, want %q", tt.code, tt.reason, got, tt.want)
		}
	}
}

// TestAppendMasked uses the example of RFC 6455 section 5.7.
func TestAppendMasked(t *testing.T) {
	got := AppendMasked(nil, finText, testKey, []byte("Hello"))
	if want := "818537fa213d7f9f4d5158"; hex.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}
