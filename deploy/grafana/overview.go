package main

import "github.com/sockeye-io/sockeye/server/metrics"

// overview answers: is anything wrong, and on which node.
func overview() board {
	return board{
		name: "overview", title: "overview",
		about: "Is anything wrong, and on which node? The other dashboards say why.",
		rows: []row{
			{"Now", []panel{
				{kind: "stat", title: "Connections", unit: unitPlain, about: "Clients of the chosen nodes.",
					queries: one(sum(metrics.Connections), "")},
				{kind: "stat", title: "Nodes", unit: unitPlain, about: "Nodes that answer Prometheus.",
					queries: one("count("+of(metrics.NodeInfo)+")", "")},
				{kind: "stat", title: "Nodes that do not answer", unit: unitPlain, about: "Nodes that Prometheus knows and does not reach.", warn: 1,
					queries: one(`sum(up{job="sockeye"} == bool 0)`, "")},
				{kind: "stat", title: "Nodes that are not heard", unit: unitPlain, about: "The most that any node misses: see the logs of those that are missing.", warn: 1,
					queries: one("max(sum by (instance) ("+of(metrics.Members, `state!="alive"`)+"))", "")},
				{kind: "stat", title: "Broker", unit: unitPlain, about: "1 as long as all nodes reach it. Clients stay connected while it is away; messages to other nodes do not arrive.", alarm: 1,
					queries: one("min("+of(metrics.BrokerUp)+")", "")},
				{kind: "stat", title: "Message latency, 99 %", unit: unitSeconds, about: "From one node to another.", warn: 0.25,
					queries: one(quantile(0.99, metrics.MessageLatency), "")},
				{kind: "stat", title: "Limits hit, a second", unit: unitRate, about: "See the dashboard on abuse.", warn: 10,
					queries: one(perSecond(metrics.LimitHits), "")},
				{kind: "stat", title: "Panics in an hour", unit: unitPlain, about: "The log has their stacks.", warn: 1,
					queries: one(perHour(metrics.Panics), "")},
			}},
			{"Clients", []panel{
				{title: "Connections by node", unit: unitPlain, stacked: true, about: "After a rolling restart the last node stands empty: `sockeye ctl rebalance`.",
					queries: one(sum(metrics.Connections, "instance"), "{{instance}}")},
				{title: "Handshakes", unit: unitRate, about: "Opened and refused. Refusals as \"full\" or \"draining\" are answered 503.",
					queries: one(perSecond(metrics.Handshakes, "result"), "{{result}}")},
				{title: "Sockets that have ended", unit: unitRate, about: "By the reason that both sides are told. Many a \"ping timeout\" at once is the network or a node that stalls.",
					queries: one(perSecond(metrics.Disconnections, "reason"), "{{reason}}")},
			}},
			{"Messages", []panel{
				{title: "Packets", unit: unitRate, about: "Of all clients, heartbeats included.",
					queries: one(perSecond(metrics.Packets, "direction"), "{{direction}}")},
				{title: "Bytes", unit: unitByteRate, about: "Without HTTP and websocket headers.",
					queries: one(perSecond(metrics.Bytes, "direction"), "{{direction}}")},
				{title: "Events by outcome", unit: unitRate, about: "What the handlers made of them.",
					queries: one(perSecond(metrics.Events, "outcome"), "{{outcome}}")},
				{title: "Time in handlers", unit: unitSeconds, about: "A socket's next event waits for it.",
					queries: quantiles(metrics.HandlerTime)},
				{title: "Sockets by namespace", unit: unitPlain, stacked: true, about: "",
					queries: one(sum(metrics.Sockets, "namespace"), "{{namespace}}")},
				{title: "Rooms by namespace", unit: unitPlain, stacked: true, about: "A line that only grows is a leak of the application.",
					queries: one(sum(metrics.Rooms, "namespace"), "{{namespace}}")},
			}},
			{"Cluster", []panel{
				{title: "Members, as each node sees them", unit: unitPlain, about: "All nodes should agree.",
					queries: one(sum(metrics.Members, "instance", "state"), "{{instance}} {{state}}")},
				{title: "Broker round trip, 99 %", unit: unitSeconds, about: "From a node through the broker and back.",
					queries: one(quantile(0.99, metrics.BrokerRoundTrip, "instance"), "{{instance}}")},
				{title: "Message latency, 99 %", unit: unitSeconds, about: "From a node to another.",
					queries: one(quantile(0.99, metrics.MessageLatency, "instance"), "{{instance}}")},
			}},
			{"Nodes", []panel{
				{kind: "table", title: "Nodes", about: "Names, lives and adapters.",
					queries: one(of(metrics.NodeInfo), "")},
				{kind: "table", title: "Versions", about: "More than one while a cluster is upgraded.",
					queries: one("count by (version, revision, go) ("+of(metrics.BuildInfo)+")", "")},
				{title: "Drains", unit: unitPlain, about: "1 while a node sends its clients away.",
					queries: []query{{sum(metrics.Draining, "instance"), "{{instance}} drains"}, {perSecond(metrics.Drained), "closed, a second"}}},
			}},
		},
	}
}
