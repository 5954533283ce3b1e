// Package memlimit tells how much memory the process may use, for budgets that follow it.
package memlimit

import (
	"math"
	"runtime/debug"
	"sync"
)

// unknown is what a machine is taken to have that does not tell.
const unknown = 4 << 30

// Bytes returns the least of what GOMEMLIMIT (or debug.SetMemoryLimit) allows, what the process's container allows, and
// what the machine has.
func Bytes() int64 { return min(debug.SetMemoryLimit(-1), machine()) }

// Container returns what the process's container allows, control groups of version 1 and 2; ok is false without a limit
// below what the machine has.
func Container() (bytes int64, ok bool) {
	group, total := container(), physical()
	return group, group < total
}

// machine is read once: a container's limit hardly changes while a process runs.
var machine = sync.OnceValue(func() int64 {
	n := min(container(), physical())
	if n == math.MaxInt64 {
		return unknown
	}
	return n
})
