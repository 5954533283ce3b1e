package main

import (
	"fmt"
	"slices"
	"strings"
)

// book collects the figures of a run.
type book struct {
	Machine  description                     `json:"machine"`
	Clients  int                             `json:"clients"`
	Repeat   int                             `json:"repeat"`
	Figures  map[string]map[string][]figures `json:"figures"`            // by scenario and server, in the order of measuring
	Failures map[string]string               `json:"failures,omitempty"` // by scenario and server
	Missing  map[string]string               `json:"missing,omitempty"`  // servers that could not be measured, and why

	scenarios []scenario
}

// figures are those of the scenario's rows, and for servers three more: connections lost, messages lost, messages that came
// twice or late.
type figures = []float64

func newBook(m description, s settings) *book {
	return &book{Machine: m, Clients: s.clients, Repeat: s.repeat, Figures: make(map[string]map[string][]figures),
		Failures: make(map[string]string), Missing: make(map[string]string), scenarios: scenarios(s)}
}

func (b *book) add(scenario, server string, f figures) {
	if b.Figures[scenario] == nil {
		b.Figures[scenario] = make(map[string][]figures)
	}
	b.Figures[scenario][server] = append(b.Figures[scenario][server], f)
}

func (b *book) fail(scenario, server string, err error) {
	b.Failures[scenario+", "+server] = err.Error()
}

// median returns the median of a row's figures for a server, false if there is none.
func (b *book) median(sc scenario, server string, row int) (float64, bool) {
	var list []float64
	for _, f := range b.Figures[sc.Name][server] {
		if row < len(f) {
			list = append(list, f[row])
		}
	}
	if len(list) == 0 {
		return 0, false
	}
	slices.Sort(list)
	middle := len(list) / 2
	m := list[middle]
	if len(list)%2 == 0 {
		m = (list[middle-1] + m) / 2
	}
	if server == floorName && sc.floor != nil && sc.rows[row].unit == "KB" {
		m /= 1000 // the program says bytes
	}
	return m, true
}

// floor returns the floor of a row, false if it has none.
func (b *book) floor(sc scenario, row int) (float64, bool) {
	return b.median(sc, floorName, row)
}

// goal returns the most that a row's goal allows a server, false if there is no goal for it.
func (b *book) goal(sc scenario, row int, server string) (float64, bool) {
	g := sc.rows[row].goal
	switch {
	case server != sockeyePoller && server != sockeyeGoroutines:
		return 0, false
	case g.none:
		return 0, true
	case g.perNode != nil:
		most, ok := g.perNode[server]
		return most, ok
	case g.floors > 0:
		floor, ok := b.floor(sc, row)
		return max(g.floors*floor, g.most), ok
	}
	return g.most, g.most > 0
}

// columns are those of the table between the goal and the floor; peers are those of them that are Socket.IO servers.
var (
	peers   = []string{sockeyePoller, sockeyeGoroutines, nodeReference, bunServer, rustServer, rustThread, zishangServer}
	columns = append(slices.Clone(peers), gobwasLoop, goroutineLoop)
)

// markdown is the report.
func (b *book) markdown() string {
	var t strings.Builder
	m := b.Machine
	fmt.Fprintf(&t, "# Sockeye beside its peers\n\nWritten by `make bench-peers CLIENTS=%d REPEAT=%d`; docs/benchmarking.md describes the method. Each figure is the\n"+
		"median of up to %d runs, the servers measured in turns. Lower is better. ", b.Clients, b.Repeat, b.Repeat)
	fmt.Fprintf(&t, "\"x\" is how many times Sockeye's figure the Node reference's is, \"ahead\" the Socket.IO server with the least.\n\n")
	for _, line := range [][2]string{
		{"date", m.Date}, {"machine", fmt.Sprintf("%s, %d cores, %.0f GB, %s; load average before the run %.2f", m.CPU, m.Cores, m.MemoryGB, m.Kernel, m.Load)},
		{"sockeye", m.Sockeye + ", " + m.Go}, {"node", "socket.io " + m.Socketio + ", Node " + m.Node}, {bunServer, "Bun " + m.Bun + ", @socket.io/bun-engine " + m.BunEngine},
		{rustServer, "socketioxide " + m.Rust + "; socketioxide-1 is the same on one thread"}, {"zishang520", "socket.io " + m.Zishang},
		{gobwasLoop, "a WebSocket server of net/http and gobwas/ws, without Socket.IO; " + goroutineLoop + " one of net alone, with a goroutine for each connection"},
	} {
		fmt.Fprintf(&t, "- %s: %s\n", line[0], line[1])
	}
	for _, w := range m.warnings() {
		fmt.Fprintf(&t, "\n**These figures are doubtful: %s.**\n", w)
	}
	t.WriteString("\n| what | unit | goal | " + strings.Join(columns, " | ") + " | floor | x | ahead |\n|---|---|---|" + strings.Repeat("---:|", len(columns)+2) + "---|\n")
	for _, sc := range b.scenarios {
		for i := range sc.rows {
			b.line(&t, sc, i)
		}
	}
	b.growth(&t)
	t.WriteString("\n![The same as a plot](results.svg)\n")
	b.losses(&t)
	return t.String()
}

func (b *book) line(t *strings.Builder, sc scenario, i int) {
	if len(b.Figures[sc.Name]) == 0 {
		return
	}
	row := sc.rows[i]
	fmt.Fprintf(t, "| %s | %s | %s |", row.title, row.unit, b.goalText(sc, i))
	for _, server := range columns {
		m, ok := b.median(sc, server, i)
		text := number(m, ok)
		if most, has := b.goal(sc, i, server); ok && has && m <= most {
			text = "**" + text + "**"
		}
		t.WriteString(" " + text + " |")
	}
	floor, ok := b.floor(sc, i)
	own, ok1 := b.median(sc, sockeyePoller, i)
	node, ok2 := b.median(sc, nodeReference, i)
	fmt.Fprintf(t, " %s | %s | %s |\n", number(floor, ok), number(node/own, ok1 && ok2 && own > 0), b.ahead(sc, i))
}

// ahead names the server with the lowest figure, if there are two to compare.
func (b *book) ahead(sc scenario, i int) string {
	first, least, measured := "-", 0.0, 0
	for _, server := range peers {
		m, ok := b.median(sc, server, i)
		if !ok {
			continue
		}
		if measured++; measured == 1 || m < least {
			first, least = server, m
		}
	}
	if measured < 2 {
		return "-"
	}
	return first
}

func (b *book) goalText(sc scenario, i int) string {
	g := sc.rows[i].goal
	switch {
	case g.none:
		return "0"
	case g.perNode != nil:
		text := fmt.Sprintf("%g", g.perNode[sockeyePoller])
		if most, ok := g.perNode[sockeyeGoroutines]; ok {
			text += fmt.Sprintf("; %g", most)
		}
		return text
	case g.floors > 0:
		most, ok := b.goal(sc, i, sockeyePoller)
		if g.most > 0 {
			return fmt.Sprintf("%g x floor, %g or more = %s", g.floors, g.most, number(most, ok))
		}
		return fmt.Sprintf("%g x floor = %s", g.floors, number(most, ok))
	case g.most > 0:
		return fmt.Sprintf("%g", g.most)
	}
	return ""
}

func number(v float64, ok bool) string {
	switch {
	case !ok:
		return "-"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// losses tells what did not arrive, which runs failed and what was not measured.
func (b *book) losses(t *strings.Builder) {
	t.WriteString("\nA figure in bold meets its goal. Over all runs but those that cut connections:\n\n" +
		"| server | runs | in order, once | none lost | connections lost or refused |\n|---|---:|---:|---:|---:|\n")
	all := append(slices.Clone(columns), floorName)
	for _, server := range all {
		var sum [3]float64
		runs := 0
		for _, sc := range b.scenarios {
			if sc.drops {
				continue
			}
			for _, f := range b.Figures[sc.Name][server] {
				if len(f) < len(sc.rows)+len(sum) {
					continue // a floor that has no messages
				}
				runs++
				for i := range sum {
					sum[i] += f[len(sc.rows)+i]
				}
			}
		}
		if runs > 0 {
			fmt.Fprintf(t, "| %s | %d | %s | %s | %.0f |\n", server, runs, yes(sum[2]), yes(sum[1]), sum[0])
		}
	}
	for _, server := range all {
		if why, missing := b.Missing[server]; missing {
			fmt.Fprintf(t, "\n%s was not measured: %s.\n", server, strings.Join(strings.Fields(why), " "))
		}
	}
	if len(b.Failures) > 0 {
		t.WriteString("\nRuns that failed:\n\n")
	}
	for _, sc := range b.scenarios {
		for _, server := range all {
			if why, failed := b.Failures[sc.Name+", "+server]; failed {
				fmt.Fprintf(t, "- %s, %s: %s\n", sc.Name, server, strings.Join(strings.Fields(why), " "))
			}
		}
	}
}

// yes is the cell that says that something never happened, or how often it did.
func yes(count float64) string {
	if count == 0 {
		return "yes"
	}
	return fmt.Sprintf("no, %.0f not", count)
}
