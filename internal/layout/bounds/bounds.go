// Package bounds reads the table of bounds in docs/operations.md, so that tests can hold it to the code.
package bounds

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Row is one bound, as the table writes it.
type Row struct {
	What     string
	Default  string
	Option   string // of server.Options; those of the connections begin with "Engine."; "" for a fixed bound
	Flag     string // without its hyphens; "" without
	Counters []string
}

// Read returns the rows of all tables with bounds in a document: those with the columns of Row and, before the counters, what
// happens.
func Read(path string) ([]Row, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 || strings.HasPrefix(cells[0], " ---") || strings.TrimSpace(cells[1]) == "default" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		row := Row{What: cells[0], Default: cells[1], Option: code(cells[2]), Flag: strings.TrimPrefix(code(cells[3]), "--")}
		for part := range strings.SplitSeq(cells[5], ",") {
			if name := code(part); name != "" {
				row.Counters = append(row.Counters, name)
			}
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("read %s: no table of bounds", path)
	}
	return rows, nil
}

// code returns what stands between backquotes, "" if nothing does.
func code(cell string) string {
	_, rest, _ := strings.Cut(cell, "`")
	name, _, _ := strings.Cut(rest, "`")
	return name
}

// Number reads a default: a number, a size such as "16 KiB" or a duration such as "45 s", in nanoseconds. What follows a comma
// and a space does not count. A share of the memory is told by ok false.
func Number(cell string) (n int64, ok bool, err error) {
	first, _, _ := strings.Cut(cell, ", ")
	if strings.Contains(first, "memory") {
		return 0, false, nil
	}
	digits, unit, _ := strings.Cut(first, " ")
	if n, err = strconv.ParseInt(strings.ReplaceAll(digits, ",", ""), 10, 64); err != nil {
		return 0, false, err
	}
	factor, known := map[string]int64{
		"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "bytes": 1, "s": int64(time.Second), "min": int64(time.Minute),
	}[unit]
	if !known {
		return 0, false, fmt.Errorf("unknown unit %q", unit)
	}
	return n * factor, true, nil
}
