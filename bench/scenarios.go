package main

import (
	"fmt"
	"slices"
	"strconv"
)

// scenario is one run of `sockeye bench`, out of which come the figures of one or more rows of the table.
type scenario struct {
	Name     string
	families []string // that it is chosen by, beside its name
	flags    []string // of `sockeye bench`
	nodes    int      // of a cluster that the clients are spread over; 0 is one node
	broker   string   // between them
	cluster  bool     // clients on one node, broadcasts asked of another
	drops    bool     // connections are lost on purpose: what is lost with them is a row of the table, not a fault
	recover  bool     // the server keeps sessions for connection state recovery
	tls      bool
	echoes   bool     // echoes are all that it asks for, so that the bare loops run it too; the hot one is its floor
	floor    []string // arguments of the program floors, nil for none; it belongs to the first row
	rows     []row
}

// row is one line of the table; lower is better in all of them.
type row struct {
	title string
	unit  string
	goal  goal
	value func(result) float64
}

// goal is what the project asks of Sockeye: a number in the row's unit, or a multiple of
// the floor. The zero value is none.
type goal struct {
	most    float64
	none    bool               // nothing at all
	perNode map[string]float64 // instead of most, by the server's name
	floors  float64
}

// result is the part of `sockeye bench`'s JSON that is of use here.
type result struct {
	Latency *struct {
		P50  float64 `json:"p50_ms"`
		P99  float64 `json:"p99_ms"`
		P999 float64 `json:"p999_ms"`
	}
	Connections struct{ Opened, Failed, Lost int64 }
	Messages    struct{ Expected, Delivered, Lost, Duplicate, Late int64 }
	Drops       struct {
		Delivered float64 `json:"share_delivered"`
		Resumed   float64 `json:"share_resumed"`
		Answer    struct {
			P99 float64 `json:"p99_ms"`
		}
	}
	Server struct {
		CPU      float64 `json:"cpu_us_per_operation"`
		Memory   float64 `json:"bytes_per_client"`
		MemoryGC float64 `json:"bytes_per_client_after_gc"`
	}
	Via struct {
		CPU float64 `json:"cpu_us_per_operation"`
	}
}

func cpu(r result) float64 { return r.Server.CPU }

func p50(r result) float64 {
	if r.Latency == nil {
		return 0
	}
	return r.Latency.P50
}

func p99(r result) float64 {
	if r.Latency == nil {
		return 0
	}
	return r.Latency.P99
}

func p999(r result) float64 {
	if r.Latency == nil {
		return 0
	}
	return r.Latency.P999
}

// missing and anew are what is not delivered, and how many clients start anew, in hundredths.
func missing(r result) float64 { return 100 * (1 - r.Drops.Delivered) }

func anew(r result) float64 { return 100 * (1 - r.Drops.Resumed) }

// large are broadcasts and relays of binary attachments.
func large() []scenario {
	var list []scenario
	for _, s := range []struct {
		name     string
		size     int
		rounds   int
		messages int
	}{{"20k", 20_000, 200, 5000}, {"1m", 1_000_000, 15, 300}} {
		flags := []string{"--binary", "--clients=50", fmt.Sprintf("--size=%d", s.size)}
		title := fmt.Sprintf("%d KB of binary", s.size/1000)
		list = append(list,
			scenario{Name: "large-broadcast-" + s.name, flags: append(flags[:3:3], "--scenario=single", "--warmup=3", fmt.Sprintf("--rounds=%d", s.rounds)), rows: []row{
				{"CPU per delivered message, broadcast of " + title, "us", goal{}, cpu},
				{"broadcast of " + title + ": p99 latency", "ms", goal{}, p99},
			}},
			scenario{Name: "large-relay-" + s.name, flags: append(flags[:3:3], "--scenario=targeted", "--in-flight=4", "--warmup=20", fmt.Sprintf("--messages=%d", s.messages)),
				rows: []row{
					{"CPU per message from client to client, " + title, "us", goal{}, cpu},
					{"from client to client, " + title + ": p99 latency", "ms", goal{}, p99},
				}})
	}
	return list
}

// growth is the cost of a message from client to client as the clients become more.
func growth(n int) []scenario {
	var list []scenario
	for _, clients := range []int{n / 50, n / 5, n * 2, n * 19 / 5} { // 100, 1,000, 10,000 and 19,000 with the usual number
		processes := 1
		if clients > 2*n {
			processes = 4
		}
		list = append(list, scenario{Name: fmt.Sprintf("growth-%d", clients), families: []string{"growth"}, flags: []string{"--scenario=targeted", fmt.Sprintf("--clients=%d", max(clients, 2)),
			"--in-flight=100", fmt.Sprintf("--messages=%d", max(20*n, 50_000)), "--warmup=5000", fmt.Sprintf("--processes=%d", processes)}, rows: []row{
			{fmt.Sprintf("CPU per message from client to client, %d clients", clients), "us", goal{}, cpu},
			{fmt.Sprintf("from client to client, %d clients: p99 latency", clients), "ms", goal{}, p99},
		}})
	}
	return list
}

// open are the scenarios in which 200 clients send at a fixed rate, beside idle ones and, the busy ones, beside what the server computes:
// their CPU includes that, so that only latencies tell something.
func open(n int) []scenario {
	idle, seconds := n*2/5, 20
	if n < 1000 {
		seconds = 5
	}
	flags := func(what string, rate int) []string {
		return []string{"--scenario=" + what, fmt.Sprintf("--clients=%d", 200+idle), fmt.Sprintf("--message-rate=%d", rate),
			fmt.Sprintf("--duration=%ds", seconds), fmt.Sprintf("--warmup=%d", rate)}
	}
	var list []scenario
	for _, s := range []struct {
		rate int
		goal goal
	}{{100, goal{}}, {500, goal{floors: 1.4, most: 32}}, {2000, goal{floors: 1.4, most: 19}}, {8000, goal{floors: 1.4, most: 12}}} {
		title := fmt.Sprintf("%d echoes a second beside %d idle clients", s.rate, idle)
		list = append(list, scenario{Name: fmt.Sprintf("sparse-%d", s.rate), echoes: true, flags: flags("sparse", s.rate), rows: []row{
			{"CPU per echo, " + title, "us", s.goal, cpu},
			{title + ": p50 latency", "ms", goal{}, p50},
			{title + ": p99 latency", "ms", goal{}, p99},
			{title + ": p99.9 latency", "ms", goal{}, p999},
		}})
	}
	for _, s := range []struct {
		rate int
		goal goal
	}{{500, goal{floors: 1.5}}, {2000, goal{}}} {
		title := fmt.Sprintf("%d echoes a second beside %d idle clients and 2 computing threads", s.rate, idle)
		list = append(list, scenario{Name: fmt.Sprintf("busy-%d", s.rate), echoes: true, flags: flags("busy", s.rate), rows: []row{
			{title + ": p50 latency", "ms", goal{}, p50},
			{title + ": p99 latency", "ms", s.goal, p99},
			{title + ": p99.9 latency", "ms", goal{}, p999},
		}})
	}
	for _, clients := range []int{min(512, n), min(16_384, 3*n)} {
		title := fmt.Sprintf("%d connections with one message in flight each", clients)
		list = append(list, scenario{Name: fmt.Sprintf("echo-%d", clients), echoes: true,
			flags: []string{"--scenario=echo", fmt.Sprintf("--clients=%d", clients), "--processes=4", fmt.Sprintf("--messages=%d", max(20*n, 50_000)), "--warmup=5000"},
			rows: []row{
				{"CPU per echo, " + title, "us", goal{floors: 1.3}, cpu},
				{title + ": p99 latency", "ms", goal{}, p99},
			}})
	}
	return list
}

// dropping are the scenarios in which connections are lost, with and without recovery. Messages go to all clients; in the last, in
// which there are as many rooms as clients, to one: most clients have received nothing yet when their connection is lost.
func dropping(n int) []scenario {
	var list []scenario
	for _, what := range []string{"jitter", "avalanche"} {
		flags := []string{"--scenario=" + what, "--clients=" + strconv.Itoa(n), "--message-rate=4", "--duration=30s"}
		list = append(list, scenario{Name: what, drops: true, flags: flags, rows: []row{
			{what + ", without recovery: messages not delivered", "%", goal{}, missing},
		}}, scenario{Name: what + "-recovery", drops: true, recover: true, flags: flags, rows: []row{
			{what + " with recovery: messages not delivered", "%", goal{none: true}, missing},
			{what + " with recovery: clients that start anew", "%", goal{none: true}, anew},
			{what + " with recovery: p99 from the attempt to connect to CONNECT", "ms", goal{most: 1000}, func(r result) float64 { return r.Drops.Answer.P99 }},
		}})
	}
	single := []string{"--scenario=jitter", "--clients=" + strconv.Itoa(n), "--rooms=" + strconv.Itoa(n), "--message-rate=" + strconv.Itoa(max(n/20, 1)), "--duration=30s"}
	return append(list, scenario{Name: "jitter-single", drops: true, recover: true, flags: single, rows: []row{
		{"jitter with recovery, messages to one client: not delivered", "%", goal{none: true}, missing},
	}})
}

// kilobytes are 1,000 bytes, as in the goals.
func kilobytes(bytes func(result) float64) func(result) float64 {
	return func(r result) float64 { return bytes(r) / 1000 }
}

// scenarios returns what is measured with so many clients. Numbers of rounds are such that the server works for a second or
// more, because the system counts its CPU in steps of 10 ms.
func scenarios(s settings) []scenario {
	n := s.clients
	few, many := n*2/5, n*2
	clients := "--clients=" + strconv.Itoa(n)
	return append([]scenario{
		{Name: "idle", flags: []string{"--scenario=idle", fmt.Sprintf("--steps=%d,%d", few, many), "--hold=" + s.hold.String()},
			floor: []string{"-what=accept", fmt.Sprintf("-clients=%d", few), fmt.Sprintf("-more=%d", many), "-hold=" + s.hold.String()},
			rows: []row{
				{fmt.Sprintf("memory per idle client, slope between %d and %d", few, many), "KB",
					goal{perNode: map[string]float64{sockeyePoller: 4.5, sockeyeGoroutines: 8}}, kilobytes(func(r result) float64 { return r.Server.Memory })},
			}},
		// A run of its own, because a collection at the first step would flatter what is read at the second.
		{Name: "idle-gc", flags: []string{"--scenario=idle", fmt.Sprintf("--steps=%d,%d", few, many), "--gc", "--hold=1s"},
			rows: []row{
				{"memory per idle client after a forced collection", "KB",
					goal{perNode: map[string]float64{sockeyePoller: 3.5, sockeyeGoroutines: 6.5}}, kilobytes(func(r result) float64 { return r.Server.MemoryGC })},
			}},
		{Name: "idle-tls", tls: true, flags: []string{"--scenario=idle", fmt.Sprintf("--steps=%d,%d", few, many), "--hold=" + s.hold.String()},
			rows: []row{
				{"TLS in the process: memory per idle client", "KB",
					goal{perNode: map[string]float64{sockeyePoller: 12}}, kilobytes(func(r result) float64 { return r.Server.Memory })},
			}},
		{Name: "burst", flags: []string{"--scenario=burst", clients, "--copies=100", "--rounds=20", "--warmup=3"},
			floor: []string{"-what=batch", fmt.Sprintf("-clients=%d", n)},
			rows: []row{
				{"CPU per delivered message, bursts of 100 broadcasts of 64 B", "us", goal{most: 1.5}, cpu},
				{"bursts: p99 latency of a delivery", "ms", goal{}, p99},
			}},
		{Name: "single", flags: []string{"--scenario=single", clients, "--rounds=60", "--warmup=5"},
			floor: []string{"-what=write", fmt.Sprintf("-clients=%d", n)},
			rows: []row{
				{"CPU per delivered message, one broadcast at a time", "us", goal{floors: 1.25}, cpu},
				{"single broadcasts: p99 latency of a delivery", "ms", goal{}, p99},
			}},
		{Name: "echo", echoes: true, flags: []string{"--scenario=echo", "--clients=50", "--messages=" + strconv.Itoa(max(20*n, 50_000)), "--warmup=5000"},
			rows: []row{
				{"CPU per echo, 50 clients, 64 B", "us", goal{floors: 1.3}, cpu},
				{"echo: p99 latency", "ms", goal{}, p99},
			}},
		{Name: "connect", flags: []string{"--scenario=connect", clients},
			floor: []string{"-what=upgrade", fmt.Sprintf("-clients=%d", n)},
			rows:  []row{{"CPU from connect to joined", "us", goal{floors: 1.4}, cpu}}},
		{Name: "targeted", flags: []string{"--scenario=targeted", clients, "--messages=" + strconv.Itoa(max(10*n, 50_000)), "--warmup=5000"},
			rows: []row{{"CPU per message from client to client", "us", goal{}, cpu}}},
		{Name: "churn", flags: []string{"--scenario=churn", "--clients=" + strconv.Itoa(max(n/5, 1)), "--messages=" + strconv.Itoa(max(n, 2000))},
			rows: []row{{"CPU per leave, connect, join and echo", "us", goal{}, cpu}}},
		{Name: "polling-idle", flags: []string{"--transport=polling", "--scenario=idle", fmt.Sprintf("--steps=%d,%d", max(n/10, 1), max(n/2, 2)), "--hold=" + s.hold.String()},
			rows: []row{{"polling: memory per idle client", "KB", goal{most: 15}, kilobytes(func(r result) float64 { return r.Server.Memory })}}},
		{Name: "polling-burst", flags: []string{"--transport=polling", "--scenario=burst", "--clients=" + strconv.Itoa(max(n/5, 1)), "--copies=100", "--rounds=20", "--warmup=3"},
			rows: []row{{"polling: CPU per delivered message, bursts of 100", "us", goal{}, cpu}}},
		{Name: "polling-echo", flags: []string{"--transport=polling", "--scenario=echo", "--clients=50", "--messages=" + strconv.Itoa(max(2*n, 5000)), "--warmup=1000"},
			rows: []row{{"polling: CPU per echo, 50 clients", "us", goal{}, cpu}}},
		{Name: "cluster-burst", cluster: true, flags: []string{"--scenario=burst", clients, "--copies=100", "--rounds=20", "--warmup=3"},
			rows: []row{
				{"cluster (classic Redis): CPU per delivered message at the receiving node, bursts of 100", "us", goal{most: 1.6}, cpu},
			}},
		// Few clients, so that there can be many broadcasts.
		{Name: "cluster-publish", cluster: true, flags: []string{"--scenario=burst", "--clients=10", "--copies=1000", "--rounds=50", "--warmup=5"},
			rows: []row{
				{"cluster (classic Redis): CPU per broadcast at the publishing node, bursts of 1,000", "us", goal{most: 10}, func(r result) float64 { return r.Via.CPU }},
			}},
	}, slices.Concat(large(), growth(n), rooms(n), nodes(n), open(n), dropping(max(n*2/5, 1)))...)
}
