package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sockeye-io/sockeye/server"
	webdemo "github.com/sockeye-io/sockeye/web-demo"
)

// TestClientFiles writes the bundles, where the binary has them, and serves them from there.
func TestClientFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "client")
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"client-files", dir}, &stdout, &stderr)
	if _, built := webdemo.Client(); !built {
		if status != exitFailure || !strings.Contains(stderr.String(), "make build") {
			t.Errorf("a binary without them: status %d, %q", status, stderr.String())
		}
		return
	}
	if status != 0 || !strings.Contains(stdout.String(), dir) {
		t.Fatalf("status %d, %q, %q", status, stdout.String(), stderr.String())
	}
	licences, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"socket.io-client", "engine.io-client", "socket.io-parser", "engine.io-parser", "notepack.io", "debug", "Permission is hereby granted"} {
		if !bytes.Contains(licences, []byte(name)) {
			t.Errorf("the licences do not name %s", name)
		}
	}
	srv, err := server.New(&server.Options{ClientFiles: os.DirFS(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for _, name := range []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js", "socket.io.js.map"} {
		r, _ := http.NewRequest(http.MethodGet, "/socket.io/"+name, nil)
		w := &answer{header: make(http.Header)}
		srv.ServeHTTP(w, r)
		if want, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(w.body.Bytes(), want) {
			t.Errorf("%s: %d bytes served, %v", name, w.body.Len(), err)
		}
	}
}

type answer struct {
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
func (a *answer) WriteHeader(int)             {}

func TestWriteFiles(t *testing.T) {
	dir := t.TempDir()
	files := fstest.MapFS{"a.js": {Data: []byte("new")}, "LICENSE": {Data: []byte("free")}}
	if err := os.WriteFile(filepath.Join(dir, "a.js"), []byte("an older one"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := writeFiles(dir, files); n != 2 || err != nil {
		t.Fatalf("%d files, %v", n, err)
	}
	f, err := os.Open(filepath.Join(dir, "a.js"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if data, err := io.ReadAll(f); string(data) != "new" || err != nil {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := writeFiles(filepath.Join(dir, "a.js"), files); !errors.Is(err, fs.ErrExist) && err == nil {
		t.Errorf("a file as directory: %v", err)
	}
}
