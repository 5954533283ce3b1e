package load

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Drops says what came of connections that were lost on purpose.
type Drops struct {
	Count     int64   `json:"count"`           // connections lost
	Back      int64   `json:"back"`            // clients that came back
	Resumed   int64   `json:"resumed"`         // those whose session went on
	Failed    int64   `json:"failed_attempts"` // to come back; a later one may have succeeded
	Delivered float64 `json:"share_delivered"` // of the messages that were due, 0 to 1
	Share     float64 `json:"share_resumed"`   // of the connections lost, 0 to 1

	// From the moment from which there was a way to the server again, which the clients wait for longer if they reconnect as the npm
	// client does, until the answer to CONNECT.
	Resume *Percentiles `json:"resume,omitempty"`
	// The part of it from the attempt that succeeded, which dials.
	Answer *Percentiles `json:"answer,omitempty"`
	// From the same moment as Resume until a client whose session went on had the last message that it had missed.
	CaughtUp *Percentiles `json:"caught_up,omitempty"`
}

func newDrops(total *report, times []*hdrhistogram.Histogram) *Drops {
	return &Drops{
		Count: total.Drops, Back: total.Back, Resumed: total.Resumed, Failed: total.Again, Share: ratio(total.Resumed, total.Drops),
		Resume: percentiles(times[0]), Answer: percentiles(times[1]), CaughtUp: percentiles(times[2]),
	}
}

func ratio(part, whole int64) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}

// share notes how much of the messages has come.
func (d *Drops) share(m *Messages) {
	if d != nil {
		d.Delivered = ratio(m.Delivered, m.Expected)
	}
}

func (d *Drops) text() string {
	if d == nil {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\ndelivered\t%s of the messages that were due\n", percent(d.Delivered))
	fmt.Fprintf(w, "drops\t%d, after which %d came back, %d (%s) with their session; %d attempts failed\n", d.Count, d.Back, d.Resumed, percent(d.Share), d.Failed)
	w.Flush()
	return b.String()
}

// percent never rounds to 100 % what is less.
func percent(share float64) string {
	text := fmt.Sprintf("%.3f", share*100)
	if share < 1 && text == "100.000" {
		text = "99.999"
	}
	return text + " %"
}

// lines are those of the table of latencies.
func (d *Drops) lines() []latencyLine {
	if d == nil {
		return nil
	}
	return []latencyLine{{"drop's end to CONNECT", d.Resume}, {"attempt to CONNECT", d.Answer}, {"drop's end to caught up", d.CaughtUp}}
}

// latencyLine is one line of the table of latencies.
type latencyLine struct {
	name string
	p    *Percentiles
}
