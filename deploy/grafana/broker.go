package main

import "github.com/sockeye-io/sockeye/server/metrics"

// broker answers: do the nodes hear each other, and how fast.
func broker() board {
	return board{
		name: "broker", title: "broker and cluster",
		about: "Do the nodes hear each other, how fast, and what was lost?",
		rows: []row{
			{"Broker", []panel{
				{title: "Reachable", unit: unitPlain, about: "0 while a node has lost it. Local delivery goes on.",
					queries: one(sum(metrics.BrokerUp, "instance"), "{{instance}}")},
				{title: "Round trip", unit: unitSeconds, about: "From a node through the broker and back to it.",
					queries: quantiles(metrics.BrokerRoundTrip)},
				{title: "Message latency", unit: unitSeconds, about: "From one node to another: half of a canary's way there and back.",
					queries: quantiles(metrics.MessageLatency)},
				{title: "Messages", unit: unitRate, about: "To and from the broker.",
					queries: []query{{perSecond(metrics.BrokerSent), "sent"}, {perSecond(metrics.BrokerReceived), "received"}}},
				{title: "Waiting to be sent", unit: unitPlain, about: "Grows while the broker is away or slow, up to its bound.",
					queries: one(sum(metrics.BrokerQueue, "instance"), "{{instance}}")},
				{title: "Lost", unit: unitRate, about: "Messages that other nodes did not get, and measurements that did not come back.",
					queries: []query{
						{perSecond(metrics.BrokerErrors, "kind"), "not published: {{kind}}"}, {perSecond(metrics.BrokerDrops, "reason"), "dropped: {{reason}}"},
						{perSecond(metrics.CanariesLost, "path"), "canaries: {{path}}"}, {perSecond(metrics.ServerSideDrops), "server-side events"},
					}},
			}},
			{"Members", []panel{
				{title: "Members, as each node sees them", unit: unitPlain, about: "All nodes should agree.",
					queries: []query{{sum(metrics.Members, "instance", "state"), "{{instance}} {{state}}"}, {"max(" + of(metrics.DrainingMembers) + ")", "draining"}}},
				{title: "Connections made again and holes in the log, in an hour", unit: unitEachHour, about: "After a hole clients that were away then start anew.",
					queries: []query{
						{perHour(metrics.Reconnects, "instance"), "{{instance}} connections"}, {perHour(metrics.Resubscriptions, "instance"), "{{instance}} subscriptions"},
						{perHour(metrics.LogBreaks, "instance"), "{{instance}} holes"},
					}},
				{title: "Questions that are not settled", unit: unitPlain, about: "fetchSockets, counts, acknowledgements of broadcasts. A line that stays up: a node does not answer.",
					queries: one(sum(metrics.Questions, "instance"), "{{instance}}")},
				{title: "Order between channels", unit: unitRate, about: "Messages that waited for one that was sent before, and those that went on without.",
					queries: []query{{perSecond(metrics.OrderWaits), "waited"}, {perSecond(metrics.OrderTimeouts), "went on without"}, {perSecond(metrics.OrderSkips), "never came"}}},
			}},
			{"Requests of other nodes' sessions", []panel{
				{title: "Requests", unit: unitRate, about: "Passed on, served for others, or answered that the session is unknown, and why.",
					queries: one(perSecond(metrics.Forwarded, "result"), "{{result}}")},
				{title: "Websockets that are relayed", unit: unitPlain, about: "",
					queries: one(sum(metrics.Relays, "instance"), "{{instance}}")},
				{title: "Sessions handed over, refusals", unit: unitRate, about: "What the private listener refuses should be nothing: another secret, or a stranger on the private network.",
					queries: []query{{perSecond(metrics.Handovers, "direction"), "handed over: {{direction}}"}, {perSecond(metrics.ForwardRefusals, "reason"), "refused: {{reason}}"}}},
			}},
			{"Users", []panel{
				{title: "Users", unit: unitPlain, stacked: true, about: "A user on two nodes counts twice.",
					queries: one(sum(metrics.DirectoryUsers, "state"), "{{state}}")},
				{title: "Messages to users", unit: unitRate, about: "Directed is what it should be; everywhere while the store is away.",
					queries: one(perSecond(metrics.DirectoryMessages, "way"), "{{way}}")},
				{title: "Store", unit: unitRate, about: "Look-ups, and calls that failed.",
					queries: []query{{perSecond(metrics.DirectoryLookups, "result"), "{{result}}"}, {perSecond(metrics.DirectoryErrors), "failed"}, {"min(" + of(metrics.DirectoryStoreUp) + ")", "store up"}}},
			}},
		},
	}
}
