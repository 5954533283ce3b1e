package natsadapter

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestRefusedOf(t *testing.T) {
	for text, want := range map[string][2]string{
		`nats: permissions violation: Permissions Violation for Publish to "a.b"`:                      {"publish", "a.b"},
		`nats: permissions violation: Permissions Violation for Publish with Reply of "a.b"`:           {"publish", "a.b"},
		`nats: permissions violation: Permissions Violation for Subscription to "a.>"`:                 {"subscribe", "a.>"},
		`nats: permissions violation: Permissions Violation for Subscription to "a.>" (sid "3")`:       {"subscribe", "a.>"},
		`nats: permissions violation: Permissions Violation for Subscription to "a.b" using queue "q"`: {"subscribe", "a.b"},
		`nats: permissions violation`: {}, `Publish to "a`: {}, `Publish to ""`: {}, `To "a"`: {}, ``: {},
	} {
		verb, subject, ok := refusedOf(text)
		if verb != want[0] || subject != want[1] || ok != (verb != "") {
			t.Errorf("%s: %q, %q, %v", text, verb, subject, ok)
		}
	}
}

func FuzzRefusedOf(f *testing.F) {
	f.Add(`Permissions Violation for Publish to "a.b"`)
	f.Fuzz(func(t *testing.T, text string) {
		verb, subject, ok := refusedOf(text)
		if ok != (verb != "" && subject != "") || ok && !strings.Contains(text, `"`+subject+`"`) {
			t.Fatalf("%q: %q, %q, %v", text, verb, subject, ok)
		}
	})
}

// FuzzSmall has what other nodes ask and answer, and what NATS says of messages that nobody hears, in any form.
func FuzzSmall(f *testing.F) {
	f.Add("sockeye.replies.abc.7", "?abc 7", "503")
	f.Add("x", "!abc 7", "")
	f.Fuzz(func(t *testing.T, subject, body, status string) {
		h := newHub("abc", Options{Logger: quiet(), QueueLimit: 1 << 20}.withDefaults(), new(counters))
		defer h.cancel()
		s := newSession(h)
		s.replies, h.open = 7, s
		m := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{"Status": {status}}}
		h.takeSync(m)
		h.takeReply(m)
		if n, bytes := h.queue.figures(); n > 1 || bytes > 4*maxSync {
			t.Fatalf("%d messages of %d bytes answer %q", n, bytes, body)
		}
		for n := range s.unheard {
			if n > 7 {
				t.Fatalf("%q: nobody was told of message %d", subject, n)
			}
		}
	})
}
