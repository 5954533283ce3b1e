package returning

import (
	"maps"
	"testing"
)

// WarmUp is the name of an event that does not count.
const WarmUp = "warm-up"

// Counting is a client that gets numbers: events [sender, number], of each sender 0, 1, 2 and so on. Each must come once and in order.
// One without offset, which its node has delivered before it was in the log, may come again. A client that starts anew may have missed
// some.
type Counting struct {
	Client
	Seen  int // how many numbers have come
	Early int // how many of them came without offset
	Holes int // how many numbers it has missed because it has started anew

	next  map[string]int  // of each sender, the number that must come
	began bool            // anew: some of any sender may be missing
	anew  map[string]bool // of these the next one decides what was missed
	early map[number]bool
}

type number struct {
	sender string
	n      int
}

// NewCounting returns a client that has not been there before.
func NewCounting(t testing.TB) *Counting {
	c := &Counting{next: make(map[string]int), anew: make(map[string]bool), early: make(map[number]bool)}
	c.Client = Client{T: t, On: c.take}
	return c
}

// Come is Client.Come.
func (c *Counting) Come(to Dialer) (recovered bool) {
	c.T.Helper()
	recovered = c.Client.Come(to)
	if !recovered && c.Seen > 0 {
		c.began = true
		for sender := range c.next {
			c.anew[sender] = true
		}
	}
	return recovered
}

// Until reads until the number n of a sender has come.
func (c *Counting) Until(sender string, n int) {
	c.T.Helper()
	for c.next[sender] <= n {
		c.Take(c.Read())
	}
}

func (c *Counting) take(sender string, args []any, kept bool) {
	c.T.Helper()
	if sender == WarmUp {
		return
	}
	n := -1
	if len(args) == 1 {
		if f, ok := args[0].(float64); ok {
			n = int(f)
		}
	}
	want, known := c.next[sender]
	switch {
	case n >= 0 && n == want:
	case n > want && (c.anew[sender] || !known && c.began):
		c.Holes += n - want
	case n >= 0 && n < want && c.early[number{sender, n}]:
		return
	default:
		c.T.Errorf("client %s: sender %s: got %v, want %d", c.SID, sender, args, want)
	}
	delete(c.anew, sender)
	if !kept {
		c.Early++
		c.early[number{sender, n}] = true
	}
	if n >= want {
		c.next[sender] = n + 1
		c.Seen++
	}
}

// Copy returns a client that knows the same, without connection.
func (c *Counting) Copy() *Counting {
	d := NewCounting(c.T)
	d.SID, d.PID, d.Offset = c.SID, c.PID, c.Offset
	d.Seen, d.Early, d.Holes, d.began = c.Seen, c.Early, c.Holes, c.began
	d.next, d.anew, d.early = maps.Clone(c.next), maps.Clone(c.anew), maps.Clone(c.early)
	return d
}
