package main

import "github.com/sockeye-io/sockeye/server/metrics"

// abuse answers: who takes too much, and does the node hold.
func abuse() board {
	return board{
		name: "abuse", title: "abuse",
		about: "Do clients take too much, of what, and does the node hold? Addresses and users are in the logs, never in metrics.",
		rows: []row{
			{"Refused before it cost anything", []panel{
				{title: "Handshakes that were refused", unit: unitRate, about: "By the answer.",
					queries: one(aggregate("sum", "rate("+of(metrics.Handshakes, `result!~"opened|adopted"`)+rateWindow+")", []string{"result"}), "{{result}}")},
				{title: "Limits hit", unit: unitRate, about: "docs/operations.md lists them.",
					queries: one(perSecond(metrics.LimitHits, "kind"), "{{kind}}")},
				{title: "Limits of one client hit", unit: unitRate, about: "What --limits bounds: by address, network, socket and user.",
					queries: one(perSecond(metrics.ClientLimitHits, "kind"), "{{kind}}")},
				{title: "Unknown sessions", unit: unitRate, about: "Requests of sessions that have ended, or that never were. After a node has died there are as many as it had polling clients.",
					queries: one(perSecond(metrics.UnknownSessions, "instance"), "{{instance}}")},
			}},
			{"What clients do wrong", []panel{
				{title: "Packets that break the protocol", unit: unitRate, about: "Their connections are closed.",
					queries: one(perSecond(metrics.ParseErrors, "instance"), "{{instance}}")},
				{title: "Refused by hooks", unit: unitRate, about: "CONNECT packets, events and joins.",
					queries: []query{{perSecond(metrics.Refusals), "by hooks"}, {aggregate("sum", "rate("+of(metrics.Connects, `result="refused"`)+rateWindow+")", nil), "CONNECT packets"}}},
				{title: "Tokens", unit: unitRate, about: "What became of those of clients. Only with --auth.",
					queries: one(perSecond(metrics.Tokens, "result"), "{{result}}")},
				{title: "Acknowledgements", unit: unitRate, about: "Invented or late ones, and those that never came.",
					queries: []query{{perSecond(metrics.UnknownAcks), "unknown"}, {perSecond(metrics.AckTimeouts), "missing"}}},
			}},
			{"What it costs", []panel{
				{title: "Bytes in, for each connection", unit: unitByteRate, about: "The mean; a node far above the others has the flood.",
					queries: one("sum by (instance) (rate("+of(metrics.Bytes, `direction="in"`)+rateWindow+")) / (sum by (instance) ("+of(metrics.Connections)+") > 0)", "{{instance}}")},
				{title: "Input that waits", unit: unitRatio, about: "Of the limit.",
					queries: one(sum(metrics.InputBytes, "instance")+" / "+sum(metrics.MaxInputBytes, "instance"), "{{instance}}")},
				{title: "Backlogs", unit: unitRatio, about: "Of the limit.",
					queries: one(sum(metrics.OutboxBytes, "instance")+" / "+sum(metrics.MaxOutboxBytes, "instance"), "{{instance}}")},
				{title: "Connections in no namespace", unit: unitPlain, about: "",
					queries: one(sum(metrics.UnjoinedSessions, "instance"), "{{instance}}")},
				{title: "Reading paused", unit: unitRate, about: "Clients that send faster than their handlers work.",
					queries: one(perSecond(metrics.InboxPauses, "instance"), "{{instance}}")},
				{title: "Cores in use", unit: unitCores, about: "",
					queries: one("sum by (instance) (rate("+of(processCPU)+rateWindow+"))", "{{instance}}")},
			}},
		},
	}
}
