//go:build unix

package kafkatest

import (
	"os"
	"syscall"
)

// lockFile opens a file, making it if it is not there, and waits until nobody else has locked it. Closing it unlocks it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return locked(f, syscall.LOCK_EX)
}

// tryLockFile is lockFile for a file that is there, and does not wait.
func tryLockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return locked(f, syscall.LOCK_EX|syscall.LOCK_NB)
}

func locked(f *os.File, how int) (*os.File, error) {
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// terminate ends a process in an orderly way.
const terminate = syscall.SIGTERM
