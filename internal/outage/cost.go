package outage

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Cost is what messages between nodes cost at some rate. All nodes are in this process, the broker is not.
type Cost struct {
	P50, P99 time.Duration // from Broadcast to the delivery on another node
	CPU      time.Duration // of the sender and one receiver together, for each message
	Receiver time.Duration // of one receiver, for each message
	Late     int           // messages that the sender was late with by more than 20 ms
}

// payload is what messages carry beside their number, in bytes.
const payload = 200

// Measure sends messages at a rate, in bursts if burst is over 1, for a while, and does it again with three receivers instead of one,
// so that it can tell what a receiver costs.
func Measure(t testing.TB, f *Flavour, rate, burst int, lasting time.Duration) Cost {
	t.Helper()
	one := measure(t, f, 1, rate, burst, lasting)
	three := measure(t, f, 3, rate, burst, lasting)
	one.Receiver = (three.CPU - one.CPU) / 2
	return one
}

func measure(t testing.TB, f *Flavour, receivers, rate, burst int, lasting time.Duration) Cost {
	_, addr := f.Serve(t)
	none := func(adapter.BrokerState) {}
	from := join(t, f.Node(t, addr, addr, none), adapter.NewNodeID(), adaptertest.NewNode(namespace))
	meters := make([]*meter, receivers)
	for i := range meters {
		meters[i] = &meter{Node: adaptertest.NewNode(namespace)}
		join(t, f.Node(t, addr, addr, none), adapter.NewNodeID(), meters[i])
	}
	redistest.Eventually(t, "the nodes know each other", func() bool {
		n, err := from.ServerCount(t.Context())
		return err == nil && (n == 1+receivers || n == 0)
	})
	pour(t, from, meters, rate, burst, lasting/5) // connections and buffers are as large as they get
	for _, m := range meters {
		m.forget()
	}
	before := processor()
	sent, late := pour(t, from, meters, rate, burst, lasting)
	cpu := processor() - before
	var all []time.Duration
	for _, m := range meters {
		all = append(all, m.latencies...)
	}
	slices.Sort(all)
	return Cost{P50: all[len(all)/2], P99: all[len(all)*99/100], CPU: cpu / time.Duration(sent), Late: late}
}

// pour sends for a while and waits until everything has arrived everywhere.
func pour(t testing.TB, from adapter.Adapter, meters []*meter, rate, burst int, lasting time.Duration) (sent, late int) {
	t.Helper()
	filling := strings.Repeat("x", payload)
	every := time.Duration(burst) * time.Second / time.Duration(rate)
	began := time.Now()
	for due := time.Duration(0); due < lasting; due += every {
		if wait := due - time.Since(began); wait > 0 {
			hold(wait)
		} else if wait < -20*time.Millisecond {
			late++
		}
		for range burst {
			p, err := parser.MarshalEvent("n", strconv.FormatInt(time.Now().UnixNano(), 10), filling)
			if err != nil {
				t.Fatal(err)
			}
			packet := &parser.Packet{Type: parser.Event, Namespace: namespace, ID: parser.NoID, Payload: p}
			if err := from.Broadcast(packet, adapter.Selection{}, adapter.Flags{}); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	redistest.Eventually(t, "everything arrives", func() bool {
		return !slices.ContainsFunc(meters, func(m *meter) bool { return m.count() < sent })
	})
	return sent, late
}

// meter is a node that notes how long messages were on their way.
type meter struct {
	*adaptertest.Node

	mu        sync.Mutex
	latencies []time.Duration // guarded by mu
}

// Deliver implements adapter.Local.
func (m *meter) Deliver(p *parser.Packet, _ adapter.Selection, _ adapter.Flags) {
	now := time.Now().UnixNano()
	_, args, err := p.Event()
	if err != nil {
		return
	}
	at, _ := strconv.ParseInt(strings.Trim(string(args.At(0).JSON), `"`), 10, 64)
	m.mu.Lock()
	m.latencies = append(m.latencies, time.Duration(now-at))
	m.mu.Unlock()
}

func (m *meter) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.latencies)
}

func (m *meter) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latencies = m.latencies[:0]
}
