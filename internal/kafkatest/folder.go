package kafkatest

import (
	"os"
	"path/filepath"
	"testing"
)

// folderPattern names the folders of brokers. Each has a file that its process locks, so that the folders of tests that were killed
// can be told from those in use.
const (
	folderPattern = "sockeye-kafka-*"
	lockName      = "lock"
)

// folder makes a folder for a broker's data and returns what removes it. It removes those that killed tests have left.
func folder(t testing.TB) (dir string, remove func()) {
	t.Helper()
	_, unlock, err := lockHome() // from who sweeps, too
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	sweepFolders()
	dir, err = os.MkdirTemp("", folderPattern)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}

func sweepFolders() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPattern))
	for _, dir := range dirs {
		lock, err := tryLockFile(filepath.Join(dir, lockName))
		if err != nil {
			continue // in use, or just made
		}
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}
