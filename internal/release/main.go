// Command release makes archives of the binary for the usual systems, with the licence texts of all that is inside. Two runs
// on the same commit give the same bytes. `make release` runs it in the repository's root, after the page has been built.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const command = "./cmd/sockeye"

// clientLicence is what the build of the page writes about the packages in the client bundles and the page.
const clientLicence = "web-demo/dist/client/LICENSE"

type target struct{ os, arch string }

var targets = []target{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

func main() {
	out := flag.String("out", "bin/release", "directory of the archives")
	licences := flag.String("licences", "", "file to write the licence texts to, instead of making archives")
	flag.Parse()
	var err error
	if *licences != "" {
		err = writeLicences(*licences)
	} else {
		err = run(*out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// writeLicences is for images, whose platform is Linux.
func writeLicences(path string) error {
	texts, err := target{"linux", runtime.GOARCH}.licences()
	if err != nil {
		return err
	}
	return os.WriteFile(path, texts, 0o644)
}

func run(out string) error {
	commit, at, err := head()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for _, t := range targets {
		name, archive, err := t.release(commit, at)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", t.os, t.arch, err)
		}
		if err := os.WriteFile(filepath.Join(out, name), archive, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(archive), name)
		fmt.Println(filepath.Join(out, name))
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// head returns the commit and its time, which is that of all files in the archives.
func head() (commit string, at time.Time, err error) {
	text, err := exec.Command("git", "log", "-1", "--format=%h %ct").Output()
	if err != nil {
		return "", at, fmt.Errorf("git log: %w", err)
	}
	commit, seconds, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	return commit, time.Unix(n, 0).UTC(), err
}

// file is one file of an archive.
type file struct {
	name string
	mode int64
	data []byte
}

func (t target) release(commit string, at time.Time) (name string, archive []byte, err error) {
	binary, err := t.build()
	if err != nil {
		return "", nil, err
	}
	others, err := t.licences()
	if err != nil {
		return "", nil, err
	}
	dir := "sockeye-" + commit + "-" + t.os + "-" + t.arch
	program := "sockeye"
	if t.os == "windows" {
		program += ".exe"
	}
	files := []file{{dir + "/" + program, 0o755, binary}, {dir + "/THIRD-PARTY-LICENSES", 0o644, others}}
	for _, own := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		data, err := os.ReadFile(own)
		if err != nil {
			return "", nil, err
		}
		files = append(files, file{dir + "/" + own, 0o644, data})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	if t.os == "windows" {
		archive, err = zipped(files, at)
		return dir + ".zip", archive, err
	}
	archive, err = tarred(files, at)
	return dir + ".tar.gz", archive, err
}

func (t target) env() []string {
	return append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=0", "GOFLAGS=")
}

// build compiles without anything of this machine: no paths, no build id, no C compiler.
func (t target) build() ([]byte, error) {
	dir, err := os.MkdirTemp("", "sockeye-release")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sockeye")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=true", "-ldflags", "-s -w -buildid=", "-o", path, command)
	cmd.Env, cmd.Stderr = t.env(), os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build: %w", err)
	}
	if err := checkCommit(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// checkCommit refuses a binary that does not say which commit it was built from. The go command finds none in a linked worktree
// of git, and says nothing.
func checkCommit(path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read build information: %w", err)
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return nil
		}
	}
	return errors.New("the binary does not name its commit: build in a clone, not in a linked worktree")
}

var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)(\.\w+)?$`)

// licences gathers the texts of Go, of every module in the binary, and of the packages in page and bundles.
func (t target) licences() ([]byte, error) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", command)
	cmd.Env, cmd.Stderr = t.env(), os.Stderr
	list, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	modules := strings.FieldsFunc(string(list), func(r rune) bool { return r == '\n' })
	slices.Sort(modules)
	modules = append([]string{"Go " + runtime.Version() + "\t" + strings.TrimSpace(string(root))}, slices.Compact(modules)...)
	var all bytes.Buffer
	for _, module := range modules {
		name, dir, _ := strings.Cut(module, "\t")
		if err := appendLicences(&all, name, dir); err != nil {
			return nil, err
		}
	}
	client, err := os.ReadFile(clientLicence)
	if err != nil {
		return nil, fmt.Errorf("%w; `make web` writes it", err)
	}
	all.WriteString("The page and the client bundles.\n\n")
	all.Write(client)
	return all.Bytes(), nil
}

func appendLicences(to *bytes.Buffer, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, entry := range entries {
		if entry.IsDir() || !licenceName.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(to, "%s: %s\n\n%s\n\n%s\n\n", name, entry.Name(), bytes.TrimSpace(text), strings.Repeat("-", 80))
		found = true
	}
	if !found {
		return errors.New(name + " has no licence file")
	}
	return nil
}

func tarred(files []file, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: at, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err = errors.Join(w.Close(), z.Close())
	return out.Bytes(), err
}

func zipped(files []file, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at}
		header.SetMode(os.FileMode(f.mode))
		to, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(to, bytes.NewReader(f.data)); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
