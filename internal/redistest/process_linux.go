package redistest

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// processAttr lets the kernel kill the process when the thread that started it ends.
func processAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

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

func start(cmd *exec.Cmd) error {
	r := request{cmd, make(chan error, 1)}
	starter() <- r
	return <-r.done
}
