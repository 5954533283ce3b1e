//go:build !linux

package redistest

import "os/exec"

// Start starts a process. On Linux it ends with this one, however that ends.
func Start(cmd *exec.Cmd) error { return cmd.Start() }
