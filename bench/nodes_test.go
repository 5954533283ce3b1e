package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestChosen looks at what names and families choose.
func TestChosen(t *testing.T) {
	all := scenarios(settings{clients: 500})
	count := func(only string) (n int) {
		for _, sc := range all {
			if sc.wanted(list(only)) {
				n++
			}
		}
		return n
	}
	for only, want := range map[string]int{
		"": len(all), "nodes": 6 * 3 * 3, "nodes-kafka": 9, "nodes-pubsub-2-room": 1, "growth": 4 + 3 + 3, "growth-joins": 3, "growth-rooms-10": 1,
		"echo": 1, "nodes,echo": 6*3*3 + 1, "node": 0,
	} {
		if got := count(only); got != want {
			t.Errorf("%q chooses %d scenarios, want %d", only, got, want)
		}
	}
	names := make(map[string]bool)
	for _, sc := range all {
		if names[sc.Name] {
			t.Errorf("there are two scenarios %s", sc.Name)
		}
		names[sc.Name] = true
	}
}

// TestBrokers looks at who takes part in the scenarios of several nodes, and what the nodes are told.
func TestBrokers(t *testing.T) {
	all := servers(programs{redis: true})
	for _, sc := range scenarios(settings{clients: 500}) {
		if sc.nodes == 0 {
			continue
		}
		var names []string
		for _, srv := range all {
			if srv.fits(sc) {
				names = append(names, srv.name)
			}
		}
		want := []string{sockeyePoller}
		if sc.broker == redisPubSub || sc.broker == redisSharded {
			want = append(want, nodeReference)
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s is measured with %q, want %q", sc.Name, names, want)
		}
	}
	b := broker{kind: natsEmbedded, routes: []string{"127.0.0.1:1", "127.0.0.1:2"}}
	args, _ := all[0].command(b.place(1, place{port: 80}))
	text := strings.Join(args, " ")
	if !strings.Contains(text, "--nats-embed=127.0.0.1:2 --nats-routes=nats://127.0.0.1:1,nats://127.0.0.1:2") {
		t.Errorf("the second node is started as %s", text)
	}
	b = broker{kind: redisSharded, redis: "redis://r", flags: []string{"--redis=redis://r", "--adapter=sharded"}}
	args, _ = all[0].command(b.place(0, place{}))
	node := slices.IndexFunc(all, func(s server) bool { return s.name == nodeReference })
	_, env := all[node].command(b.place(0, place{}))
	if !slices.Contains(args, "--adapter=sharded") || !slices.Contains(env, "ADAPTER=sharded") || !slices.Contains(env, "REDIS=redis://r") {
		t.Errorf("%q, %q", args, env)
	}
}

// TestBroadcastCost: the generator counts deliveries, the row broadcasts, each of which goes to the ten clients of each node.
func TestBroadcastCost(t *testing.T) {
	var r result
	r.Server.CPU = 2
	for _, sc := range nodes(500) {
		if !strings.HasSuffix(sc.Name, "-broadcast") {
			continue
		}
		if got, want := sc.rows[0].value(r), 2*10*float64(sc.nodes); got != want {
			t.Errorf("%s: %v us, want %v", sc.Name, got, want)
		}
	}
}

// TestTarget spreads clients over nodes.
func TestTarget(t *testing.T) {
	got := target([]*process{{port: 1}, {port: 2}, {port: 3}})
	if want := []string{"bench", "http://127.0.0.1:1", "--other=http://127.0.0.1:2", "--other=http://127.0.0.1:3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestGrowth has the cost of a broadcast be 5 us and 3 us for each node.
func TestGrowth(t *testing.T) {
	b := newBook(description{}, settings{clients: 500})
	if text := b.markdown(); strings.Contains(text, "least squares") {
		t.Errorf("there is a line through nothing:\n%s", text)
	}
	for size, cost := range map[int]float64{2: 11, 5: 20, 10: 35} {
		b.add(fmt.Sprintf("nodes-sharded-%d-broadcast", size), sockeyePoller, figures{cost, 0, 0, 0})
	}
	b.add("nodes-sharded-2-user", sockeyePoller, figures{9, 1, 0, 0, 0}) // one point makes no line
	text := b.markdown()
	if want := "| sharded | broadcast | sockeye | 2: 11.0, 5: 20.0, 10: 35.0 | 5.0 +3.00 n | 305 | 3005 |"; !strings.Contains(text, want) {
		t.Errorf("no line %s in\n%s", want, text)
	}
	if strings.Contains(text, "| sharded | user |") {
		t.Error("there is a line through one point")
	}
}
