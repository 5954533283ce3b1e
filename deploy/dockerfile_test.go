package deploy

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// builder runs the steps of a Dockerfile without an engine. What an image on a registry would bring, this machine does: a stage
// sees the machine's files, with a layer of its own above them that takes what it writes, and its cache mounts are the caches of
// whoever runs the test. A stage from scratch sees nothing.
type builder struct {
	t       *testing.T
	dir     string            // holds the context, a directory for each stage, and the layers
	context string            // what Docker would send to the engine
	stages  map[string]string // root of a stage, by name
	script  strings.Builder   // of the shell that has the mounts
	out     image
}

func buildImage(t *testing.T) *image {
	t.Helper()
	mustMount(t)
	file, err := os.Open("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	var warnings []string
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, text string, _ []parser.Range) { warnings = append(warnings, rule+": "+text) }})
	stages, args, err := instructions.Parse(parsed.AST, lint)
	if err != nil || len(args) > 0 || len(warnings) > 0 {
		t.Fatalf("%v, arguments in front of the first stage: %v, warnings: %v", err, args, warnings)
	}
	b := &builder{t: t, dir: t.TempDir(), stages: make(map[string]string)}
	b.context = filepath.Join(b.dir, "context")
	b.send()
	b.script.WriteString("set -e\nmount --make-rprivate /\n")
	for i, stage := range stages {
		b.stage(i, &stage)
	}
	output(t, b.dir, "unshare", "--mount", "bash", "-c", b.script.String())
	return &b.out
}

// send copies what Docker would send: the files of this working tree that .dockerignore leaves, and .git of a clone, since that of a
// linked working tree is only a pointer.
func (b *builder) send() {
	b.t.Helper()
	output(b.t, "..", "git", "clone", "--quiet", "--no-checkout", ".", b.context)
	output(b.t, b.context, "git", "reset", "--quiet")
	ignore, err := os.Open("../.dockerignore")
	if err != nil {
		b.t.Fatal(err)
	}
	defer ignore.Close()
	patterns, err := ignorefile.ReadAll(ignore)
	if err != nil {
		b.t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		b.t.Fatal(err)
	}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel("..", path)
		if name == "." {
			return nil
		}
		if name == ".git" || d.Name() == "node_modules" {
			return skip(d)
		}
		drop, err := ignored.MatchesOrParentMatches(name)
		if err != nil || drop {
			return err
		}
		return b.add(path, name, d)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// skip leaves out a file, or a directory with all that is in it.
func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return filepath.SkipDir
	}
	return nil
}

func (b *builder) add(from, name string, d fs.DirEntry) error {
	to := filepath.Join(b.context, name)
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		return os.MkdirAll(to, 0o755)
	case d.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case !d.Type().IsRegular():
		return nil // a socket of something that runs
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// quoted makes one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (b *builder) sh(format string, args ...any) { fmt.Fprintf(&b.script, format+"\n", args...) }

// toolchains are the base images that this machine can stand for, with the command that tells its version.
var toolchains = regexp.MustCompile(`^(node|golang):(\d+(?:\.\d+)?)-bookworm(-slim)?$`)

// stage adds the steps of one stage to the script.
func (b *builder) stage(number int, stage *instructions.Stage) {
	b.t.Helper()
	root := filepath.Join(b.dir, fmt.Sprint("stage-", number))
	b.stages[stage.Name] = root
	b.sh("mkdir -p %s", quoted(root))
	if stage.BaseName != "scratch" {
		if !toolchains.MatchString(stage.BaseName) {
			b.t.Fatalf("line %d: the test has nothing to stand for %s", stage.Location[0].Start.Line, stage.BaseName)
		}
		layer := root + "-layer"
		b.sh("mkdir -p %[1]s/files %[1]s/work\nmount -t overlay overlay -o lowerdir=/,upperdir=%[1]s/files,workdir=%[1]s/work %[2]s", quoted(layer), quoted(root))
		b.sh("mount --rbind /dev %[1]s/dev\nmount -t proc proc %[1]s/proc", quoted(root))
	} else {
		b.out = image{root: root}
	}
	s := &step{builder: b, root: root, workdir: "/", scratch: stage.BaseName == "scratch"}
	for _, command := range stage.Commands {
		s.run(command)
	}
}

// step is where a stage has come to.
type step struct {
	*builder
	root, workdir string
	scratch       bool
	env           []string
}

func (s *step) run(command instructions.Command) {
	s.t.Helper()
	line := command.Location()[0].Start.Line
	switch c := command.(type) {
	case *instructions.WorkdirCommand:
		s.workdir = path.Join("/", s.workdir, c.Path)
		if path.IsAbs(c.Path) {
			s.workdir = path.Clean(c.Path)
		}
		s.sh("mkdir -p %s", quoted(s.root+s.workdir))
	case *instructions.ArgCommand:
		for _, arg := range c.Args {
			value, known := map[string]string{"TARGETOS": "linux", "TARGETARCH": runtime.GOARCH}[arg.Key]
			if !known {
				s.t.Fatalf("line %d: the test has no value for %s", line, arg.Key)
			}
			s.env = append(s.env, arg.Key+"="+value)
		}
	case *instructions.EnvCommand:
		for _, pair := range c.Env {
			s.env = append(s.env, pair.String())
		}
		s.out.env = s.env
	case *instructions.CopyCommand:
		s.copy(c)
	case *instructions.RunCommand:
		s.exec(c)
	case *instructions.UserCommand:
		s.out.user = c.User
	case *instructions.ExposeCommand:
		s.out.ports = append(s.out.ports, c.Ports...)
	case *instructions.EntrypointCommand:
		s.out.entrypoint = c.CmdLine
	case *instructions.CmdCommand:
		s.out.cmd = c.CmdLine
	case *instructions.HealthCheckCommand:
		if len(c.Health.Test) == 0 || c.Health.Test[0] != "CMD" {
			s.t.Fatalf("line %d: the image has no shell for a health check: %q", line, c.Health.Test)
		}
		s.out.health = c.Health.Test[1:]
	case *instructions.LabelCommand, *instructions.StopSignalCommand:
	default:
		s.t.Fatalf("line %d: the test does not know %s", line, c.Name())
	}
}

// copy copies files into the destination, and of directories what is in them.
func (s *step) copy(c *instructions.CopyCommand) {
	from := s.context
	if c.From != "" {
		from = s.stages[c.From]
	}
	to := c.DestPath
	if !path.IsAbs(to) {
		to = path.Join(s.workdir, to)
	}
	s.sh("mkdir -p %s", quoted(s.root+to))
	for _, source := range c.SourcePaths {
		file := quoted(filepath.Join(from, source))
		s.sh("if [ -d %[1]s ]; then cp -a %[1]s/. %[2]s/; else cp -aL %[1]s %[2]s/; fi", file, quoted(s.root+to))
	}
}

// exec runs a command in the stage. Cache mounts are the machine's caches, at the places where its programs look for them.
func (s *step) exec(c *instructions.RunCommand) {
	s.t.Helper()
	if s.scratch || !c.PrependShell {
		s.t.Fatalf("line %d: there is no shell, or none is asked for", c.Location()[0].Start.Line)
	}
	if err := c.Expand(func(word string) (string, error) { return word, nil }); err != nil { // which reads the mounts
		s.t.Fatal(err)
	}
	for _, mount := range instructions.GetMounts(c) {
		var cache string
		switch mount.Target {
		case "/root/.npm":
			cache = output(s.t, "", "npm", "config", "get", "cache")
		case "/go/pkg/mod":
			cache = output(s.t, "", "go", "env", "GOMODCACHE")
		case "/root/.cache/go-build":
			cache = output(s.t, "", "go", "env", "GOCACHE")
		default:
			s.t.Fatalf("line %d: the test has nothing to mount at %s", c.Location()[0].Start.Line, mount.Target)
		}
		cache = quoted(strings.TrimSpace(cache))
		s.sh("mkdir -p %[1]s %[2]s%[1]s\nmountpoint -q %[2]s%[1]s || mount --bind %[1]s %[2]s%[1]s", cache, quoted(s.root))
	}
	env := make([]string, len(s.env))
	for i, pair := range s.env {
		env[i] = quoted(pair)
	}
	shell := "cd " + quoted(s.workdir) + " && " + strings.Join(c.CmdLine, " ")
	s.sh("chroot %s env %s /bin/sh -c %s", quoted(s.root), strings.Join(env, " "), quoted(shell))
}
