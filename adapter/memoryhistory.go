package adapter

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// memoryHistoryBytes bounds what a node without a broker keeps of one namespace; older broadcasts are forgotten early then.
const memoryHistoryBytes = 64 << 20

// keptCost is what an entry takes beside its texts, in bytes.
const keptCost = 160

// memoryHistory is the History of a cluster of one node.
type memoryHistory struct {
	// Static after construction.
	epoch  string // begins every offset, so that those of former lives and of other namespaces are told apart
	turns  turns
	events *recentEvents

	served atomic.Uint64 // the number of the last one that was delivered
}

func newMemoryHistory(retain time.Duration) *memoryHistory {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return &memoryHistory{epoch: hex.EncodeToString(b[:]) + "-", events: newRecentEvents(memoryHistoryBytes, retain)}
}

// deliver delivers a packet in its turn, with its offset if it is kept.
func (h *memoryHistory) deliver(local Local, p *parser.Packet, sel Selection, flags Flags) {
	h.turns.take(func() {
		if !Kept(p, flags) {
			local.Deliver(p, sel, flags)
			return
		}
		p, number := h.keep(p, sel)
		flags.Offset = h.offset(number)
		local.Deliver(p, sel, flags)
		h.served.Store(number) // one at a time
	})
}

// keep returns the packet with its offset, and its number.
func (h *memoryHistory) keep(p *parser.Packet, sel Selection) (*parser.Packet, uint64) {
	r := h.events
	r.mu.Lock()
	number := r.nextLocked()
	p = withOffset(p, h.offset(number))
	e := &recentEvent{at: time.Now(), bytes: recentCost + keptBytes(p.Payload) + listCost(sel.Rooms) + listCost(sel.Except)}
	e.open = func() *openedEvent { return newOpenedEvent(sel, p.Payload) }
	r.addLocked(e)
	r.mu.Unlock()
	r.tidy()
	return p, number
}

func (h *memoryHistory) offset(n uint64) string { return h.epoch + strconv.FormatUint(n, 36) }

// number is the reverse of offset. It is 0 for what is none of this history.
func (h *memoryHistory) number(offset string) (n uint64, ok bool) {
	text, own := strings.CutPrefix(offset, h.epoch)
	n, err := strconv.ParseUint(text, 36, 64)
	if !own || err != nil {
		return 0, false
	}
	return n, true
}

func (h *memoryHistory) Position() string {
	return h.offset(h.served.Load()) // a socket that connects while one is delivered may be selected
}

func (h *memoryHistory) Missed(_ context.Context, offset string, rooms []string, limits HistoryLimits) (Missed, error) {
	after, ok := h.number(offset)
	if !ok {
		return Missed{}, ErrHistoryGap
	}
	events, end, _, err := h.events.missed(after, rooms, limits)
	if err != nil {
		return Missed{}, err
	}
	return Missed{Events: events, Had: func(offset string) bool {
		n, ok := h.number(offset)
		return ok && n <= end
	}}, nil
}

func (h *memoryHistory) Compare(a, b string) int {
	x, _ := h.number(a) // 0 for what is none
	y, _ := h.number(b)
	return cmp.Compare(x, y)
}

func (h *memoryHistory) Turn(f func()) { h.turns.take(f) }
