package deploy

import (
	"cmp"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runBooks is that chapter of docs/operations.md, in which lines are broken anywhere.
func runBooks(t *testing.T) string {
	t.Helper()
	_, text, ok := strings.Cut(read(t, "../docs/operations.md"), "\n## Run books\n")
	if !ok {
		t.Fatal("there are no run books")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return strings.Join(strings.Fields(text), " ")
}

// found fails unless the expression is found as often as it makes sense to test it.
func found(t *testing.T, expression, text string, least int) (all []string) {
	t.Helper()
	for _, match := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	if len(all) < least {
		t.Errorf("only %q match %s", all, expression)
	}
	return all
}

// TestRunBooks: what the run books name is there: metrics, log lines, flags and commands.
func TestRunBooks(t *testing.T) {
	text := runBooks(t)
	names := read(t, "../server/metrics/names.go")
	for _, metric := range found(t, `\b(sockeye_\w+)`, text, 15) {
		if !strings.Contains(names, `"`+metric+`"`) {
			t.Errorf("there is no metric %s", metric)
		}
	}
	var code strings.Builder
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return cmp.Or(err, filepath.SkipDir)
		}
		if filepath.Ext(path) == ".go" && !strings.HasSuffix(path, "_test.go") {
			code.WriteString(read(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range found(t, `msg="?([^"]+?)["\x60]`, text, 10) {
		if !logged(code.String(), line) {
			t.Errorf("no line of the log says %q", line)
		}
	}
	flags := output(t, "", binary(t), "serve", "--help")
	for _, name := range found(t, "`(--[a-z][a-z-]+)[^`]*`", text, 8) {
		if !strings.Contains(strings.ReplaceAll(flags, "--[no-]", "--"), name) {
			t.Errorf("there is no flag %s", name)
		}
	}
	for _, command := range found(t, "`(sockeye [^`]+)`", text, 5) {
		known(t, strings.Fields(command)[1:])
	}
}

// logged reports whether the code has a line of the log, or what that is put together of: the name of an adapter and how it is.
func logged(code, line string) bool {
	has := func(text string) bool { return strings.Contains(code, `"`+text+`"`) }
	for _, state := range []string{" is up", " is down"} {
		if name, ok := strings.CutSuffix(line, state); ok && has(name) && has(state) {
			return true
		}
	}
	return has(line)
}

// known asks the binary for help with a command line: it refuses commands and flags that it does not have.
func known(t *testing.T, args []string) {
	t.Helper()
	words := 1
	if args[0] == "ctl" {
		words = min(2, len(args))
	}
	help, err := exec.CommandContext(t.Context(), binary(t), append(args[:words:words], "--help")...).CombinedOutput()
	if err != nil || !strings.Contains(string(help), "Usage: sockeye "+strings.Join(args[:words], " ")) {
		t.Errorf("sockeye %s: %v\n%s", strings.Join(args, " "), err, help)
	}
	for _, arg := range args[words:] {
		if strings.HasPrefix(arg, "--") && !strings.Contains(string(help), arg) {
			t.Errorf("sockeye %s has no %s", strings.Join(args[:words], " "), arg)
		}
	}
}
