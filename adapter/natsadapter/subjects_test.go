package natsadapter

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/natstest"
)

// names are those that subjects may stumble over.
var names = []string{
	"", " ", ".", "..", "*", ">", "a.b", "a b", "a*", "a>", "%", "%25", "%2E", "%%", "\x00", "\r\n", "PUB x 1\r\nx", "ünï 🐟", "\xff", `"`, `\`, "'",
	"$SYS", "_INBOX", "all", "node", strings.Repeat("x", maxToken), strings.Repeat("x", maxToken+1), strings.Repeat(".", maxToken/3),
	strings.Repeat(".", maxToken/3+1), strings.Repeat("é", 100_000), strings.Repeat("x", 100_000),
}

func TestToken(t *testing.T) {
	for text, want := range map[string]string{
		"": "%", "/": "/", "/chat": "/chat", "room:1": "room:1", "user@example.com": "user@example%2Ecom", "a b": "a%20b", "*": "%2A", ">": "%3E", "50%": "50%25",
		"é": "%C3%A9", strings.Repeat("x", 128): strings.Repeat("x", 128),
	} {
		if got := token(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	seen := make(map[string]string)
	for _, name := range names {
		checkToken(t, name)
		if other, twice := seen[token(name)]; twice {
			t.Errorf("%.50q and %.50q have one token", name, other)
		}
		seen[token(name)] = name
	}
}

// checkToken checks that a token is one, and that its text can be read from it unless it is a hash.
func checkToken(t *testing.T, text string) {
	t.Helper()
	got := token(text)
	if got == "" || len(got) > maxToken || strings.ContainsAny(got, " .*>\"'\\\t\r\n\x00") {
		t.Fatalf("%.50q: %q is no token", text, got)
	}
	for i := range len(got) {
		if got[i] <= ' ' || got[i] >= 0x7f {
			t.Fatalf("%.50q: %q is no token", text, got)
		}
	}
	if strings.HasPrefix(got, "%%") {
		if len(text) <= maxToken/3 {
			t.Fatalf("%q: %q is a hash", text, got)
		}
		return
	}
	if back := unescape(t, got); back != text {
		t.Fatalf("%.50q: %q says %q", text, got, back)
	}
}

func unescape(t *testing.T, token string) string {
	t.Helper()
	if token == "%" {
		return ""
	}
	var b []byte
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b = append(b, token[i])
			continue
		}
		high, low := strings.IndexByte(hexDigit, token[i+1]), strings.IndexByte(hexDigit, token[i+2])
		if high < 0 || low < 0 {
			t.Fatalf("%q", token)
		}
		b = append(b, byte(high<<4|low))
		i += 2
	}
	return string(b)
}

func FuzzToken(f *testing.F) {
	for _, name := range names {
		f.Add(name, name+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		checkToken(t, a)
		checkToken(t, b)
		if a != b && token(a) == token(b) {
			t.Fatalf("%q and %q have one token", a, b)
		}
	})
}

// FuzzSpeaker reads subjects of any form.
func FuzzSpeaker(f *testing.F) {
	s := subjects{"sockeye", "abc"}
	f.Add(s.everybody("NSERVER"))
	f.Add("sockeye.members.all.")
	f.Fuzz(func(t *testing.T, subject string) {
		id, server, ok := s.speaker(subject)
		if ok && s.prefix+".members.all."+string(id)+"."+server != subject {
			t.Fatalf("%q: %q, %q", subject, id, server)
		}
	})
}

func TestPrefix(t *testing.T) {
	for prefix, good := range map[string]bool{
		"sockeye": true, "a.b-c_D.9": true, "a..b": false, ".a": false, "a.": false, "a b": false, "a.*": false, ">": false, "é": false,
		strings.Repeat("x", maxPrefix+1): false,
	} {
		_, err := New(&Options{Prefix: prefix, Logger: quiet()}).Open(adapter.Node{ID: "bad id, so that nothing begins", Name: "n"}, nil)
		if err == nil || strings.Contains(err.Error(), "prefix") == good {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"nats://user:secret@a:4222": "node id", "a:4222": "does not begin with", "redis://user:secret@a": "does not begin with", "nats://user:secret@[": "read the address",
	} {
		_, err := New(&Options{Servers: []string{address}, Logger: quiet()}).Open(adapter.Node{ID: "bad id", Name: "n"}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestNames has namespaces and rooms with all kinds of names, each of which hears what is for it and nothing else.
func TestNames(t *testing.T) {
	server := natstest.Single(t)
	a, b := join(t, of(t, server.URL), "/"), join(t, of(t, server.URL), "/")
	// The wire form of messages is JSON, which has no place for other text.
	names := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !utf8.ValidString(name) })
	for _, name := range names {
		if len(name) > 1000 {
			continue // a namespace's name is in each message
		}
		from, to := also(t, a, "/"+name), also(t, b, "/"+name)
		if err := to.builder.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		to.connect(t, "s", names...)
		for _, room := range names {
			send(t, from, "to a room", room)
		}
		send(t, from, "to another room", "x"+name+"x")
		send(t, from, "to all")
		want := append(slices.Repeat([]string{textOf(chat(t, "/"+name, "to a room"))}, len(names)), textOf(chat(t, "/"+name, "to all")))
		if got := to.hears(t, len(want)); !slices.Equal(got, want) {
			t.Fatalf("%q heard %d packets, not %d", name, len(got), len(want))
		}
	}
	if n := len(b.got()); n > 0 {
		t.Errorf("another namespace heard %d packets", n)
	}
	if s := a.builder.Stats(); s.BadFrames > 0 || len(s.Failed) > 0 || len(s.Dropped) > 0 {
		t.Errorf("%+v", s)
	}
}

// TestConnectionOf: the number of a connection is read from our own subjects alone.
func TestConnectionOf(t *testing.T) {
	s := subjects{"app", "id"}
	for reply, want := range map[string]int{
		"": 1, "_INBOX.x.7": 1, "other.connections.id.7": 1, "app.connections.id": 1, "app.connections.id.x": 1, "app.connections.id.-3": 1,
		s.connection(7): 7, s.reply("7-12"): 7, s.reply("1-12"): 1,
	} {
		if got := s.connectionOf(reply); got != want {
			t.Errorf("%q: %d, want %d", reply, got, want)
		}
	}
}
