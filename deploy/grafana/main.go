// Command grafana writes the dashboards of this directory: `go run .` after a change. The schema is Grafana's, the names of the
// metrics are those of package metrics.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	for _, d := range dashboards() {
		text, err := encode(d)
		if err == nil {
			err = os.WriteFile(d.file(), text, 0o644)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", d.name, err)
			os.Exit(1)
		}
	}
}

// dashboards are all there are, in the order in which an operator opens them.
func dashboards() []board { return []board{overview(), node(), broker(), abuse()} }

// board is one dashboard.
type board struct {
	name  string // of its file, without .json, and the end of its uid
	title string
	about string
	rows  []row
}

// row is a heading and the panels below it, from left to right.
type row struct {
	title  string
	panels []panel
}

func (b board) file() string { return b.name + ".json" }

// build makes it what Grafana reads.
func (b board) build() (dashboard.Dashboard, error) {
	d := dashboard.NewDashboardBuilder("Sockeye: "+b.title).
		Uid("sockeye-"+b.name).
		Description(b.about).
		Tags([]string{"sockeye"}).
		Refresh("10s").
		Time("now-1h", "now").
		Timezone("browser").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Editable().
		Link(dashboard.NewDashboardLinkBuilder("Sockeye").Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{"sockeye"}).AsDropdown(false).KeepTime(true).IncludeVars(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus")).
		WithVariable(instances())
	for _, r := range b.rows {
		d.WithRow(dashboard.NewRowBuilder(r.title))
		for _, p := range r.panels {
			d.WithPanel(p.build(r.width()))
		}
	}
	return d.Build()
}

// width is that of each panel: a line has 24 columns and room for three graphs, or for all numbers of a row.
func (r row) width() uint32 {
	n := len(r.panels)
	if r.panels[0].kind == "stat" {
		return 24 / uint32(n)
	}
	if n == 4 {
		return 12
	}
	return 24 / uint32(min(n, 3))
}

func encode(b board) ([]byte, error) {
	d, err := b.build()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(d)
	return out.Bytes(), err
}
