//go:build linux

package freeze

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// TestStop: once Stop has returned no thread of the process runs, and a stopped process can be stopped again after Continue.
func TestStop(t *testing.T) {
	if os.Getenv("FREEZE_TEST_SPIN") != "" {
		for range 8 {
			go spin()
		}
		spin()
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestStop")
	cmd.Env = append(os.Environ(), "FREEZE_TEST_SPIN=1", "GOMAXPROCS=8")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for range 20 {
		if err := Stop(cmd.Process); err != nil {
			t.Fatal(err)
		}
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("%d threads: %v", len(threads), err)
		}
		for _, path := range threads {
			stat, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, state, _ := bytes.Cut(stat, []byte(") ")); !bytes.HasPrefix(state, []byte("T")) {
				t.Errorf("a thread is in state %.1s", state)
			}
		}
		if err := Continue(cmd.Process); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStopEnded: a process that has ended cannot be stopped.
func TestStopEnded(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := Stop(cmd.Process); err == nil {
		t.Error("stopped")
	}
}

var spun atomic.Int64

func spin() {
	for {
		spun.Add(1)
	}
}
