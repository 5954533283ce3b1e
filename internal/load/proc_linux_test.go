package load

import (
	"os"
	"testing"
	"time"
)

func TestUsage(t *testing.T) {
	s, err := parseStat([]byte("42 (a) b (c)) S 7 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10"))
	if err != nil || s.parent != 7 || s.cpu != 3*time.Second {
		t.Errorf("%+v, %v", s, err)
	}
	for _, line := range []string{"", "42 (x) S 1", "42 (a) S x 1 1 0 -1 4194304 100 0 0 0 250 50 0"} {
		if s, err := parseStat([]byte(line)); err == nil {
			t.Errorf("%q was taken as %+v", line, s)
		}
	}
	for _, p := range []Process{{PID: os.Getpid()}, {PID: os.Getpid(), Tree: true}} {
		u, err := p.read()
		if err != nil || u.resident < 1<<20 {
			t.Errorf("%+v uses %+v, %v", p, u, err)
		}
	}
	if u, err := (Process{PID: 1 << 30}).read(); err == nil {
		t.Errorf("a process that is not there uses %+v", u)
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("42 (a) b (c)) S 7 1 1 0 -1 4194304 100 0 0 0 250 50 0 0"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, line []byte) { _, _ = parseStat(line) })
}
