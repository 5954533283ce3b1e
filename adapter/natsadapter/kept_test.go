package natsadapter

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestOffsets writes and reads places in the log.
func TestOffsets(t *testing.T) {
	mark := markOf("/chat", 7)
	for _, p := range []place{{}, {seq: 1, at: 2, n: 3}, {seq: 1<<64 - 1, at: 1<<63 - 1, n: 1<<31 - 1}} {
		text := offsetText(mark, p)
		got, q, ok := parseOffset(text)
		if !ok || got != mark || q != p {
			t.Errorf("%s is %s %+v, %v, want %+v", text, got, q, ok, p)
		}
	}
	if markOf("/", 7) == mark || markOf("/chat", 8) == mark {
		t.Error("another namespace, or stream, has the same mark")
	}
}

// TestVersions compares versions of servers.
func TestVersions(t *testing.T) {
	for version, want := range map[string]bool{"2.10.27": true, "2.9": true, "1.99.0": true, "2.11.0": false, "2.15.3-beta": false, "3.0.0": false, "": false, "x": false} {
		if got := older(version, wantedVersion); got != want {
			t.Errorf("%q is older: %v", version, got)
		}
	}
}

// FuzzOffset gives the reader of offsets what clients may send.
func FuzzOffset(f *testing.F) {
	f.Add(offsetText(markOf("/", 1), place{seq: 9, at: 10, n: 1}))
	for _, seed := range []string{"", "-", "---", "0123456789ab-1-1-1", "0123456789ab--1-1-1", "0123456789ab-1-1-zzzzzzzzz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		mark, p, ok := parseOffset(text)
		if !ok {
			return
		}
		again, q, ok := parseOffset(offsetText(mark, p))
		if !ok || again != mark || q != p || p.n < 0 || p.at < 0 {
			t.Errorf("%q is %s %+v, then %s %+v", text, mark, p, again, q)
		}
	})
}

// FuzzEntry gives the reader of entries what somebody may write to the stream.
func FuzzEntry(f *testing.F) {
	for _, e := range []logEntry{
		{kind: entryBreak, from: "a"},
		{kind: entryMark},
		{kind: entryBroadcasts, from: "abc", list: []keptBody{{1, []byte("one")}, {1 << 40, nil}, {3, []byte(strings.Repeat("x", 300))}}},
	} {
		f.Add(e.encode())
	}
	f.Add([]byte{entryVersion, byte(entryBroadcasts), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			return
		}
		again, err := decodeEntry(e.encode())
		if err != nil || fmt.Sprint(again) != fmt.Sprint(e) {
			t.Errorf("%x is %+v, then %+v, %v", b, e, again, err)
		}
	})
}

// FuzzSessionRecord gives the reader of sessions what somebody may write to the stream.
func FuzzSessionRecord(f *testing.F) {
	for _, r := range []sessionRecord{{}, {told: true, ttl: time.Minute, holder: "node", text: "session"}, {ttl: maxSessionTTL, text: "x"}} {
		f.Add(r.encode())
	}
	f.Add([]byte{sessionVersion, 2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeSessionRecord(b)
		if err != nil {
			return
		}
		again, err := decodeSessionRecord(r.encode())
		if err != nil || !reflect.DeepEqual(again, r) || !bytes.HasSuffix(b, []byte(r.text)) {
			t.Errorf("%x is %+v, then %+v, %v", b, r, again, err)
		}
	})
}
