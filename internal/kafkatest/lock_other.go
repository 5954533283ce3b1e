//go:build !unix

package kafkatest

import (
	"errors"
	"os"
)

func lockFile(path string) (*os.File, error) {
	return nil, errors.New("files are locked on Unix only")
}

func tryLockFile(path string) (*os.File, error) { return lockFile(path) }

var terminate os.Signal = os.Kill
