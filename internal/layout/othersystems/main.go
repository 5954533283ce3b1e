// Command othersystems checks the types of every package of the module, with its tests, as the compiler does for other systems:
//
//	go run ./internal/layout/othersystems darwin/arm64 windows/amd64 linux/386
//
// `go vet` for another system compiles the standard library and all dependencies for it first, minutes for each on a machine that has
// not done so before. This reads them as source and leaves out their function bodies, and needs seconds and no cache.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: othersystems GOOS/GOARCH ...")
		os.Exit(2)
	}
	failed := make([]error, len(os.Args)-1)
	var systems sync.WaitGroup
	for i, name := range os.Args[1:] {
		systems.Go(func() {
			if err := check(name); err != nil {
				failed[i] = fmt.Errorf("%s:\n%w", name, err)
			}
		})
	}
	systems.Wait()
	if err := errors.Join(failed...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// listed is a package as `go list` describes it. One with tests inside is a package of its own.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	ImportMap  map[string]string // what an import of the source means, where that is another path
	Module     *struct {
		Main      bool
		GoVersion string
	}
	Error *struct{ Err string }
}

func (p listed) own() bool { return p.Module != nil && p.Module.Main }

// testMain tells whether p is the main package of a test binary, whose source go makes when it builds it.
func (p listed) testMain() bool { return p.own() && strings.HasSuffix(p.ImportPath, ".test") }

func check(system string) error {
	goos, goarch, ok := strings.Cut(system, "/")
	sizes := types.SizesFor("gc", goarch)
	if !ok || sizes == nil {
		return errors.New("want GOOS/GOARCH")
	}
	packages, err := list(goos, goarch)
	if err != nil {
		return err
	}
	c := &checker{sizes: sizes, files: token.NewFileSet(), checked: map[string]*types.Package{"unsafe": types.Unsafe}}
	for _, pkg := range packages { // those that others import come first
		if !pkg.testMain() && pkg.ImportPath != "unsafe" {
			c.check(pkg)
		}
	}
	return errors.Join(c.failures...)
}

// list returns the packages of the module, their tests, and all that they import, each behind its imports.
func list(goos, goarch string) ([]listed, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-test", "-json=ImportPath,Dir,GoFiles,ImportMap,Module,Error", "./...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg listed
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		packages = append(packages, pkg)
	}
}

type checker struct {
	sizes    types.Sizes
	files    *token.FileSet
	checked  map[string]*types.Package // by the path of `go list`
	failures []error
}

func (c *checker) check(pkg listed) {
	if pkg.Error != nil {
		c.failures = append(c.failures, fmt.Errorf("%s: %s", pkg.ImportPath, pkg.Error.Err))
		return
	}
	var sources []*ast.File
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(c.files, filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			c.failures = append(c.failures, err)
			return
		}
		sources = append(sources, file)
	}
	config := types.Config{
		Importer:         imports{c, pkg.ImportMap},
		Sizes:            c.sizes,
		IgnoreFuncBodies: !pkg.own(),
		Error:            func(err error) { c.failures = append(c.failures, err) },
	}
	if pkg.Module != nil && pkg.Module.GoVersion != "" {
		config.GoVersion = "go" + pkg.Module.GoVersion
	}
	path, _, _ := strings.Cut(pkg.ImportPath, " ") // a variant for tests is "path [path.test]"
	c.checked[pkg.ImportPath], _ = config.Check(path, c.files, sources, nil)
}

// imports finds what the imports of one package mean.
type imports struct {
	c     *checker
	paths map[string]string
}

func (i imports) Import(path string) (*types.Package, error) {
	if meant, ok := i.paths[path]; ok {
		path = meant
	}
	if pkg := i.c.checked[path]; pkg != nil {
		return pkg, nil
	}
	return nil, fmt.Errorf("%s was not checked", path)
}
