package main

import (
	"fmt"
	"html"
	"strings"
)

// Sizes of the plot, in pixels.
const (
	plotWidth  = 860
	labelWidth = 170
	barHeight  = 16
	barStep    = 20
	titleStep  = 34
)

var colours = map[string]string{
	sockeyePoller: "#0b7a75", sockeyeGoroutines: "#6fb7b3", nodeReference: "#c98a2b", bunServer: "#e3b778", rustServer: "#8c4a2f",
	rustThread: "#c08a72", zishangServer: "#8a8f98", gobwasLoop: "#b9bdc6", goroutineLoop: "#c9cdd4", floorName: "#d9dce1",
}

// plot draws a group of bars for each row of the table, each group on a scale of its own, with the goal as a line.
func (b *book) plot() string {
	var body strings.Builder
	y := 20
	for _, sc := range b.scenarios {
		for i := range sc.rows {
			y = b.group(&body, sc, i, y)
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, plotWidth, y, plotWidth, y, body.String())
}

// group draws one row at y and returns where the next begins.
func (b *book) group(w *strings.Builder, sc scenario, row, y int) int {
	type bar struct {
		name  string
		value float64
	}
	var bars []bar
	longest := 0.0
	for _, server := range columns {
		if m, ok := b.median(sc, server, row); ok {
			bars = append(bars, bar{server, m})
			longest = max(longest, m)
		}
	}
	if floor, ok := b.floor(sc, row); ok {
		bars = append(bars, bar{floorName, floor})
	}
	if longest == 0 {
		return y
	}
	room := float64(plotWidth - labelWidth - 80)
	fmt.Fprintf(w, `<text x="8" y="%d" font-weight="bold">%s (%s)</text>`+"\n", y, html.EscapeString(sc.rows[row].title), sc.rows[row].unit)
	top := y + 8
	var numbers strings.Builder // above the line of the goal
	for i, bar := range bars {
		at := top + i*barStep
		length := bar.value / longest * room
		fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n",
			labelWidth-8, at+12, bar.name, labelWidth, at, max(length, 1), barHeight, colours[bar.name])
		fmt.Fprintf(&numbers, `<text x="%.1f" y="%d" stroke="white" stroke-width="3" paint-order="stroke">%s</text>`+"\n",
			labelWidth+length+6, at+12, number(bar.value, true))
	}
	if goal, ok := b.goal(sc, row, sockeyePoller); ok && goal <= longest {
		x := labelWidth + goal/longest*room
		fmt.Fprintf(w, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#b3261e" stroke-dasharray="4 3"><title>goal</title></line>`+"\n",
			x, top-2, x, top+len(bars)*barStep-2)
	}
	w.WriteString(numbers.String())
	return top + len(bars)*barStep + titleStep
}
