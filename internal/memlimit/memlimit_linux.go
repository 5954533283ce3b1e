package memlimit

import (
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

func container() int64 { return groupLimit(os.DirFS("/")) }

func physical() int64 { return memTotal(os.DirFS("/")) }

// groupLimit returns the least limit of the process's control group and the groups around it; math.MaxInt64 without.
func groupLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return limit
	}
	for line := range strings.Lines(string(groups)) {
		// "hierarchy:controllers:path"; version 2 has hierarchy 0 and no controllers.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[0] == "0":
			limit = min(limit, leastOf(root, "sys/fs/cgroup", parts[2], "memory.max"))
		case hasMemory(parts[1]):
			limit = min(limit, leastOf(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	return limit
}

func hasMemory(controllers string) bool {
	for name := range strings.SplitSeq(controllers, ",") {
		if name == "memory" {
			return true
		}
	}
	return false
}

// leastOf reads a limit from a group's directory and all above it. In a container the group's own directory is often the
// mount point, whatever its path says.
func leastOf(root fs.FS, mount, group, file string) int64 {
	limit := int64(math.MaxInt64)
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		if text, err := fs.ReadFile(root, path.Join(mount, dir, file)); err == nil {
			// Version 2 says "max" without a limit, version 1 a number near the largest.
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				limit = min(limit, n)
			}
		}
		if dir == "/" {
			return limit
		}
	}
}

// memTotal returns the machine's memory; math.MaxInt64 if it does not tell.
func memTotal(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return math.MaxInt64
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil && n > 0 {
				return n << 10
			}
		}
	}
	return math.MaxInt64
}
