package chaos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// formerCommit is the Sockeye that this one has to work with in one cluster.
const formerCommit = "4fade42c99ff4ee07ca49fb7d11d0ecccd621002"

// formerProgram are the files of the program of a node that are built with the former Sockeye, by their names here and there. The last
// one stands in for what it does not have.
var formerProgram = map[string]string{
	"node_test.go":                 "node_test.go",
	"requests_test.go":             "requests_test.go",
	"testdata/former/main_test.go": "main_test.go",
}

// buildFormer builds the program of a node with the former Sockeye, which is in the history of the repository, and returns the path of
// the binary.
func buildFormer(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	run := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	root := run(".", "git", "rev-parse", "--show-toplevel")
	if err := exec.Command("git", "-C", root, "cat-file", "-e", formerCommit+"^{commit}").Run(); err != nil {
		t.Fatalf("commit %s is not in this clone, and nodes of former times cannot be built: fetch it with "+
			"`git fetch --unshallow`, or `git fetch origin %s`", formerCommit, formerCommit)
	}
	archive := filepath.Join(tree, "former.tar")
	run(root, "git", "archive", "-o", archive, formerCommit, "go.mod", "go.sum", "adapter", "server", "internal")
	run(tree, "tar", "xf", archive)
	there := filepath.Join(tree, "internal", "chaos")
	tests, err := filepath.Glob(filepath.Join(there, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tests {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for here, name := range formerProgram {
		text, err := os.ReadFile(here)
		if err == nil {
			err = os.WriteFile(filepath.Join(there, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(tree, "former.test")
	run(tree, "go", "test", "-c", "-trimpath", "-o", binary, "./internal/chaos")
	return binary
}
