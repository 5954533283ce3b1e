package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// TestCtlDrainWaits: a node is empty when it has no connection, relays nothing, and its drain, the grace included, has ended.
func TestCtlDrainWaits(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	answers := []string{
		`"connections":0,"relays":0,"draining":true,"emptying":true`, // to the command: it is in its grace
		`"connections":0,"relays":0,"draining":true,"emptying":true`,
		`"connections":0,"relays":1,"draining":true,"emptying":false`,
		`"connections":1,"relays":0,"draining":true,"emptying":false`,
		`"connections":0,"relays":0,"draining":true,"emptying":false`,
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		n := min(asked.Add(1), int64(len(answers)))
		_, _ = w.Write([]byte(`{"name":"n2","state":"alive","status":{` + answers[n-1] + `}}`))
	}))
	defer node.Close()
	o := operator{t: t, flags: []string{"--admin", node.URL}}
	o.does("drain n2 --wait", "n2 is empty")
	if n := asked.Load(); n != int64(len(answers)) {
		t.Errorf("asked %d times, want %d", n, len(answers))
	}
}
