//go:build !unix

package freeze

import (
	"errors"
	"os"
)

var errUnix = errors.New("a process can be stopped on Unix only")

// Stop needs signals.
func Stop(*os.Process) error { return errUnix }

// Continue needs signals.
func Continue(*os.Process) error { return errUnix }
