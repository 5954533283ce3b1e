package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// crossTime is how long nodes may take until what one of them says reaches all, and crossPatience how long one attempt waits for it.
const (
	crossTime     = 4 * time.Minute
	crossPatience = 5 * time.Second
)

// nodes are clusters of several sizes with each broker: what a broadcast, a message to a room that is on one node, and a message to a
// user cost all nodes together. The clients, ten for each node, are spread over them, and messages go from a node's client to the next node's.
func nodes(n int) []scenario {
	var list []scenario
	messages := max(4*n, 2000)
	for _, kind := range allBrokers {
		for _, size := range []int{2, 5, 10} {
			clients := 10 * size
			add := func(what string, rows []row, flags ...string) {
				list = append(list, scenario{Name: fmt.Sprintf("nodes-%s-%d-%s", kind, size, what), families: []string{"nodes", "nodes-" + kind},
					nodes: size, broker: kind, flags: append(flags, fmt.Sprintf("--clients=%d", clients)), rows: rows})
			}
			between := fmt.Sprintf("%d nodes, %s", size, kind)
			add("broadcast", []row{{"CPU of all nodes per broadcast, " + between, "us", goal{}, func(r result) float64 { return r.Server.CPU * float64(clients) }}},
				"--scenario=burst", "--copies=100", "--rounds="+strconv.Itoa(max(messages/100, 20)), "--warmup=3")
			for _, to := range []string{"room", "user"} {
				add(to, []row{
					{fmt.Sprintf("CPU of all nodes per message to a %s at another one, %s", to, between), "us", goal{}, cpu},
					{fmt.Sprintf("message to a %s at another node, %s: p99 latency", to, between), "ms", goal{}, p99},
				}, "--scenario=targeted", "--to="+to, "--in-flight=20", fmt.Sprintf("--messages=%d", messages), "--warmup=500")
			}
		}
	}
	return list
}

// rooms is the cost of a message to a room beside more and more rooms, and of a pair of a join and a leave in so many.
func rooms(n int) []scenario {
	var list []scenario
	clients := fmt.Sprintf("--clients=%d", max(n/5, 2))
	messages := fmt.Sprintf("--messages=%d", max(20*n, 50_000))
	for _, count := range []int{1, 10, 100_000} {
		flag := fmt.Sprintf("--rooms=%d", count)
		list = append(list,
			scenario{Name: fmt.Sprintf("growth-rooms-%d", count), families: []string{"growth", "growth-rooms"},
				flags: []string{"--scenario=targeted", "--to=room", clients, flag, messages, "--warmup=5000"}, rows: []row{
					{fmt.Sprintf("CPU per message to a room of one client, beside %d rooms", count), "us", goal{}, cpu},
				}},
			scenario{Name: fmt.Sprintf("growth-joins-%d", count), families: []string{"growth", "growth-joins"},
				flags: []string{"--scenario=joins", clients, flag, messages, "--warmup=5000"}, rows: []row{
					{fmt.Sprintf("CPU per join and leave, %d rooms in turns", count), "us", goal{}, cpu},
				}})
	}
	return list
}

// startNodes starts the nodes of a scenario, one unless it says more, and returns when they listen.
func startNodes(ctx context.Context, sc scenario, srv server, between *broker, where place, folder string) (list []*process, err error) {
	for i := range max(sc.nodes, 1) {
		node, err := startServer(ctx, srv, between.place(i, where), folder)
		if err != nil {
			stopAll(list)
			return nil, err
		}
		list = append(list, node)
	}
	return list, nil
}

// stopAll stops nodes at the same time: each says good-bye to the others.
func stopAll(list []*process) {
	done := make(chan struct{})
	for _, p := range list {
		go func() {
			p.stop()
			done <- struct{}{}
		}()
	}
	for range list {
		<-done
	}
}

// cross waits until what each node says reaches all others. What listens need not have found the others yet.
func cross(ctx context.Context, s settings, list []*process) error {
	for i := range list {
		flags := append(target(append(list[i:len(list):len(list)], list[:i]...)), "--scenario=single", "--rounds=1", "--clients="+strconv.Itoa(len(list)),
			"--timeout="+crossPatience.String(), "--quiet", "--json=-")
		for deadline := time.Now().Add(crossTime); ; {
			res, err := generate(ctx, s.sockeye, flags)
			if err == nil && res.Messages.Lost+res.Connections.Failed+res.Connections.Lost == 0 && res.Messages.Delivered > 0 {
				break
			}
			if ctx.Err() != nil || time.Now().After(deadline) {
				return fmt.Errorf("what node %d says does not reach the %d nodes within %v: %+v, %v", i, len(list), crossTime, res.Messages, err)
			}
		}
	}
	return nil
}

// target returns the arguments of `sockeye bench` for clients that are spread over nodes.
func target(list []*process) []string {
	args := []string{"bench", "http://" + list[0].address()}
	for _, other := range list[1:] {
		args = append(args, "--other=http://"+other.address())
	}
	return args
}

// growth tells how the cost of a message grows with the nodes: the line through what was measured, and where it is at more nodes.
func (b *book) growth(t *strings.Builder) {
	head := "\nCPU of all n nodes together for a message of 64 bytes, in us: the least squares line through the clusters above, and what it says of larger ones.\n\n" +
		"| between the nodes | message | server | measured | line | 100 nodes | 1,000 nodes |\n|---|---|---|---|---|---:|---:|\n"
	for _, kind := range allBrokers {
		for _, what := range []string{"broadcast", "room", "user"} {
			for _, server := range peers {
				sizes, costs := b.points(kind, what, server)
				if len(sizes) < 2 {
					continue
				}
				var measured []string
				for i, size := range sizes {
					measured = append(measured, fmt.Sprintf("%.0f: %s", size, number(costs[i], true)))
				}
				base, each := line(sizes, costs)
				fmt.Fprintf(t, "%s| %s | %s | %s | %s | %.1f %+.2f n | %s | %s |\n", head, kind, what, server, strings.Join(measured, ", "), base, each,
					number(base+100*each, true), number(base+1000*each, true))
				head = ""
			}
		}
	}
}

// points are the numbers of nodes that a message was measured with, and its cost.
func (b *book) points(kind, what, server string) (sizes, costs []float64) {
	for _, sc := range b.scenarios {
		if sc.nodes == 0 || sc.broker != kind || !strings.HasSuffix(sc.Name, "-"+what) {
			continue
		}
		if m, ok := b.median(sc, server, 0); ok {
			sizes, costs = append(sizes, float64(sc.nodes)), append(costs, m)
		}
	}
	return sizes, costs
}

// line returns the least squares line through points that are not all above one another.
func line(x, y []float64) (base, each float64) {
	var n, sumX, sumY, sumXX, sumXY float64
	for i := range x {
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+x[i], sumY+y[i], sumXX+x[i]*x[i], sumXY+x[i]*y[i]
	}
	each = (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
	return (sumY - each*sumX) / n, each
}
