package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// round is one way to test a package.
type round struct {
	name  string
	busy  bool // beside busy loops
	env   []string
	flags []string
}

func roundsOf(runs int) []round {
	var list []round
	for i := range runs {
		list = append(list, round{name: fmt.Sprint("busy-", i+1), busy: true})
	}
	return append(list,
		round{name: "one-processor", env: []string{"GOMAXPROCS=1"}},
		round{name: "cpu-4", flags: []string{"-cpu", "4"}},
		round{name: "shuffled", flags: []string{"-shuffle", "on"}},
	)
}

// modules are the directories of the modules of the repository. The tests of the first one run under the race detector, as in `make race`.
var modules = []string{".", "bench", "frameworks", "deploy"}

// tested is a package that has tests.
type tested struct {
	module string
	dir    string // in the module
}

func (p tested) String() string { return path.Join(p.module, p.dir) }

func testedPackages(ctx context.Context) (list []tested, err error) {
	for _, module := range modules {
		cmd := exec.CommandContext(ctx, "go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Module.Path}}{{end}}", "./...")
		cmd.Dir, cmd.Stderr = module, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list in %s: %w", module, err)
		}
		for line := range strings.Lines(string(out)) {
			pkg, root, _ := strings.Cut(strings.TrimSpace(line), " ")
			list = append(list, tested{module, "." + strings.TrimPrefix(pkg, root)})
		}
	}
	return list, nil
}

// sources names the state of the sources: the commit, and what was changed since.
func sources(ctx context.Context) (string, error) {
	commit, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "", fmt.Errorf("git rev-parse: %w", err)
	}
	changes, err := exec.CommandContext(ctx, "git", "diff", "HEAD").Output()
	if err != nil {
		return "", fmt.Errorf("git diff: %w", err)
	}
	name := strings.TrimSpace(string(commit))
	if len(changes) > 0 {
		sum := sha256.Sum256(changes)
		name += fmt.Sprintf("-%x", sum[:4])
	}
	return name, nil
}

// test tests a package once.
func test(ctx context.Context, p tested, r round, output io.Writer) error {
	args := []string{"test", "-count=1", "-timeout", "30m"}
	if p.module == "." {
		args = append(args, "-race")
	}
	args = append(append(args, r.flags...), p.dir)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.module, append(os.Environ(), r.env...), output, output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if r.busy {
		defer keepBusy()()
	}
	return cmd.Run()
}

// keepBusy takes more processors than there are, until the function is called that it returns.
func keepBusy() (stop func()) {
	loops := runtime.NumCPU() + 1
	before := runtime.GOMAXPROCS(loops + 1)
	var over atomic.Bool
	for range loops {
		go func() {
			for !over.Load() {
			}
		}()
	}
	return func() {
		over.Store(true)
		runtime.GOMAXPROCS(before)
	}
}
