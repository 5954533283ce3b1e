package kafkaadapter

import (
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// listener is a namespace that tells of each packet.
type listener struct {
	*adaptertest.Node
	packets chan struct{}
}

func (n *listener) Deliver(*parser.Packet, adapter.Selection, adapter.Flags) { n.packets <- struct{}{} }

// BenchmarkOrdered measures how long a broadcast takes to the sockets of its own node, and to those of another, with and without one
// order for all.
func BenchmarkOrdered(b *testing.B) {
	for name, ordered := range map[string]func(string) bool{"ordered": everything, "not ordered": nil} {
		opts := options(b, kafkatest.Shared(b).Addr)
		opts.Prefix, opts.Ordered = opts.Prefix+name[:3], ordered
		var here [2]*listener
		var nodes []*node
		for i := range here {
			here[i] = &listener{adaptertest.NewNode("/chat"), make(chan struct{}, 1)}
			nodes = append(nodes, startWith(b, string(adapter.NewNodeID()), opts, here[i]))
		}
		meet(b, nodes)
		packet := event(b, "say", 1)
		for i, where := range []string{"own", "other"} {
			b.Run(name+"/"+where, func(b *testing.B) {
				for b.Loop() {
					if err := nodes[0].Broadcast(packet, adapter.Selection{}, adapter.Flags{}); err != nil {
						b.Fatal(err)
					}
					<-here[i].packets
					b.StopTimer()
					<-here[1-i].packets
					b.StartTimer()
				}
			})
		}
	}
}
