// Command steady runs the Go tests again and again, package by package, as `make steady` does: beside busy loops, and with other
// numbers of processors and another order. It goes on where it was stopped, and says at the end what failed.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	runs := flag.Int("runs", 10, "how often each package is tested beside busy loops")
	from := flag.String("from", "", "begin with this package, as server/engine, whatever was done before it")
	only := flag.String("packages", "", "test these packages alone, separated by spaces")
	state := flag.String("state", "bin/steady", "directory for what was done and for the output of what failed")
	list := flag.Bool("list", false, "print the packages")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *runs, *from, strings.Fields(*only), *state, *list); err != nil {
		fmt.Fprintln(os.Stderr, "steady:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, runs int, from string, only []string, state string, list bool) error {
	packages, err := testedPackages(ctx)
	if err != nil {
		return err
	}
	if packages, err = choose(packages, from, only); err != nil {
		return err
	}
	if list {
		for _, p := range packages {
			fmt.Println(p)
		}
		return nil
	}
	commit, err := sources(ctx)
	if err != nil {
		return err
	}
	r := &runner{dir: filepath.Join(state, commit), packages: packages, rounds: roundsOf(runs), test: test, out: os.Stdout}
	return r.run(ctx)
}

// choose returns the packages that are named, or those from one on.
func choose(all []tested, from string, only []string) ([]tested, error) {
	chosen := all
	if len(only) > 0 {
		chosen = nil
		for _, name := range only {
			i := slices.IndexFunc(all, func(p tested) bool { return p.String() == name })
			if i < 0 {
				return nil, fmt.Errorf("there is no package %q with tests", name)
			}
			chosen = append(chosen, all[i])
		}
	}
	if from == "" {
		return chosen, nil
	}
	i := slices.IndexFunc(chosen, func(p tested) bool { return p.String() == from })
	if i < 0 {
		return nil, fmt.Errorf("there is no package %q with tests to begin with", from)
	}
	return chosen[i:], nil
}

// runner tests each package in each round, and notes what it has done.
type runner struct {
	dir      string // of one state of the sources
	packages []tested
	rounds   []round
	test     func(ctx context.Context, p tested, r round, output io.Writer) error
	out      io.Writer
}

// outcome is a line of the file "done".
type outcome struct {
	pkg, round string
	failed     bool
}

// run does what was not done before. An error says that something failed, then or now.
func (r *runner) run(ctx context.Context) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(r.dir, "done")
	before, err := readOutcomes(path)
	if err != nil {
		return err
	}
	if len(before) > 0 {
		fmt.Fprintf(r.out, "%d runs were done before, see %s; remove it to begin anew\n", len(before), path)
	}
	done, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer done.Close()
	var failures []string
	for _, p := range r.packages {
		for _, round := range r.rounds {
			o := outcome{pkg: p.String(), round: round.name}
			i := slices.IndexFunc(before, func(b outcome) bool { return b.pkg == o.pkg && b.round == o.round })
			if i >= 0 {
				o = before[i]
			} else if o.failed, err = r.one(ctx, p, round); err != nil {
				return err
			} else if _, err := fmt.Fprintln(done, o); err != nil {
				return err
			}
			if o.failed {
				failures = append(failures, fmt.Sprintf("%s %s: %s", o.pkg, o.round, r.outputOf(p, round)))
			}
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d runs failed, whose output is in\n%s", len(failures), strings.Join(failures, "\n"))
	}
	fmt.Fprintln(r.out, "all is steady")
	return nil
}

// one tests a package once. The output of what fails stays. An error says that nobody knows.
func (r *runner) one(ctx context.Context, p tested, round round) (failed bool, err error) {
	path := r.outputOf(p, round)
	output, err := os.Create(path)
	if err != nil {
		return false, err
	}
	began := time.Now()
	err = errors.Join(r.test(ctx, p, round, output), output.Close())
	took := time.Since(began).Round(100 * time.Millisecond)
	switch {
	case ctx.Err() != nil:
		return false, errors.New("stopped; the next call goes on here")
	case err != nil:
		fmt.Fprintf(r.out, "FAIL %s %s %v: %v, see %s\n", p, round.name, took, err, path)
		return true, nil
	}
	fmt.Fprintf(r.out, "ok   %s %s %v\n", p, round.name, took)
	return false, os.Remove(path)
}

func (r *runner) outputOf(p tested, round round) string {
	return filepath.Join(r.dir, strings.ReplaceAll(p.String(), "/", "-")+"."+round.name+".log")
}

func (o outcome) String() string {
	result := "ok"
	if o.failed {
		result = "FAIL"
	}
	return o.pkg + " " + o.round + " " + result
}

func readOutcomes(path string) (list []outcome, err error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: cannot read %q", path, lines.Text())
		}
		list = append(list, outcome{fields[0], fields[1], fields[2] != "ok"})
	}
	return list, lines.Err()
}
