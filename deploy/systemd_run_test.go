package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSystemdRuns gives the unit to a systemd of its own, in namespaces of its own, and does what an operator does: start, reload,
// kill, stop. The node runs in the unit's sandbox, as the unit's user.
func TestSystemdRuns(t *testing.T) {
	mustMount(t)
	require(t, "systemctl", "systemd")
	require(t, "dbus-daemon", "dbus")
	require(t, "ip", "iproute2")
	s := bootSystemd(t)
	s.until("the unit is active", func() (string, bool) {
		state := s.property("ActiveState")
		return state, state == "active"
	})
	first := s.property("MainPID")
	if uid := s.inside("stat", "--format=%u", "/proc/"+first); uid == "0" {
		t.Error("the node runs as root")
	}
	if refused, err := s.command("nsenter", "-t", first, "-m", "touch", "/etc/sockeye/file").CombinedOutput(); err == nil || !strings.Contains(string(refused), "Read-only file system") {
		t.Errorf("the node's files can be written: %v, %s", err, refused)
	}
	for _, check := range []string{"livez", "readyz", "startupz"} {
		s.inside("/usr/local/bin/sockeye", "health", "--admin=127.0.0.1:9000", check)
	}
	if nodes := s.inside("/usr/local/bin/sockeye", "ctl", "nodes", "--admin=127.0.0.1:9000", "--token-file=/etc/sockeye/admin-token"); !strings.Contains(nodes, "alive") {
		t.Errorf("sockeye ctl nodes: %s", nodes)
	}
	s.inside("systemctl", "reload", "sockeye")
	if pid := s.property("MainPID"); pid != first {
		t.Errorf("after a reload the process is %s, was %s", pid, first)
	}
	s.inside("systemctl", "kill", "--signal=KILL", "sockeye")
	s.until("the node is started again", func() (string, bool) {
		pid, state := s.property("MainPID"), s.property("ActiveState")
		return pid + " " + state, pid != first && pid != "0" && state == "active"
	})
	s.inside("systemctl", "stop", "sockeye")
	if got := s.inside("systemctl", "show", "sockeye", "--property=Result,ExecMainCode,ExecMainStatus,ActiveState"); got != "Result=success\nExecMainCode=1\nExecMainStatus=0\nActiveState=inactive" {
		t.Errorf("after a stop:\n%s", got)
	}
}

// systemd is one that runs in namespaces of its own.
type systemd struct {
	t   *testing.T
	pid string // of the init process
}

// bootScript makes a root of what this machine has, with a layer above it, in which no other unit is left but what systemd and the
// journal need, and becomes systemd there. $1 is a directory for the layer, $2 the root, $3 the files to add.
const bootScript = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/files" "$1/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/files,workdir=$1/work" "$2"
ip link set lo up
cd "$2"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 none sys/fs/cgroup
for name in run tmp dev; do mount -t tmpfs -o mode=755 "$name" "$name"; done
chmod 1777 tmp
for name in null zero full random urandom tty; do touch "dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
rm -rf etc/systemd/system etc/init.d etc/rc?.d # their scripts would become units
mkdir -p etc/systemd/system/multi-user.target.wants
for unit in lib/systemd/system/*.service lib/systemd/system/*.timer lib/systemd/system/*.mount lib/systemd/system/*.automount lib/systemd/system/*.socket; do
  case "${unit##*/}" in *@*|systemd-journald*|dbus*) ;; *) ln -s /dev/null "etc/systemd/system/${unit##*/}" ;; esac
done
cp -r "$3/." .
ln -s ../sockeye.service etc/systemd/system/multi-user.target.wants/
mkdir former
pivot_root . former
umount -l /former
mount --make-rshared / # as systemd does where it thinks that it is alone
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=no
`

func bootSystemd(t *testing.T) *systemd {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"layer", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := filepath.Join(dir, "files")
	write(t, filepath.Join(files, "etc/systemd/system/sockeye.service"), read(t, "systemd/sockeye.service"))
	write(t, filepath.Join(files, "etc/sockeye/sockeye.yaml"), read(t, "systemd/sockeye.yaml"))
	write(t, filepath.Join(files, "etc/sockeye/sockeye.env"), read(t, "systemd/sockeye.env"))
	write(t, filepath.Join(files, "etc/systemd/system/sockeye.service.d/control-api.conf"), read(t, "systemd/control-api.conf"))
	token := filepath.Join(files, "etc/sockeye/admin-token")
	write(t, token, "0123456789abcdef0123456789abcdef\n")
	output(t, "", "chmod", "600", token)
	output(t, "", "install", "-D", "-m", "755", binary(t), filepath.Join(files, "usr/local/bin/sockeye"))
	group := controlGroup(t)
	cmd := exec.Command("sh", "-c", `echo $$ > "$1/cgroup.procs" && shift && exec "$@"`, "sh", group,
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--cgroup", "--net",
		"bash", "-c", bootScript, "bash", filepath.Join(dir, "layer"), filepath.Join(dir, "root"), files)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and the init with it, and all others with that
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("boot: %s", out.String())
		}
	})
	s := &systemd{t: t}
	s.until("systemd answers", func() (string, bool) {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", cmd.Process.Pid))
		s.pid = strings.TrimSpace(string(children))
		if name, err := os.ReadFile("/proc/" + s.pid + "/comm"); err != nil || string(name) != "systemd\n" {
			return string(name), false
		}
		text, err := s.command("systemctl", "show", "sockeye", "--property=LoadState").CombinedOutput()
		return string(text), err == nil
	})
	return s
}

// controlGroup makes a group of processes, which is removed when nothing is in it any more.
func controlGroup(t *testing.T) string {
	t.Helper()
	mounts := strings.Fields(output(t, "", "findmnt", "--noheadings", "--output=TARGET", "--types=cgroup2"))
	if len(mounts) == 0 {
		t.Skip("this machine has no control groups of version 2")
	}
	group, err := os.MkdirTemp(mounts[0], "sockeye-test")
	if err != nil {
		t.Skipf("no control group can be made here: %v", err)
	}
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run() == nil && time.Now().Before(deadline) {
			if _, err := os.Stat(group); err != nil {
				return
			}
			<-time.After(20 * time.Millisecond)
		}
		t.Errorf("%s is left", group)
	})
	return group
}

// until waits for a condition, and tells what it was last if it does not come.
func (s *systemd) until(what string, holds func() (string, bool)) {
	s.t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		last, ok := holds()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			log, _ := s.command("journalctl", "--no-pager", "--lines=40").CombinedOutput()
			s.t.Fatalf("not: %s; last %s\n%s", what, last, log)
		}
	}
}

// command is one that runs beside systemd.
func (s *systemd) command(args ...string) *exec.Cmd {
	enter := []string{"-t", s.pid, "-m", "-p", "-n", "-i", "-u", "-C", "-r", "-w", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	context.AfterFunc(s.t.Context(), cancel)
	return exec.CommandContext(ctx, "nsenter", slices.Concat(enter, args)...)
}

func (s *systemd) inside(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		log, _ := s.command("journalctl", "--no-pager", "--unit=sockeye", "--lines=40").CombinedOutput()
		s.t.Fatalf("%q: %v\n%s\n%s", args, err, out, log)
	}
	return strings.TrimSpace(string(out))
}

// property is one of the unit's.
func (s *systemd) property(name string) string {
	s.t.Helper()
	return s.inside("systemctl", "show", "sockeye", "--value", "--property="+name)
}
