package memlimit

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func TestGroupLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files fstest.MapFS
		want  int64
	}{
		{"no groups", files(), math.MaxInt64},
		{"version 2", files("proc/self/cgroup", "0::/pod/app\n", "sys/fs/cgroup/pod/app/memory.max", "1000\n"), 1000},
		{"version 2, the group around it", files("proc/self/cgroup", "0::/pod/app\n",
			"sys/fs/cgroup/pod/app/memory.max", "max\n", "sys/fs/cgroup/pod/memory.max", "500\n"), 500},
		{"version 2, its own directory mounted", files("proc/self/cgroup", "0::/pod/app\n", "sys/fs/cgroup/memory.max", "700\n"), 700},
		{"version 2, without a limit", files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "max\n"), math.MaxInt64},
		{"version 1", files("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000\n"), 2000},
		{"version 1, without a limit", files("proc/self/cgroup", "4:memory:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"), 9223372036854771712},
		{"both", files("proc/self/cgroup", "4:hugetlb,memory:/a\n0::/\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000\n", "sys/fs/cgroup/memory.max", "3000"), 2000},
		{"nonsense", files("proc/self/cgroup", "\n:\n0::\n0::/../../x\n", "sys/fs/cgroup/memory.max", "-5\n"), math.MaxInt64},
	} {
		if got := groupLimit(tt.files); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestMemTotal(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:       16384 kB\nMemFree: 1 kB\n": 16 << 20,
		"MemFree: 1 kB\n":     math.MaxInt64,
		"MemTotal: many kB\n": math.MaxInt64,
	} {
		if got := memTotal(files("proc/meminfo", text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	if n := Bytes(); n < 1<<20 || n > 1<<50 {
		t.Errorf("this machine has %d bytes", n)
	}
	before := debug.SetMemoryLimit(100 << 20)
	defer debug.SetMemoryLimit(before)
	if n := Bytes(); n != 100<<20 {
		t.Errorf("%d, want what GOMEMLIMIT allows", n)
	}
	if n, ok := Container(); ok && n > physical() {
		t.Errorf("a container of %d bytes", n)
	}
}
