package main

import "github.com/sockeye-io/sockeye/server/metrics"

// Metrics of the process, by Prometheus' own collectors.
const (
	processCPU         = "process_cpu_seconds_total"
	processMemory      = "process_resident_memory_bytes"
	processDescriptors = "process_open_fds"
	maxDescriptors     = "process_max_fds"
	goroutines         = "go_goroutines"
	heapObjects        = "go_memstats_heap_alloc_bytes"
	collections        = "go_gc_duration_seconds_count"
	collectionPauses   = "go_gc_duration_seconds_sum"
)

// node answers: what does one node do, and what does it run out of.
func node() board {
	return board{
		name: "node", title: "node",
		about: "What does a node do, and what does it run out of? Choose one or several above.",
		rows: []row{
			{"Connections", []panel{
				{title: "Connections", unit: unitPlain, stacked: true, about: "By transport and state. Polling costs several times as much as websocket.",
					queries: one(sum(metrics.Connections, "transport", "state"), "{{transport}} {{state}}")},
				{title: "Room for more", unit: unitRatio, about: "Connections and descriptors, of what is allowed. At 1 newcomers are refused.",
					queries: []query{
						{sum(metrics.Connections) + " / " + sum(metrics.MaxConnections), "connections"},
						{"max(" + of(processDescriptors) + " / " + of(maxDescriptors) + ")", "descriptors"},
					}},
				{title: "In no namespace yet", unit: unitPlain, about: "Each has 45 seconds. Many are a flood, or middlewares that take long.",
					queries: []query{{sum(metrics.UnjoinedSessions), "connections"}, {sum(metrics.Connecting), "sockets whose middlewares run"}}},
				{title: "Upgrades to websocket", unit: unitRate, about: "Failed ones stay on polling: look at the proxies in front.",
					queries: one(perSecond(metrics.Upgrades, "result"), "{{result}}")},
				{title: "Connect packets", unit: unitRate, about: "To namespaces; refused ones got a CONNECT_ERROR.",
					queries: one(perSecond(metrics.Connects, "namespace", "result"), "{{namespace}} {{result}}")},
				{title: "Heartbeats, 99 %", unit: unitSeconds, about: "How late they are sent, and how long the answer takes. Late ones mean that the process does not get its time.",
					queries: []query{
						{quantile(0.99, metrics.HeartbeatLateness), "late"},
						{quantile(0.99, metrics.HeartbeatRoundTrip), "to the answer"},
					}},
			}},
			{"Handlers", []panel{
				{title: "Time in handlers, 99 %", unit: unitSeconds, about: "By namespace.",
					queries: one(quantile(0.99, metrics.HandlerTime, "namespace"), "{{namespace}}")},
				{title: "Goroutines in application code", unit: unitPlain, about: "A line that only climbs is handlers that wait for something.",
					queries: one(sum(metrics.Workers, "instance"), "{{instance}}")},
				{title: "What went wrong, in an hour", unit: unitEachHour, about: "The log says what.",
					queries: []query{
						{perHour(metrics.Panics), "panics"}, {perHour(metrics.Failures, "kind"), "failures: {{kind}}"},
						{perHour(metrics.EncodeFailures), "not encoded"}, {perHour(metrics.AckTimeouts), "acknowledgements that did not come"},
					}},
			}},
			{"Queues", []panel{
				{title: "Waiting for clients to read", unit: unitBytes, about: "At the limit those with the longest backlogs are closed.",
					queries: []query{{sum(metrics.OutboxBytes), "now"}, {sum(metrics.MaxOutboxBytes), "limit"}}},
				{title: "Unfinished and unhandled input", unit: unitBytes, about: "At the limit those that hold most for longest are closed.",
					queries: []query{{sum(metrics.InputBytes), "now"}, {sum(metrics.MaxInputBytes), "limit"}}},
				{title: "Kept for connections", unit: unitBytes, about: "Headers, auth objects, rooms, data.",
					queries: []query{{sum(metrics.StateBytes), "now"}, {sum(metrics.MaxStateBytes), "limit"}}},
				{title: "Reading paused", unit: unitRate, about: "Clients that send faster than their handlers work.",
					queries: one(perSecond(metrics.InboxPauses, "instance"), "{{instance}}")},
				{title: "Acknowledgements that are waited for", unit: unitPlain, about: "",
					queries: one(sum(metrics.PendingAcks, "instance"), "{{instance}}")},
				{title: "Packets that were not sent", unit: unitRate, about: "Volatile ones are dropped by design.",
					queries: one(perSecond(metrics.Drops, "reason"), "{{reason}}")},
			}},
			{"Process", []panel{
				{title: "Cores in use", unit: unitCores, about: "",
					queries: one("sum by (instance) (rate("+of(processCPU)+rateWindow+"))", "{{instance}}")},
				{title: "Memory", unit: unitBytes, about: "Resident, and what Go has in its heap.",
					queries: []query{{sum(processMemory, "instance"), "{{instance}}"}, {sum(heapObjects, "instance"), "{{instance}} heap"}}},
				{title: "Descriptors", unit: unitPlain, about: "At the limit new connections are closed at once; LimitNOFILE or ulimit -n raises it.",
					queries: []query{{sum(processDescriptors, "instance"), "{{instance}}"}, {"min(" + of(maxDescriptors) + ")", "limit"}}},
				{title: "Goroutines", unit: unitPlain, about: "Websockets without TLS need none.",
					queries: one(sum(goroutines, "instance"), "{{instance}}")},
				{title: "Garbage collections", unit: unitRate, about: "Many a second: the memory limit is near.",
					queries: one("sum by (instance) (rate("+of(collections)+rateWindow+"))", "{{instance}}")},
				{title: "Time paused by collections", unit: unitRatio, about: "Of each second.",
					queries: one("sum by (instance) (rate("+of(collectionPauses)+rateWindow+"))", "{{instance}}")},
			}},
		},
	}
}
