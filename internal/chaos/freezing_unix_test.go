//go:build unix

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// freeze stops the process without closing anything, and waits until it has stopped where that can be seen.
func (n *node) freeze() {
	n.t.Helper()
	n.signal(syscall.SIGSTOP)
	if runtime.GOOS != "linux" {
		return
	}
	redistest.Eventually(n.t, "node "+n.name+" stops", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
		_, state, _ := bytes.Cut(stat, []byte(") "))
		return bytes.HasPrefix(state, []byte("T"))
	})
}

// thaw undoes freeze.
func (n *node) thaw() {
	n.t.Helper()
	n.signal(syscall.SIGCONT)
}

func (n *node) signal(sig syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatalf("signal node %s: %v", n.name, err)
	}
}
