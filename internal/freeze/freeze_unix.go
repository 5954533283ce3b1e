//go:build unix

package freeze

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Stop stops a child of this process, and returns when all its threads have stopped: a signal alone leaves those that run on other
// processors some time to answer what a test has sent.
func Stop(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	for {
		var status syscall.WaitStatus
		switch _, err := syscall.Wait4(p.Pid, &status, syscall.WUNTRACED, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait until process %d has stopped: %w", p.Pid, err)
		case status.Stopped():
			return nil
		default:
			return fmt.Errorf("process %d has ended", p.Pid)
		}
	}
}

// Continue undoes Stop.
func Continue(p *os.Process) error {
	if err := p.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue: %w", err)
	}
	return nil
}
