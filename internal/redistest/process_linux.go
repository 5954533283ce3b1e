package redistest

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

type request struct {
	cmd  *exec.Cmd
	done chan error
}

// starter is served by a goroutine that keeps its thread as long as the process lives, and starts all servers.
var starter = sync.OnceValue(func() chan request {
	requests := make(chan request)
	go serve(requests)
	return requests
})

// serve never ends; see Goroutine.
func serve(requests <-chan request) {
	runtime.LockOSThread()
	for r := range requests {
		r.done <- r.cmd.Start()
	}
}

// Start starts a process that ends with this one, however that ends: the kernel kills it when the thread that started it
// is gone.
func Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r := request{cmd, make(chan error, 1)}
	starter() <- r
	return <-r.done
}
