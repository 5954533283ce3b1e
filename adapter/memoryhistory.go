package adapter

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// memoryHistoryBytes bounds what a node without a broker keeps of one namespace; older broadcasts are forgotten early then.
const memoryHistoryBytes = 64 << 20

// memoryHistoryDead is how much more than what is kept may be there for readers.
const memoryHistoryDead = 1 << 20

// keptCost is what an entry takes beside its texts, in bytes.
const keptCost = 160

// memoryHistory is the History of a cluster of one node.
type memoryHistory struct {
	// Static after construction.
	retain time.Duration
	epoch  string // begins every offset, so that those of former lives and of other namespaces are told apart
	turns  turns

	mu sync.Mutex
	// Guarded by mu.
	entries []keptEvent // with consecutive numbers; what is in its array does not change, so that readers need no lock
	next    uint64      // the number of the next one, from 1
	served  uint64      // the number of the last one that was delivered
	bytes   int
	dead    int // bytes of forgotten ones in the array, at most
}

type keptEvent struct {
	at    time.Time
	sel   Selection
	event parser.Payload // with its offset
	bytes int
}

func newMemoryHistory(retain time.Duration) *memoryHistory {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return &memoryHistory{retain: retain, epoch: hex.EncodeToString(b[:]) + "-", next: 1}
}

// deliver delivers a packet in its turn, with its offset if it is kept.
func (h *memoryHistory) deliver(local Local, p *parser.Packet, sel Selection, flags Flags) {
	h.turns.take(func() {
		if !Kept(p, flags) {
			local.Deliver(p, sel, flags)
			return
		}
		p, flags.Offset = h.keep(p, sel)
		local.Deliver(p, sel, flags)
		h.mu.Lock()
		h.served = h.next - 1 // one at a time
		h.mu.Unlock()
	})
}

// keep returns the packet with its offset.
func (h *memoryHistory) keep(p *parser.Packet, sel Selection) (*parser.Packet, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	offset := h.offset(h.next)
	p = withOffset(p, offset)
	h.next++
	e := keptEvent{at: time.Now(), sel: sel, event: p.Payload, bytes: keptCost + len(p.Payload.JSON)}
	for _, a := range p.Payload.Attachments {
		e.bytes += len(a)
	}
	h.entries = append(h.entries, e)
	h.bytes += e.bytes
	h.forgetLocked(e.at)
	return p, offset
}

// forgetLocked forgets what is too old, or too much, but never the newest.
func (h *memoryHistory) forgetLocked(now time.Time) {
	n := 0
	for n < len(h.entries)-1 && (h.bytes > memoryHistoryBytes || now.Sub(h.entries[n].at) > h.retain) {
		h.bytes -= h.entries[n].bytes
		h.dead += h.entries[n].bytes
		n++
	}
	h.entries = h.entries[n:]
	if h.dead > memoryHistoryDead+h.bytes { // they are still in the array, which readers may be at
		h.entries, h.dead = slices.Clone(h.entries), 0
	}
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
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.offset(h.served) // a socket that connects while one is delivered may be selected
}

func (h *memoryHistory) Missed(_ context.Context, offset string, rooms []string, limits HistoryLimits) (Missed, error) {
	last, ok := h.number(offset)
	h.mu.Lock()
	entries, end := h.entries, h.next
	h.mu.Unlock()
	oldest := end - uint64(len(entries))
	if !ok || last >= end || last+1 < oldest {
		return Missed{}, ErrHistoryGap
	}
	m := Missed{Had: func(offset string) bool {
		n, ok := h.number(offset)
		return ok && n < end
	}}
	bytes := 0
	for _, e := range entries[last+1-oldest:] {
		if !e.sel.Selects(rooms) {
			continue
		}
		m.Events = append(m.Events, e.event)
		if bytes += e.bytes; bytes > limits.Bytes || len(m.Events) > limits.Packets {
			return Missed{}, ErrHistoryLimit
		}
	}
	return m, nil
}

func (h *memoryHistory) Compare(a, b string) int {
	x, _ := h.number(a) // 0 for what is none
	y, _ := h.number(b)
	return cmp.Compare(x, y)
}

func (h *memoryHistory) Turn(f func()) { h.turns.take(f) }
