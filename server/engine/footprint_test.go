package engine

import (
	"testing"
	"unsafe"
)

// TestFootprint holds what each idle websocket session keeps, beside its handshake and the kernel's part, to a budget.
// BenchmarkIdleSession reports all of it.
func TestFootprint(t *testing.T) {
	const budget = 240 + 208 // bytes on a 64-bit system; the size classes of the allocator
	session, conn := unsafe.Sizeof(Session{}), unsafe.Sizeof(wsConn{})
	if got := session + conn; unsafe.Sizeof(uintptr(0)) == 8 && got > budget {
		t.Errorf("a Session of %d and a connection of %d bytes are %d, more than %d", session, conn, got, budget)
	}
}
