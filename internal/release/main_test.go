package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
	"time"
)

var content = []file{{"a/program", 0o755, []byte("binary")}, {"a/LICENSE", 0o644, []byte("free")}}

// TestArchives packs twice and looks into the archives.
func TestArchives(t *testing.T) {
	at := time.Date(2026, 11, 29, 1, 2, 4, 0, time.UTC)
	for name, pack := range map[string]func([]file, time.Time) ([]byte, error){"tar": tarred, "zip": zipped} {
		first, err := pack(content, at)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := pack(content, at); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s: two runs differ, %v", name, err)
		}
		if other, err := pack(content, at.Add(time.Hour)); err != nil || bytes.Equal(first, other) {
			t.Errorf("%s: the time is not in it, %v", name, err)
		}
	}
	packed, _ := tarred(content, at)
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for _, want := range content {
		header, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(r); err != nil || header.Name != want.name || header.Mode != want.mode || !bytes.Equal(data, want.data) {
			t.Errorf("tar: %+v, %q, %v", header, data, err)
		}
	}
	packed, _ = zipped(content, at)
	zr, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil || len(zr.File) != 2 || zr.File[0].Name != "a/program" || !zr.File[0].Modified.Equal(at) {
		t.Errorf("zip: %v", err)
	}
}

func TestLicences(t *testing.T) {
	var out bytes.Buffer
	if err := appendLicences(&out, "sockeye", "../.."); err != nil || !strings.Contains(out.String(), "sockeye: LICENSE\n\nMIT") {
		t.Errorf("%v, %.80q", err, out.String())
	}
	if err := appendLicences(&out, "nobody", t.TempDir()); err == nil || !strings.Contains(err.Error(), "nobody has no licence file") {
		t.Errorf("a module without one: %v", err)
	}
}
