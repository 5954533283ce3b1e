package load

import (
	"testing"
	"time"
)

func TestStamp(t *testing.T) {
	sent := time.Unix(1_700_000_000, 123_456_789)
	for _, size := range []int{0, MinSize, 64, 5000} {
		p := appendStamp([]byte(`["msg","`), "0a1b2c3d", 12345678901, sent, size)
		p = append(p, `"]`...)
		payload, ok := payloadOf(p, "msg")
		if !ok || size >= MinSize && len(payload) != size+2 {
			t.Fatalf("payload of %q: %q, %v", p, payload, ok)
		}
		s, err := parseStamp(payload, "0a1b2c3d")
		if err != nil || s.number != 12345678901 || !s.sent.Equal(sent) {
			t.Errorf("size %d: %+v, %v", size, s, err)
		}
		if s, err := parseStamp(payload, "0a1b2c3e"); err == nil {
			t.Errorf("a stamp of another run was taken: %+v", s)
		}
	}
	if _, ok := payloadOf([]byte(`["msg",{"a":1}]`), "msg"); ok {
		t.Error("an object was taken for a payload")
	}
	if _, ok := payloadOf([]byte(`["msg2","x"]`), "msg"); ok {
		t.Error("another event was taken")
	}
}

func TestStampAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 256)
	args := append(appendStamp([]byte(`["msg","`), "0a1b2c3d", 7, time.Now(), 64), `"]`...)
	n := testing.AllocsPerRun(100, func() {
		buf = appendStamp(buf[:0], "0a1b2c3d", 7, time.Now(), 64)
		payload, _ := payloadOf(args, "msg")
		if _, err := parseStamp(payload, "0a1b2c3d"); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzStamp(f *testing.F) {
	f.Add([]byte("0a1b2c3d.1.1700000000123456789.xxx"))
	f.Add([]byte("0a1b2c3d..."))
	f.Add([]byte("0a1b2c3d.99999999999999999999.1."))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := parseStamp(p, "0a1b2c3d")
		if err != nil {
			return
		}
		again, err := parseStamp(appendStamp(nil, "0a1b2c3d", s.number, s.sent, MinSize), "0a1b2c3d")
		if err != nil || again.number != s.number || !again.sent.Equal(s.sent) {
			t.Errorf("%q is %+v, written anew %+v, %v", p, s, again, err)
		}
	})
}
