package engine

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMaxPollPackets: a poll takes so many packets, an event with its attachments stays together, and order and end are as ever.
func TestMaxPollPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{MaxPollPackets: 3})
		sid, target := g.openPoll()
		s := g.recorder(sid).s
		send := func(text string, attachments int) {
			t.Helper()
			var data [][]byte
			for i := range attachments {
				data = append(data, []byte{byte(i)})
			}
			if err := s.Send(NewMessage([]byte(text), data...)); err != nil {
				t.Fatal(err)
			}
		}
		polls := func(want ...string) {
			t.Helper()
			for _, w := range want {
				if a := g.must("GET", target, ""); a.body != strings.ReplaceAll(w, " ", "\x1e") {
					t.Errorf("poll: %q, want %q", a.body, w)
				}
			}
		}
		for _, text := range strings.Fields("a b c d e f g") {
			send(text, 0)
		}
		polls("4a 4b 4c", "4d 4e 4f", "4g")
		send("a", 1)
		send("b", 1) // does not fit
		send("c", 4) // fits nowhere
		send("d", 0)
		polls("4a bAA==", "4b bAA==", "4c bAA== bAQ== bAg== bAw==", "4d")
		synctest.Wait() // an answer is charged until its handler has returned
		if n := s.Queued(); n != 0 {
			t.Errorf("%d bytes are still charged", n)
		}
		for _, text := range strings.Fields("a b c d") {
			send(text, 0)
		}
		s.SendAway()
		polls("4a 4b 4c", "4d")
		g.expectEnd(sid, ReasonForcedClose, nil)
		if n := g.srv.queued.bytes.Load(); n != 0 {
			t.Errorf("%d bytes of the budget are still taken", n)
		}
		if n := g.srv.Stats().Limits["poll_packets"]; n != 6 {
			t.Errorf("%d answers left packets to the next poll, want 6", n)
		}
	})
}

// TestCutMessages takes lists of all lengths apart in all steps.
func TestCutMessages(t *testing.T) {
	for n := range 6 {
		for most := range 7 {
			var l messages
			var all, got []*Message
			for range n {
				m := NewMessage(nil)
				l.add(m)
				all = append(all, m)
			}
			for rounds := 0; !l.empty(); rounds++ {
				head := l.cut(most)
				size := 0
				if head.first != nil {
					got = append(append(got, head.first), head.more()...)
					size = 1 + len(head.more())
				}
				if size == 0 || most > 0 && size > most || most == 0 && size < n {
					t.Fatalf("%d of %d at most: %d were taken", n, most, size)
				}
				if !l.empty() && l.first == nil {
					t.Fatal("a list that is not empty has no first message")
				}
			}
			if len(got) != len(all) {
				t.Fatalf("%d of %d", len(got), len(all))
			}
			for i := range all {
				if got[i] != all[i] {
					t.Fatalf("%d, %d at most: out of order", n, most)
				}
			}
		}
	}
}

// TestWarnRevision: the log says what a client of another revision needs, once a minute, and nothing of requests without one.
func TestWarnRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		g := newRig(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ask := func(query string) {
			t.Helper()
			if a := g.must("GET", "/engine.io/?transport=polling"+query, "", "User-Agent", "old "+strings.Repeat("x", 200)); a.status != 400 {
				t.Errorf("%s: status %d", query, a.status)
			}
		}
		ask("")
		if log.Len() > 0 {
			t.Errorf("logged %s", log.String())
		}
		ask("&EIO=3")
		ask("&EIO=3")
		time.Sleep(revisionInterval)
		ask("&EIO=3")
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "python-socketio 5") || !strings.Contains(lines[1], "notLogged=1") ||
			!strings.Contains(lines[0], `userAgent="old xxx`) || len(lines[0]) > 500 {
			t.Errorf("logged %q", lines)
		}
	})
}
