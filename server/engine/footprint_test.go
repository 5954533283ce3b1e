package engine

import (
	"testing"
	"unsafe"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// TestFootprint holds what each idle websocket session keeps, beside its handshake and the kernel's part, to a budget.
// BenchmarkIdleSession reports all of it.
func TestFootprint(t *testing.T) {
	const budget = 256 + 208 // bytes on a 64-bit system; the size classes of the allocator
	session, conn := unsafe.Sizeof(Session{}), unsafe.Sizeof(wsConn{})
	if got := session + conn; unsafe.Sizeof(uintptr(0)) == 8 && got > budget {
		t.Errorf("a Session of %d and a connection of %d bytes are %d, more than %d", session, conn, got, budget)
	}
}

// TestPongAllocations: what every idle client does every PingInterval costs no memory, and neither does the way of a
// message to its handler.
func TestPongAllocations(t *testing.T) {
	for _, tcp := range []bool{true, false} {
		g := newRigOn(t, nil, tcp, 0)
		_, id := g.openWS("")
		s := g.recorder(id).s
		s.setHandler(silentHandler{})
		for _, packet := range []string{"3", `4312["ok"]`} {
			data := []byte(packet)
			if n := testing.AllocsPerRun(100, func() { s.transport.(*wsConn).OnMessage(websocket.OpText, data) }); n != 0 {
				t.Errorf("TCP %v: receiving %s allocates %v times", tcp, packet, n)
			}
		}
	}
}
