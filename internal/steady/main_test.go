package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestGoesOn stops amid the runs: the next call does the rest, each once, and tells also what failed before.
func TestGoesOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var runs []string
	var out bytes.Buffer
	r := &runner{dir: filepath.Join(t.TempDir(), "commit"), packages: []tested{{".", "./server"}, {"deploy", "./grafana"}}, rounds: roundsOf(2), out: &out}
	r.test = func(_ context.Context, p tested, round round, output io.Writer) error {
		if len(runs) == 3 && ctx.Err() == nil {
			cancel()
			return errors.New("signal: interrupt")
		}
		runs = append(runs, p.String()+" "+round.name)
		_, _ = fmt.Fprintln(output, "the output")
		if p.String() == "server" && round.name == "busy-2" {
			return errors.New("exit status 1")
		}
		return nil
	}
	if err := r.run(ctx); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Fatalf("stopped: %v", err)
	}
	err := r.run(t.Context())
	if err == nil {
		t.Fatal("what failed before is forgotten")
	}
	var want []string
	for _, p := range r.packages {
		for _, round := range r.rounds {
			want = append(want, p.String()+" "+round.name)
		}
	}
	if !slices.Equal(runs, want) {
		t.Errorf("runs: %q", runs)
	}
	_, named, ok := strings.Cut(err.Error(), "server busy-2: ")
	if text, err := os.ReadFile(named); !ok || err != nil || string(text) != "the output\n" {
		t.Errorf("the output is %q, %v", text, err)
	}
	if files, err := filepath.Glob(filepath.Join(r.dir, "*.log")); err != nil || len(files) != 1 {
		t.Errorf("outputs %q, %v", files, err)
	}
	if err := r.run(t.Context()); err == nil || len(runs) != len(want) {
		t.Errorf("once more: %v, %d runs", err, len(runs))
	}
}

// TestNothingFails says so.
func TestNothingFails(t *testing.T) {
	var out bytes.Buffer
	r := &runner{dir: t.TempDir(), packages: []tested{{".", "./server"}}, rounds: roundsOf(1), out: &out}
	r.test = func(context.Context, tested, round, io.Writer) error { return nil }
	if err := r.run(t.Context()); err != nil || !strings.HasSuffix(out.String(), "all is steady\n") {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestChoose(t *testing.T) {
	all := []tested{{".", "./a"}, {".", "./b"}, {"deploy", "."}}
	for _, test := range []struct {
		from string
		only []string
		want string // empty if it is refused
	}{
		{"", nil, "[a b deploy]"}, {"b", nil, "[b deploy]"}, {"", []string{"deploy", "a"}, "[deploy a]"}, {"a", []string{"deploy", "a"}, "[a]"},
		{"c", nil, ""}, {"", []string{"c"}, ""}, {"b", []string{"a"}, ""},
	} {
		got, err := choose(all, test.from, test.only)
		if (err != nil) != (test.want == "") || err == nil && fmt.Sprint(got) != test.want {
			t.Errorf("from %q only %q: %v, %v", test.from, test.only, got, err)
		}
	}
}
