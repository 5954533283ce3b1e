package server_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

func TestPlanRebalance(t *testing.T) {
	load := func(sessions int, change ...func(*server.NodeLoad)) server.NodeLoad {
		l := server.NodeLoad{Answered: true, Sessions: sessions, Capacity: 1000}
		for _, f := range change {
			f(&l)
		}
		return l
	}
	draining := func(l *server.NodeLoad) { l.Node.Draining = true }
	silent := func(l *server.NodeLoad) { l.Node.State = server.NodeSilent }
	mute := func(l *server.NodeLoad) { l.Answered, l.Sessions, l.Capacity = false, 0, 0 }
	shedding := func(n int) func(*server.NodeLoad) { return func(l *server.NodeLoad) { l.Shedding = n } }
	capacity := func(n int) func(*server.NodeLoad) { return func(l *server.NodeLoad) { l.Capacity = n } }
	for name, tc := range map[string]struct {
		loads []server.NodeLoad
		want  []int
	}{
		"nobody":               {nil, nil},
		"alone":                {[]server.NodeLoad{load(500)}, []int{0}},
		"nothing":              {[]server.NodeLoad{load(0), load(0)}, []int{0, 0}},
		"even":                 {[]server.NodeLoad{load(100), load(100), load(100)}, []int{0, 0, 0}},
		"within the tolerance": {[]server.NodeLoad{load(110), load(95), load(95)}, []int{0, 0, 0}},
		"beyond it":            {[]server.NodeLoad{load(120), load(90), load(90)}, []int{20, 0, 0}},
		"one is new":           {[]server.NodeLoad{load(300), load(300), load(0)}, []int{100, 100, 0}},
		"rounded":              {[]server.NodeLoad{load(10), load(0), load(0)}, []int{6, 0, 0}},
		"one drains":           {[]server.NodeLoad{load(300), load(100), load(500, draining)}, []int{100, 0, 0}},
		"one is silent":        {[]server.NodeLoad{load(300), load(100), load(0, silent)}, []int{100, 0, 0}},
		"one does not answer":  {[]server.NodeLoad{load(300), load(100), load(0, mute)}, []int{100, 0, 0}},
		"under way":            {[]server.NodeLoad{load(300, shedding(150)), load(150), load(150)}, []int{0, 0, 0}},
		"by capacity":          {[]server.NodeLoad{load(300), load(300, capacity(3000)), load(0, capacity(2000))}, []int{200, 0, 0}},
	} {
		plan := server.PlanRebalance(tc.loads, 0.1)
		var got []int
		total := 0
		for _, n := range plan.Nodes {
			got = append(got, n.Shed)
			total += n.Shed
		}
		if !slices.Equal(got, tc.want) || plan.Total != total {
			t.Errorf("%s: %v, want %v; %d in all", name, got, tc.want, plan.Total)
		}
	}
}

// TestRebalance: three nodes, of which one has nearly everything.
func TestRebalance(t *testing.T) {
	nodes, cluster := startCluster(t, server.Options{})
	for range 20 {
		nodes[0].connect(t)
	}
	nodes[1].connect(t)
	loads, err := nodes[2].Loads(t.Context())
	var sessions []int
	for _, l := range loads {
		sessions = append(sessions, l.Sessions)
		if !l.Answered || l.Capacity != 1_000_000 {
			t.Errorf("load: %+v", l)
		}
	}
	slices.Sort(sessions)
	if want := []int{0, 1, 20}; err != nil || !slices.Equal(sessions, want) {
		t.Fatalf("loads %v, %v, want %v", sessions, err, want)
	}
	plan, err := nodes[2].Rebalance(t.Context(), &server.RebalanceOptions{DryRun: true})
	if err != nil || plan.Total != 13 || nodes[0].Stats().Engine.Sessions != 20 {
		t.Errorf("planned %+v, %v", plan, err)
	}
	if _, err := nodes[2].Rebalance(t.Context(), &server.RebalanceOptions{Rate: 1000}); err != nil {
		t.Error(err)
	}
	eventually(t, "the first node has its share", func() bool {
		s := nodes[0].Stats()
		return s.Engine.Sessions == 7 && s.Drained == 13
	})
	for range 13 {
		nodes[0].connect(t)
	}
	for want := range slices.Values([]int{13, 0}) { // the second one finds that it is under way
		plan, err := nodes[0].Rebalance(t.Context(), &server.RebalanceOptions{Rate: 1, Tolerance: 0.5})
		if err != nil || plan.Total != want {
			t.Errorf("%+v, %v, want %d closed", plan, err, want)
		}
	}
	if _, err := nodes[2].Rebalance(t.Context(), &server.RebalanceOptions{Tolerance: -1}); err == nil {
		t.Error("a negative tolerance is taken")
	}
	cluster.Freeze("b")
	defer cluster.Thaw("b")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	loads, err = nodes[2].Loads(ctx)
	if err != nil || len(loads) != 3 || loads[1].Answered == loads[2].Answered {
		t.Errorf("with a node that does not answer: %+v, %v", loads, err)
	}
}
