// Command bench measures Sockeye beside its peers: the same scenarios, driven by `sockeye bench`, against each server in
// turns, several times over. It writes the medians as a Markdown table (results.md), a plot (results.svg) and every single
// figure (results.json). `make bench-peers` runs it; docs/benchmarking.md describes the method. With -profiles it profiles
// Sockeye in each scenario instead (`make bench-profiles`).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are the program's flags.
type settings struct {
	clients int
	repeat  int
	only    []string // scenarios; empty for all
	servers []string // empty for all
	hold    time.Duration
	out     string
	sockeye string // the binary

	profiles    string // folder; "" to measure
	profileTime time.Duration
}

func main() {
	log.SetFlags(log.Ltime)
	var s settings
	flag.IntVar(&s.clients, "clients", 5000, "clients of a scenario, unless it needs another number")
	flag.IntVar(&s.repeat, "repeat", 3, "how often to measure each server in each scenario")
	flag.DurationVar(&s.hold, "hold", 10*time.Second, "time from the last connect until memory is read")
	flag.StringVar(&s.out, "out", ".", "folder for the results")
	flag.StringVar(&s.sockeye, "sockeye", "../bin/sockeye", "the binary to measure, and to measure with")
	flag.StringVar(&s.profiles, "profiles", "", "profile Sockeye instead, and write the results into this folder")
	flag.DurationVar(&s.profileTime, "profile-time", 8*time.Second, "how long each profile takes")
	only := flag.String("only", "", "scenarios, separated by commas; all by default")
	servers := flag.String("servers", "", "servers, separated by commas; all by default")
	flag.Parse()
	s.only, s.servers = list(*only), list(*servers)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	work := run
	if s.profiles != "" {
		work = runProfiles
	}
	if err := work(ctx, s); err != nil {
		log.Fatal(err)
	}
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// run measures everything and writes the results, also when ctx ends early: then those so far.
func run(ctx context.Context, s settings) error {
	tools, err := prepare(ctx, s)
	if err != nil {
		return err
	}
	defer tools.remove()
	book := newBook(machine(ctx, s.sockeye), s)
	for _, srv := range tools.servers {
		if srv.missing != "" && wanted(s.servers, srv.name) {
			log.Printf("%s is not measured: %s", srv.name, srv.missing)
			book.Missing[srv.name] = srv.missing
		}
	}
	for _, warning := range book.Machine.warnings() {
		log.Print("warning: ", warning)
	}
	for round := range s.repeat {
		for _, sc := range book.scenarios {
			if ctx.Err() != nil || !sc.wanted(s.only) {
				continue
			}
			log.Printf("round %d of %d: %s", round+1, s.repeat, sc.Name)
			measureAll(ctx, s, sc, round, tools, book)
		}
	}
	if err := write(s, book); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted; these are the results so far")
	}
	return nil
}

// measureAll measures each server in one scenario, and its floor. What fails is noted in the book.
func measureAll(ctx context.Context, s settings, sc scenario, round int, t *tools, book *book) {
	for i := range t.servers {
		srv := t.servers[(i+round)%len(t.servers)] // so that nobody is always first
		if !wanted(s.servers, srv.name) || srv.missing != "" || !srv.fits(sc) {
			continue
		}
		figures, err := measure(ctx, s, sc, srv, t)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Printf("%s, %s: %v", sc.Name, srv.name, err)
			book.fail(sc.Name, srv.name, err)
		default:
			log.Printf("  %s: %s %s", srv.name, number(figures[0], true), sc.rows[0].unit)
			book.add(sc.Name, srv.name, figures)
		}
	}
	if sc.floor == nil || !wanted(s.servers, floorName) {
		return
	}
	if err := measureFloor(ctx, t.floors, sc, book); err != nil && ctx.Err() == nil {
		log.Printf("%s, %s: %v", sc.Name, floorName, err)
		book.fail(sc.Name, floorName, err)
	}
}

func wanted(chosen []string, name string) bool {
	return len(chosen) == 0 || slices.Contains(chosen, name)
}

// wanted reports whether the scenario or one of its families is chosen.
func (sc scenario) wanted(chosen []string) bool {
	return wanted(chosen, sc.Name) || slices.ContainsFunc(sc.families, func(family string) bool { return wanted(chosen, family) })
}

// tools are the programs that a run needs, built into a folder of their own.
type tools struct {
	folder  string
	floors  string
	servers []server
	// Files of a certificate that nobody has signed, and of its key.
	cert, key string
}

func (t *tools) remove() { _ = os.RemoveAll(t.folder) }

func prepare(ctx context.Context, s settings) (*tools, error) {
	if _, err := os.Stat(s.sockeye); err != nil {
		return nil, fmt.Errorf("%w: `make build` makes it", err)
	}
	folder, err := os.MkdirTemp("", "sockeye-bench-")
	if err != nil {
		return nil, err
	}
	t := &tools{folder: folder, floors: filepath.Join(folder, "floors")}
	zishang := filepath.Join(folder, "zishang")
	for out, pkg := range map[string]string{t.floors: "./floors", zishang: "./peers/zishang"} {
		build := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			t.remove()
			return nil, fmt.Errorf("build %s: %w", pkg, err)
		}
	}
	if t.cert, t.key, err = certificate(folder); err != nil {
		t.remove()
		return nil, err
	}
	help, err := exec.CommandContext(ctx, s.sockeye, "serve", "--help").Output()
	if err != nil {
		t.remove()
		return nil, fmt.Errorf("%s serve --help: %w", s.sockeye, err)
	}
	own := programs{sockeye: s.sockeye, zishang: zishang, floors: t.floors, bun: findBun(ctx), redis: strings.Contains(string(help), "--redis")}
	if wanted(s.servers, rustServer) || wanted(s.servers, rustThread) {
		own.socketioxide = buildRust(ctx)
	}
	t.servers = servers(own)
	return t, nil
}

// findBun returns the Bun that npm has installed for this machine.
func findBun(ctx context.Context) program {
	path := filepath.Join("node_modules", ".bin", "bun")
	if err := exec.CommandContext(ctx, path, "--version").Run(); err != nil {
		return program{missing: fmt.Sprintf("Bun does not run here: %v", err)}
	}
	return program{path: path}
}

// buildRust builds the program for socketioxide, if there is a compiler. What it makes stays beside the source.
func buildRust(ctx context.Context) program {
	if _, err := exec.LookPath("cargo"); err != nil {
		return program{missing: "it is built with cargo, which is not installed (https://rustup.rs)"}
	}
	log.Print("building peers/socketioxide, which takes minutes the first time")
	cmd := exec.CommandContext(ctx, "cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", filepath.Join("peers", "socketioxide", "Cargo.toml"))
	if said, err := cmd.CombinedOutput(); err != nil {
		return program{missing: fmt.Sprintf("cargo build: %v: %s", err, said)}
	}
	return program{path: filepath.Join("peers", "socketioxide", "target", "release", "bench-socketioxide")}
}

// measureFloor runs one of the floors.
func measureFloor(ctx context.Context, program string, sc scenario, book *book) error {
	cmd := exec.CommandContext(ctx, program, sc.floor...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("floor %v: %w", sc.floor, err)
	}
	var floor struct {
		CPU    float64 `json:"cpu_us"`
		Memory float64 `json:"bytes_per_client"`
	}
	if err := json.Unmarshal(out, &floor); err != nil {
		return fmt.Errorf("floor %v: %w", sc.floor, err)
	}
	book.add(sc.Name, floorName, []float64{max(floor.CPU, floor.Memory)})
	return nil
}

func write(s settings, b *book) error {
	data, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"results.json": string(data) + "\n", "results.md": b.markdown(), "results.svg": b.plot(),
	} {
		if err := os.WriteFile(filepath.Join(s.out, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	log.Printf("results.md, results.svg and results.json are in %s", s.out)
	return nil
}
