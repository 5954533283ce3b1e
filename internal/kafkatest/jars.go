package kafkatest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// pom names the jars.
//
//go:embed testdata/pom.xml
var pom []byte

// javaPackages are those of Debian that have Java 17 or a later one, and Maven.
var javaPackages = []string{"default-jre-headless", "maven"}

// classPath finds the jars of Kafka, and fetches them if nobody has yet.
func classPath(t testing.TB) string {
	t.Helper()
	path, err := jars()
	if err != nil {
		t.Fatalf("get kafka: %v", err)
	}
	return path
}

var jars = sync.OnceValues(func() (string, error) {
	if err := install("java", javaPackages...); err != nil {
		return "", err
	}
	home, unlock, err := lockHome()
	if err != nil {
		return "", err
	}
	defer unlock()
	sum := sha256.Sum256(pom)
	lib := filepath.Join(home, hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(lib); errors.Is(err, os.ErrNotExist) {
		err = fetch(home, lib)
		if err != nil {
			return "", err
		}
	}
	return filepath.Join(lib, "*"), nil
})

// lockHome returns the folder that the tests of all packages have in common, and keeps it from them until unlock.
func lockHome() (home string, unlock func(), err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	home = filepath.Join(cache, "sockeye-kafkatest")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", nil, err
	}
	lock, err := lockFile(filepath.Join(home, "lock"))
	if err != nil {
		return "", nil, err
	}
	return home, func() { _ = lock.Close() }, nil
}

// fetch has Maven copy the jars to a folder, which is there only when it is complete.
func fetch(home, lib string) error {
	if err := install("mvn", javaPackages...); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(home, "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	maven := exec.Command("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib")
	maven.Dir = dir
	if out, err := maven.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch the jars: %w\n%s", err, out)
	}
	return os.Rename(filepath.Join(dir, "lib"), lib)
}

// install sees to it that a command is there, which some packages of Debian have.
func install(command string, packages ...string) error {
	if _, err := exec.LookPath(command); err == nil {
		return nil
	}
	if os.Getuid() == 0 {
		if apt, err := exec.LookPath("apt-get"); err == nil {
			_ = exec.Command(apt, "update", "-qq").Run()
			_ = exec.Command(apt, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)...).Run()
		}
	}
	if _, err := exec.LookPath(command); err != nil {
		return fmt.Errorf("%s is needed: apt-get install %s", command, strings.Join(packages, " "))
	}
	return nil
}
