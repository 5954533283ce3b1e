package outage

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var cost = flag.Bool("cost", false, "measure what messages between nodes cost with each adapter, and print the table of docs/brokers.md")

// TestCost sends a few messages with each adapter, or with -cost measures.
func TestCost(t *testing.T) {
	loads, lasting := []struct{ rate, burst int }{{200, 1}}, time.Second/2
	if *cost {
		loads, lasting = []struct{ rate, burst int }{{100, 1}, {1000, 1}, {20000, 20}, {20000, 1000}}, 5*time.Second
	}
	all := append(slices.Clip(flavours), embedded)
	if *cost {
		all = append(all, ordered, bare, bareLinger)
	}
	var table strings.Builder
	for _, f := range all {
		for _, l := range loads {
			t.Run(fmt.Sprintf("%s/%d a second in bursts of %d", f.Name, l.rate, l.burst), func(t *testing.T) {
				c := Measure(t, f, l.rate, l.burst, lasting)
				t.Logf("%+v", c)
				if c.P50 <= 0 || c.CPU <= 0 {
					t.Errorf("measured %+v", c)
				}
				fmt.Fprintf(&table, "| %s | %d | %d | %.2f / %.2f ms | %.1f us | %.1f us |\n", f.Name, l.rate, l.burst,
					c.P50.Seconds()*1e3, c.P99.Seconds()*1e3, c.CPU.Seconds()*1e6, c.Receiver.Seconds()*1e6)
			})
		}
	}
	if *cost {
		t.Logf("the table:\n%s", table.String())
	}
}
