package main

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"github.com/sockeye-io/sockeye/server/metrics"
)

// Units of Grafana.
const (
	unitSeconds   = "s"
	unitBytes     = "bytes"
	unitByteRate  = "Bps"
	unitRate      = "cps" // counts a second
	unitRatio     = "percentunit"
	unitCores     = "short"
	unitPlain     = "short"
	unitEachHour  = "short"
	rateWindow    = "[$__rate_interval]"
	theseInstance = `instance=~"$instance"`
)

// query is one expression of PromQL and what its lines are called.
type query struct{ expr, legend string }

// panel is one picture.
type panel struct {
	kind    string // "graph" (the default), "stat", "table"
	title   string
	about   string // what it tells, and what to do about it
	unit    string
	stacked bool
	warn    float64 // a stat turns red from here on; 0: never
	alarm   float64 // a stat turns red below this; 0: never
	queries []query
}

func (p panel) build(width uint32) cog.Builder[dashboard.Panel] {
	switch p.kind {
	case "stat":
		return p.stat(width)
	case "table":
		return p.table(width)
	}
	return p.graph(width)
}

func (p panel) graph(width uint32) cog.Builder[dashboard.Panel] {
	b := timeseries.NewPanelBuilder().Title(p.title).Description(p.about).Unit(p.unit).Min(0).Height(8).Span(width).
		Datasource(source()).
		LineWidth(1).FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.stacked {
		b.Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal)).FillOpacity(40)
	}
	for i, q := range p.queries {
		b.WithTarget(target(i, q))
	}
	return b
}

func (p panel) stat(width uint32) cog.Builder[dashboard.Panel] {
	b := stat.NewPanelBuilder().Title(p.title).Description(p.about).Unit(p.unit).Height(4).Span(width).
		Datasource(source()).
		GraphMode(common.BigValueGraphModeArea).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	if p.warn != 0 || p.alarm != 0 {
		b.Thresholds(p.thresholds()).ColorMode(common.BigValueColorModeBackground)
	}
	for i, q := range p.queries {
		b.WithTarget(target(i, q))
	}
	return b
}

func (p panel) thresholds() cog.Builder[dashboard.ThresholdsConfig] {
	from, below, above := p.warn, "green", "red"
	if p.alarm != 0 {
		from, below, above = p.alarm, "red", "green"
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
		Steps([]dashboard.Threshold{{Color: below}, {Value: &from, Color: above}})
}

func (p panel) table(width uint32) cog.Builder[dashboard.Panel] {
	b := table.NewPanelBuilder().Title(p.title).Description(p.about).Height(8).Span(width).Datasource(source())
	for i, q := range p.queries {
		b.WithTarget(target(i, q).Instant().Format(prometheus.PromQueryFormatTable))
	}
	return b
}

func target(i int, q query) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(q.expr).LegendFormat(q.legend).Datasource(source())
}

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// instances is the variable that chooses nodes.
func instances() cog.Builder[dashboard.VariableModel] {
	q := fmt.Sprintf("label_values(%s, instance)", metrics.NodeInfo)
	return dashboard.NewQueryVariableBuilder("instance").Label("Node").
		Query(dashboard.StringOrMap{String: &q}).Datasource(source()).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Multi(true).IncludeAll(true).AllValue(".*").
		Current(dashboard.VariableOption{
			Selected: cog.ToPtr(true),
			Text:     dashboard.StringOrArrayOfString{String: cog.ToPtr("All")},
			Value:    dashboard.StringOrArrayOfString{String: cog.ToPtr("$__all")},
		})
}

// of selects a metric on the chosen nodes; labels are further conditions such as `path="broker"`.
func of(metric string, labels ...string) string {
	return metric + "{" + strings.Join(append([]string{theseInstance}, labels...), ",") + "}"
}

// sum adds a gauge up, for each value of the labels.
func sum(metric string, by ...string) string { return aggregate("sum", of(metric), by) }

// perSecond is how much a counter grows in a second, for each value of the labels.
func perSecond(metric string, by ...string) string {
	return aggregate("sum", "rate("+of(metric)+rateWindow+")", by)
}

// perHour is how much a counter has grown in the last hour: for what should not happen at all.
func perHour(metric string, by ...string) string {
	return aggregate("sum", "increase("+of(metric)+"[1h])", by)
}

// quantile is that of a histogram, for each value of the labels.
func quantile(q float64, metric string, by ...string) string {
	buckets := aggregate("sum", "rate("+of(metric+"_bucket")+rateWindow+")", append([]string{"le"}, by...))
	return fmt.Sprintf("histogram_quantile(%v, %s)", q, buckets)
}

func aggregate(how, what string, by []string) string {
	if len(by) == 0 {
		return how + "(" + what + ")"
	}
	return how + " by (" + strings.Join(by, ", ") + ") (" + what + ")"
}

// quantiles are the lines of a histogram that one looks at.
func quantiles(metric string) []query {
	return []query{{quantile(0.5, metric), "half are faster"}, {quantile(0.99, metric), "99 %"}}
}

// one is a panel's only query.
func one(expr, legend string) []query { return []query{{expr, legend}} }
