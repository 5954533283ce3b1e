package deploy

import (
	"bufio"
	"context"
	"crypto/x509"
	"debug/elf"
	"io"
	"io/fs"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// image is what the Dockerfile makes of the repository: the files, and how the node in it is started.
type image struct {
	root       string
	entrypoint []string
	cmd        []string
	health     []string
	env        []string
	user       string
	ports      []string
}

// TestImage makes the image, and runs its node where there is nothing but the files of the image: no shell, no resolver, no
// /proc, no user.
func TestImage(t *testing.T) {
	im := buildImage(t)
	t.Run("files", im.testFiles)
	t.Run("settings", im.testSettings)
	t.Run("version", im.testVersion)
	t.Run("node", im.testNode)
}

func (im *image) testFiles(t *testing.T) {
	var files []string
	err := filepath.WalkDir(im.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(im.root, path)
		files = append(files, name)
		return nil
	})
	if want := []string{"LICENSE", "THIRD-PARTY-LICENSES", "etc/ssl/certs/ca-certificates.crt", "sockeye"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%q, %v, want %q", files, err, want)
	}
	program, err := elf.Open(filepath.Join(im.root, "sockeye"))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if libraries, err := program.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the binary needs %q", libraries)
	}
	if i := slices.IndexFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }); i >= 0 {
		t.Error("the binary needs a loader")
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(read(t, filepath.Join(im.root, "etc/ssl/certs/ca-certificates.crt")))) {
		t.Error("no certificates of authorities")
	}
	if texts := read(t, filepath.Join(im.root, "THIRD-PARTY-LICENSES")); !strings.Contains(texts, "go-redis") || !strings.Contains(texts, "socket.io-client") {
		t.Error("licences of Go packages or of the page are missing")
	}
}

func (im *image) testSettings(t *testing.T) {
	if id, _, _ := strings.Cut(im.user, ":"); id == "" || id == "0" || strings.Trim(id, "0123456789") != "" {
		t.Errorf("user %q is no number but 0", im.user)
	}
	if want := []string{"3000", "9000"}; !slices.Equal(im.ports, want) {
		t.Errorf("ports %q, want %q", im.ports, want)
	}
	if !slices.Contains(im.env, "SOCKEYE_ADMIN_ADDR=127.0.0.1:9000") {
		t.Errorf("what operators see must not leave the container by default: %q", im.env)
	}
}

// testVersion looks for the commit that the image was built from.
func (im *image) testVersion(t *testing.T) {
	text := output(t, "", "chroot", im.root, "/sockeye", "version")
	if commit := output(t, "..", "git", "rev-parse", "--short=12", "HEAD"); !strings.Contains(text, "commit "+strings.TrimSpace(commit)) {
		t.Errorf("%q does not name commit %s", text, commit)
	}
}

// command is a program of the image, run as Docker would run it, in the network of this machine.
func (im *image) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "chroot", append([]string{"--userspec=" + im.user, im.root}, args...)...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, im.env...)
	return cmd
}

var (
	listening = regexp.MustCompile(`msg=listening addr=(\S+)`)
	operators = regexp.MustCompile(`msg="serving operators" url=(\S+)`)
)

func (im *image) testNode(t *testing.T) {
	node := im.command(t.Context(), append(append(slices.Clone(im.entrypoint), im.cmd...), "--addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0")...)
	logs, err := node.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Process.Kill() })
	addr, admin := "", ""
	lines := bufio.NewScanner(logs)
	for (addr == "" || admin == "") && lines.Scan() {
		if found := listening.FindStringSubmatch(lines.Text()); found != nil {
			addr = found[1]
		}
		if found := operators.FindStringSubmatch(lines.Text()); found != nil {
			admin = found[1]
		}
	}
	rest := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(logs)
		rest <- string(b)
	}()
	if addr == "" || admin == "" {
		t.Fatalf("the node does not listen: %s", <-rest)
	}
	for path, want := range map[string]string{
		"/socket.io/?EIO=4&transport=polling": `0{"sid":`,
		"/":                                   "<!doctype html>",
		"/socket.io/socket.io.min.js":         "/*!",
	} {
		if body := get(t, "http://"+addr+path); !strings.HasPrefix(strings.ToLower(body), want) {
			t.Errorf("%s answers %.80q", path, body)
		}
	}
	health := im.command(t.Context(), im.health...)
	health.Env = append(health.Env, "SOCKEYE_ADMIN_ADDR="+strings.Trim(strings.TrimPrefix(admin, "http://"), "/"))
	if out, err := health.CombinedOutput(); err != nil {
		t.Errorf("%q: %v, %s", im.health, err, out)
	}
	if err := node.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text := <-rest
	if err := node.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, text)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
