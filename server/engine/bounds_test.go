package engine

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/layout/bounds"
	"github.com/sockeye-io/sockeye/internal/memlimit"
)

// TestBoundsTable holds the defaults in docs/operations.md to those of the connections, and each bound of theirs to have a row.
func TestBoundsTable(t *testing.T) {
	rows, err := bounds.Read("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	share := memlimit.Bytes() / 4
	cfg, err := newSettings(nil)
	if err != nil {
		t.Fatal(err)
	}
	var options []string
	for _, row := range rows {
		name, ok := strings.CutPrefix(row.Option, "Engine.")
		if !ok {
			continue
		}
		options = append(options, name)
		got := reflect.ValueOf(cfg.Options).FieldByName(name)
		if !got.IsValid() {
			t.Errorf("%s: Options has no %s", row.What, name)
			continue
		}
		want, fixed, err := bounds.Number(row.Default)
		switch {
		case err != nil:
			t.Errorf("%s: %v", row.What, err)
		case !fixed:
			want = max(minStateTotal, share)
		case strings.Contains(row.Default, "at most a quarter of the memory"):
			want = min(want, share)
		case strings.Contains(row.Default, "at most half of that of all"):
			want = min(want, cfg.OutboxTotal/2)
		case strings.Contains(row.Default, "less in small memory"):
			want = min(want, got.Int())
		}
		if err == nil && got.Int() != want {
			t.Errorf("%s: the default of %s is %v, not %s", row.What, name, got, row.Default)
		}
	}
	all := reflect.TypeFor[Options]()
	for i := range all.NumField() {
		name := all.Field(i).Name
		bound := strings.HasPrefix(name, "Max") || strings.HasPrefix(name, "Outbox") || strings.HasSuffix(name, "Total")
		if bound && !slices.Contains(options, name) {
			t.Errorf("no row tells of the option %s", name)
		}
	}
}
