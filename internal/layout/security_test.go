package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proof is a test as docs/security.md names it: package, function and, for one attack among several, its name.
var proof = regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)\\w+)(?:/([^`]+))?`")

// TestProofs holds docs/security.md to the tests: each that it names exists, and each row of its tables names one.
func TestProofs(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	found := 0
	inProofs := false
	for line := range strings.Lines(string(text)) {
		named := proof.FindAllStringSubmatch(line, -1)
		head := strings.HasSuffix(line, "| proof |\n")
		inProofs = head || inProofs && strings.HasPrefix(line, "|")
		if inProofs && !head && !strings.HasPrefix(line, "| ---") && len(named) == 0 {
			t.Errorf("no test proves: %s", line)
		}
		for _, m := range named {
			found++
			dir := m[1]
			if _, ok := sources[dir]; !ok {
				sources[dir] = testSource(t, dir)
			}
			if !strings.Contains(sources[dir], "\nfunc "+m[2]+"(") {
				t.Errorf("%s has no %s", dir, m[2])
			}
			if m[3] != "" && !strings.Contains(sources[dir], `"`+m[3]+`"`) {
				t.Errorf("%s.%s has no case %q", dir, m[2], m[3])
			}
		}
	}
	if found == 0 {
		t.Error("no test is named")
	}
}

// testSource returns all tests of a package.
func testSource(t *testing.T, dir string) string {
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
