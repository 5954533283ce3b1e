package deploy

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdUnit asks systemd what it finds wrong with the unit, and how open to attack it leaves the machine: 0 is best, 10 worst.
func TestSystemdUnit(t *testing.T) {
	require(t, "systemd-analyze", "systemd")
	for _, c := range []struct {
		name, dropIn string
		exposure     string // in tenths
	}{
		{"as it is", "", "13"},
		{"with a port below 1024", "systemd/privileged-port.conf", "17"},
		{"with NATS inside", "systemd/embedded.conf", "13"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			unit := filepath.Join(dir, "sockeye.service")
			content := read(t, "systemd/sockeye.service")
			write(t, unit, strings.ReplaceAll(content, "/usr/local/bin/sockeye", binary(t)))
			if c.dropIn != "" {
				write(t, filepath.Join(dir, "sockeye.service.d", "port.conf"), read(t, c.dropIn))
			}
			if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("verify: %v\n%s", err, out)
			}
			if out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+c.exposure, unit).CombinedOutput(); err != nil {
				t.Errorf("security: %v\n%s", err, out)
			}
		})
	}
}
