package servertest

import (
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

func TestLeftBehind(t *testing.T) {
	for _, s := range []server.Stats{
		{Sockets: 1}, {Connecting: 1}, {Rooms: 1}, {PendingAcks: 1}, {Workers: 1},
		{Engine: engine.Stats{Sessions: 1}}, {Engine: engine.Stats{Polling: 1}}, {Engine: engine.Stats{WebSocket: 1}},
		{Engine: engine.Stats{Upgrading: 1}}, {Engine: engine.Stats{Closing: 1}},
	} {
		if !leftBehind(&s) {
			t.Errorf("nothing is left behind with %+v", s)
		}
	}
	if s := (server.Stats{Namespaces: 3, Engine: engine.Stats{Opened: 5, Closed: 5}}); leftBehind(&s) {
		t.Error("counters and namespaces are taken for something left behind")
	}
}
