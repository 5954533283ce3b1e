package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is what a run has found. Times in the JSON form have their unit in the name.
type Result struct {
	Scenario    string    `json:"scenario"`
	Address     string    `json:"address"`
	Transport   string    `json:"transport"`
	Started     time.Time `json:"started"`
	Interrupted bool      `json:"interrupted,omitempty"` // before its end; what was under way is not counted as lost
	Clients     int       `json:"clients"`
	Processes   int       `json:"processes"`
	Size        int       `json:"size_bytes"`
	Copies      int       `json:"copies,omitempty"` // broadcasts of one round
	Seconds     float64   `json:"seconds"`          // that the measured part took
	PerSecond   float64   `json:"per_second"`       // messages, connects or cycles

	Connections Connections  `json:"connections"`
	Messages    Messages     `json:"messages"`
	Latency     *Percentiles `json:"latency,omitempty"` // of messages, from the sender to the receiver or back to the sender
	Connecting  *Percentiles `json:"connecting,omitempty"`
	Behind      *Percentiles `json:"behind,omitempty"` // how late this side sent what was to be sent at a fixed time; part of Latency
	Drops       *Drops       `json:"drops,omitempty"`  // nil in scenarios that lose no connections on purpose

	Server    *ServerUse `json:"server,omitempty"` // nil without a process to look at
	Via       *ServerUse `json:"via,omitempty"`    // of the node that broadcasts were asked of; operations are broadcasts
	ClientCPU float64    `json:"client_cpu_seconds"`

	Computed float64 `json:"computed_per_second,omitempty"` // Busy: what the server's computing got done, in its own units
}

// Connections counts the clients' connections.
type Connections struct {
	Opened  int64            `json:"opened"`
	Failed  int64            `json:"failed"`
	Lost    int64            `json:"lost"` // ended by the server or the network
	Reasons map[string]int64 `json:"reasons,omitempty"`
}

// Messages accounts for every message.
type Messages struct {
	Expected  int64 `json:"expected"`
	Delivered int64 `json:"delivered"`
	Lost      int64 `json:"lost"`
	Duplicate int64 `json:"duplicate"`
	Late      int64 `json:"late"`    // overtaken by a younger one of the same sender
	Foreign   int64 `json:"foreign"` // not of this run
}

// ServerUse is what the server's process needed, as the operating system tells.
type ServerUse struct {
	PID        int     `json:"pid"`
	CPUSeconds float64 `json:"cpu_seconds"` // of the measured part
	// Operations are deliveries, echoes, connects, cycles, or for Idle the seconds of a client.
	Operations   int64         `json:"operations"`
	CPUMicros    float64       `json:"cpu_us_per_operation"`
	Memory       []MemoryPoint `json:"memory"`
	PerClient    float64       `json:"bytes_per_client,omitempty"` // the slope of Memory
	PerClientGC  float64       `json:"bytes_per_client_after_gc,omitempty"`
	ResidentLast int64         `json:"resident_bytes"` // at the end
}

// MemoryPoint is the server's resident memory at a number of clients.
type MemoryPoint struct {
	Clients  int   `json:"clients"`
	Resident int64 `json:"resident_bytes"`
	AfterGC  int64 `json:"resident_bytes_after_gc,omitempty"`
}

// LossError says that the server did not do all it should.
type LossError struct{ Result *Result }

// Error says what is missing.
func (e *LossError) Error() string {
	m, c := e.Result.Messages, e.Result.Connections
	return fmt.Sprintf("%d messages lost, %d duplicate, %d out of order; %d connections lost, %d failed",
		m.Lost, m.Duplicate, m.Late, c.Lost, c.Failed)
}

// Err returns a *LossError unless every message has arrived once and in order and every connection has held, but for those that were
// lost on purpose, after which every client must have come back, at whichever attempt.
func (r *Result) Err() error {
	m, c := r.Messages, r.Connections
	away := int64(0)
	if r.Drops != nil {
		away = r.Drops.Count - r.Drops.Back
	}
	if away+m.Lost+m.Duplicate+m.Late+c.Lost+c.Failed > 0 {
		return &LossError{r}
	}
	return nil
}

// operation is the name of what Operations counts.
func (r *Result) operation() string {
	switch r.Scenario {
	case Idle:
		return "client and second"
	case Connects:
		return "client"
	case Echo, Sparse, Busy:
		return "echo"
	case Churn:
		return "cycle"
	case Joins:
		return "join and leave"
	}
	return "delivered message"
}

// Text is the result as a table.
func (r *Result) Text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	state := ""
	if r.Interrupted {
		state = ", interrupted"
	}
	row("scenario", "%s over %s to %s, %d clients in %d process(es)%s", r.Scenario, r.Transport, r.Address, r.Clients, r.Processes, state)
	row("connections", "%d opened, %d failed, %d lost", r.Connections.Opened, r.Connections.Failed, r.Connections.Lost)
	for _, reason := range slices.Sorted(maps.Keys(r.Connections.Reasons)) {
		row("", "%d x %s", r.Connections.Reasons[reason], reason)
	}
	if r.Messages.Expected > 0 {
		row("messages", "%d of %d delivered, %d lost, %d duplicate, %d out of order", r.Messages.Delivered, r.Messages.Expected,
			r.Messages.Lost, r.Messages.Duplicate, r.Messages.Late)
		if r.Messages.Foreign > 0 {
			row("", "%d of another run, which shares the server", r.Messages.Foreign)
		}
	}
	row("measured", "%.2f s, %.0f a second", r.Seconds, r.PerSecond)
	w.Flush()
	b.WriteString(r.Drops.text())
	b.WriteString(r.latencyText())
	b.WriteString(r.serverText())
	return b.String()
}

func (r *Result) latencyText() string {
	if r.Latency == nil && r.Connecting == nil {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nlatency in ms\tmean\tp50\tp90\tp99\tp99.9\tmax\tcount\t\n")
	lines := append([]latencyLine{{"message", r.Latency}, {"of it sent late", r.Behind}, {"connect to joined", r.Connecting}}, r.Drops.lines()...)
	for _, line := range lines {
		if p := line.p; p != nil {
			fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t\n", line.name, p.Mean, p.P50, p.P90, p.P99, p.P999, p.Max, p.Count)
		}
	}
	w.Flush()
	return b.String()
}

func (r *Result) serverText() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\n")
	if s := r.Server; s != nil {
		fmt.Fprintf(w, "server CPU\t%.2f s, %.2f us per %s\n", s.CPUSeconds, s.CPUMicros, r.operation())
		if r.Computed > 0 {
			fmt.Fprintf(w, "  beside it\t%.0f units of computing a second, whose CPU is included\n", r.Computed)
		}
		fmt.Fprintf(w, "server memory\t%.1f MB\n", float64(s.ResidentLast)/1e6)
		for _, p := range s.Memory {
			after := ""
			if p.AfterGC > 0 {
				after = fmt.Sprintf(", %.1f MB after a forced collection", float64(p.AfterGC)/1e6)
			}
			fmt.Fprintf(w, "  at %d clients\t%.1f MB%s\n", p.Clients, float64(p.Resident)/1e6, after)
		}
		if s.PerClient != 0 {
			fmt.Fprintf(w, "  per client\t%.2f KB\n", s.PerClient/1000)
		}
		if s.PerClientGC != 0 {
			fmt.Fprintf(w, "  after collection\t%.2f KB\n", s.PerClientGC/1000)
		}
	}
	if v := r.Via; v != nil {
		fmt.Fprintf(w, "CPU of the asked node\t%.2f s, %.2f us per broadcast\n", v.CPUSeconds, v.CPUMicros)
	}
	fmt.Fprintf(w, "generator CPU\t%.2f s\n", r.ClientCPU)
	w.Flush()
	return b.String()
}
