package api_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// nodeView is what a node is answered as.
type nodeView struct {
	Name   string
	Self   bool
	Status struct {
		Connections int
		Draining    bool
		Emptying    bool
	}
}

// TestDrain has one node drain another, and calls it off.
func TestDrain(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		one := nodes[0]
		bob := nodes[1].login("bob")
		var v nodeView
		one.post("/v1/nodes/n2/drain", `{"grace":"10s","rate":10}`, &v)
		if !v.Status.Draining || !v.Status.Emptying || v.Self || v.Name != "n2" || v.Status.Connections != 1 || !nodes[1].srv.Draining() {
			t.Fatalf("draining %+v", v)
		}
		one.post("/v1/nodes/n2/drain", "", &v) // it goes on as it did
		one.post("/v1/nodes/n2/undrain", "", &v)
		if v.Status.Draining || nodes[1].srv.Draining() {
			t.Errorf("undrained %+v", v)
		}
		time.Sleep(time.Minute)
		one.get("/v1/nodes/n2", &v)
		if v.Status.Emptying {
			t.Errorf("a minute after that %+v", v)
		}
		one.post("/v1/publish", `{"users":["bob"],"event":"still here"}`, nil)
		bob.Expect("still here")
		one.post("/v1/nodes/n2/drain", "", &v)
		bob.Client().ExpectClosed()
		time.Sleep(time.Second)
		synctest.Wait()
		one.get("/v1/nodes/n2", &v)
		if !v.Status.Draining || v.Status.Emptying || v.Status.Connections != 0 {
			t.Errorf("drained %+v", v)
		}
		one.post("/v1/nodes/self/drain", `{"timeout":"1s"}`, &v)
		if !v.Self || !v.Status.Draining {
			t.Errorf("draining %+v", v)
		}
		one.refused(one.ask(allSecret, "POST", "/v1/nodes/nowhere/drain", ""), 404, "unknown_node")
		one.refused(one.ask(writeSecret, "POST", "/v1/nodes/n2/drain", ""), 403, "forbidden")
		for _, body := range []string{`{"grace":"-1s"}`, `{"grace":"2h"}`, `{"timeout":"soon"}`, `{"rate":-1}`, `{"rates":1}`} {
			one.refused(one.ask(allSecret, "POST", "/v1/nodes/n2/drain", body), 400, "invalid")
		}
	})
}

// TestRebalance plans, and then moves clients of the fuller node.
func TestRebalance(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		for range 10 {
			nodes[1].login("")
		}
		var plan struct {
			Total int
			Nodes []struct {
				Name                   string
				Sessions, Share, Close int
			}
		}
		nodes[0].post("/v1/rebalance", `{"dryRun":true}`, &plan)
		if plan.Total == 0 || len(plan.Nodes) != 2 || plan.Nodes[1].Name != "n2" || plan.Nodes[1].Sessions != 10 || plan.Nodes[1].Close != plan.Total {
			t.Errorf("planned %+v", plan)
		}
		nodes[0].post("/v1/rebalance", `{"rate":1000}`, &plan)
		time.Sleep(10 * time.Second)
		var v nodeView
		nodes[0].get("/v1/nodes/n2", &v)
		if v.Status.Connections != 10-plan.Total {
			t.Errorf("%d connections are left of 10 after %+v", v.Status.Connections, plan)
		}
		for _, body := range []string{`{"rate":-1}`, `{"tolerance":-1}`} {
			nodes[0].refused(nodes[0].ask(allSecret, "POST", "/v1/rebalance", body), 400, "invalid")
		}
	})
}
