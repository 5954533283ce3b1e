//go:build !linux

package redistest

import (
	"os/exec"
	"syscall"
)

func processAttr() *syscall.SysProcAttr { return nil }

func start(cmd *exec.Cmd) error { return cmd.Start() }
