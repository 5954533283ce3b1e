package limits

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var number = regexp.MustCompile(`([0-9][0-9,]*)( MiB)?`)

// numbersOf reads the numbers of a cell in order.
func numbersOf(cell string) (all []float64) {
	for _, m := range number.FindAllStringSubmatch(cell, -1) {
		n, _ := strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
		if m[2] != "" {
			n *= 1 << 20
		}
		all = append(all, n)
	}
	return all
}

// TestLimitsTable holds the table in docs/operations.md to the code: options, what Public gives them, and counters. None is left out.
func TestLimitsTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Limits\n")
	section, _, _ = strings.Cut(section, "\n## ")
	public := reflect.ValueOf(*Public())
	hits := mustNew(t, nil).Stats()
	options, counters := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.Contains(cells[5], "`") {
			continue
		}
		option, counter := quoted(cells[3]), quoted(cells[5])
		options[option], counters[counter] = true, true
		if _, ok := hits[counter]; !ok {
			t.Errorf("%s: no counter %q", cells[1], counter)
		}
		field := public.FieldByName(option)
		if !field.IsValid() {
			t.Errorf("%s: no option %q", cells[1], option)
			continue
		}
		var want []float64
		switch v := field.Interface().(type) {
		case int:
			want = []float64{float64(v)}
		case Rate:
			want = []float64{v.PerSecond, float64(v.Burst)}
		}
		if got := numbersOf(cells[2]); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the table says %v, the preset %v", option, got, want)
		}
	}
	for name := range hits {
		if !counters[name] {
			t.Errorf("no row tells of the counter %s", name)
		}
	}
	for i := range public.NumField() {
		name := public.Type().Field(i).Name
		if !public.Field(i).IsZero() && name != "SameOrigin" && !options[name] {
			t.Errorf("no row tells of the option %s", name)
		}
	}
}

func quoted(cell string) string {
	_, rest, _ := strings.Cut(cell, "`")
	name, _, _ := strings.Cut(rest, "`")
	return name
}
