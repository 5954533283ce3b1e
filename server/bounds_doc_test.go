package server

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/layout/bounds"
)

// TestBoundsTable holds docs/operations.md to the code: what it calls an option is one, with the default that it names, and
// what it calls a counter is one. No limit is left out.
func TestBoundsTable(t *testing.T) {
	rows, err := bounds.Read("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	st := srv.Stats()
	defaults, _ := (*Options)(nil).settings()
	var counted []string
	for _, row := range rows {
		counted = append(counted, row.Counters...)
		if len(row.Counters) == 0 {
			t.Errorf("%s: no counter", row.What)
		}
		for _, name := range row.Counters {
			_, own := st.Limits[name]
			_, engine := st.Engine.Limits[name]
			if !own && !engine && !fieldOf(reflect.ValueOf(st), name).IsValid() {
				t.Errorf("%s: Stats has no counter %s", row.What, name)
			}
		}
		if row.Option == "" {
			continue
		}
		value := fieldOf(reflect.ValueOf(defaults), row.Option)
		if !value.IsValid() {
			t.Errorf("%s: Options has no %s", row.What, row.Option)
			continue
		}
		if strings.HasPrefix(row.Option, "Engine.") {
			continue // package engine knows the defaults
		}
		if want, ok, err := bounds.Number(row.Default); err != nil || ok && value.Int() != want {
			t.Errorf("%s: the default of %s is %v, not %s (%v)", row.What, row.Option, value, row.Default, err)
		}
	}
	for name := range st.Limits {
		if !slices.Contains(counted, name) {
			t.Errorf("no row tells of the limit %q", name)
		}
	}
	for name := range st.Engine.Limits {
		if !slices.Contains(counted, name) {
			t.Errorf("no row tells of the connections' limit %q", name)
		}
	}
	options := reflect.TypeFor[Options]()
	for i := range options.NumField() {
		name := options.Field(i).Name
		if strings.HasPrefix(name, "Max") && !slices.ContainsFunc(rows, func(r bounds.Row) bool { return r.Option == name }) {
			t.Errorf("no row tells of the option %s", name)
		}
	}
}

// fieldOf finds a field by its path.
func fieldOf(v reflect.Value, path string) reflect.Value {
	for name := range strings.SplitSeq(path, ".") {
		if v = v.FieldByName(name); !v.IsValid() {
			return v
		}
	}
	return v
}
