package server

import (
	"hash/maphash"
	"slices"
	"sync"
)

// orderStripes is the number of rooms that can be broadcast to at the same time.
const orderStripes = 8

var orderSeed = maphash.MakeSeed()

// fanoutOrder makes broadcasts that share a room arrive in one order at all its sockets. Under it messages are only
// queued; nothing blocks and no application code runs.
type fanoutOrder struct {
	all   sync.RWMutex // held for writing by fan-outs to everybody
	rooms [orderStripes]sync.Mutex
}

// lock waits for the fan-outs that must come first and returns the function that lets the next ones go.
func (o *fanoutOrder) lock(rooms []string) (unlock func()) {
	if len(rooms) == 0 {
		o.all.Lock()
		return o.all.Unlock
	}
	var stripes [orderStripes]bool
	for _, room := range rooms {
		stripes[maphash.String(orderSeed, room)%orderStripes] = true
	}
	o.all.RLock()
	for i, taken := range stripes {
		if taken {
			o.rooms[i].Lock()
		}
	}
	return func() {
		for i, taken := range slices.Backward(stripes[:]) {
			if taken {
				o.rooms[i].Unlock()
			}
		}
		o.all.RUnlock()
	}
}
