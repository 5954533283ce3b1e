package layout_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// TestAPI compares the public API with docs/api.txt, so that a change of it is seen and gets its line in CHANGELOG.md.
func TestAPI(t *testing.T) {
	want, err := os.ReadFile("../../docs/api.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, err := exec.Command("go", "run", "./apidoc").Output()
	if err != nil {
		t.Fatalf("apidoc: %v", err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gotLines, wantLines := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(gotLines), len(wantLines)) {
		if !bytes.Equal(gotLines[i], wantLines[i]) {
			t.Fatalf("docs/api.txt line %d is %q, the code says %q; after an intended change run `make api` and add a line to CHANGELOG.md",
				i+1, wantLines[i], gotLines[i])
		}
	}
	t.Fatalf("docs/api.txt has %d lines, the code gives %d; after an intended change run `make api` and add a line to CHANGELOG.md",
		len(wantLines), len(gotLines))
}
