package main

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockeye-io/sockeye/internal/layout/bounds"
)

// TestBoundsTable holds the flags in docs/operations.md to those of `sockeye serve`: each sets the option in its row, and each
// flag of a bound has a row.
func TestBoundsTable(t *testing.T) {
	rows, err := bounds.Read("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, row := range rows {
		if (row.Flag == "") != (row.Option == "") {
			t.Errorf("%s: an option and a flag go together", row.What)
		}
		if row.Flag == "" {
			continue
		}
		told[row.Flag] = true
		var command serveCommand
		parser, err := kong.New(&command)
		if err != nil {
			t.Fatal(err)
		}
		value, want := "12345", int64(12345)
		if strings.Contains(row.Flag, "time") {
			value, want = "12345s", int64(12345*time.Second)
		}
		if _, err := parser.Parse([]string{"--" + row.Flag + "=" + value}); err != nil {
			t.Errorf("%s: %v", row.What, err)
			continue
		}
		opts := command.options(slog.New(slog.DiscardHandler))
		field := reflect.ValueOf(opts)
		for name := range strings.SplitSeq(row.Option, ".") {
			field = field.FieldByName(name)
		}
		if got := field.Int(); got != want {
			t.Errorf("--%s sets %s to %d, want %d", row.Flag, row.Option, got, want)
		}
	}
	flags, err := kong.New(&struct{ boundFlags }{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flags.Model.Flags {
		if f.Name != "help" && !told[f.Name] {
			t.Errorf("no row tells of --%s", f.Name)
		}
	}
}
