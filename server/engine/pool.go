package engine

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pool is a budget that the sessions of a server share.
type pool struct {
	bytes atomic.Int64
	limit int64 // static
	room  roomMaker
}

// account is what one session is charged of a pool.
type account struct{ bytes atomic.Int64 }

const (
	// closedAccount is far below what accounts of sessions that have not ended hold.
	closedAccount = math.MinInt64 / 2
	// vainInterval is how long nobody looks for room after none was found: the search costs time.
	vainInterval = int64(100 * time.Millisecond)
)

// charge adds n bytes. It reports false, and charges nothing, if there is no room for them or the account is closed.
func (p *pool) charge(a *account, n int64) bool {
	if a.bytes.Add(n) < 0 {
		return false
	}
	if p.bytes.Add(n) <= p.limit {
		return true
	}
	p.credit(a, n)
	return false
}

// credit ends the charge of n bytes.
func (p *pool) credit(a *account, n int64) {
	if a.bytes.Add(-n) >= 0 {
		p.bytes.Add(-n)
	}
}

// close ends all charges of an account, for good, and returns what they were.
func (p *pool) close(a *account) int64 {
	own := max(0, a.bytes.Swap(closedAccount))
	p.bytes.Add(-own)
	return own
}

// held is what a session is charged; 0 when its account is closed.
func (a *account) held() int64 { return max(0, a.bytes.Load()) }

func (a *account) closed() bool { return a.bytes.Load() < 0 }

// roomMaker finds the sessions that must end to make room for others. One goroutine at a time does.
type roomMaker struct {
	mu   sync.Mutex
	vain int64 // when nobody was found, see monotonic; 0 before. Guarded by mu
}

// choose takes sessions by the highest ranks until what they give back is as much as excess, and returns them: the caller must
// end them. It looks at excess first, since another call may have made room meanwhile. A rank of 0 spares a session; take must
// see to it that the rank of a session that was taken is 0 from then on.
func (m *roomMaker) choose(srv *Server, excess func() int64, rank func(*Session) float64, take func(*Session) int64) (victims []*Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	more := excess()
	if more <= 0 || m.vain != 0 && monotonic()-m.vain < vainInterval {
		return nil
	}
	type candidate struct {
		s    *Session
		rank float64
	}
	var all []candidate
	for _, s := range srv.Sessions() {
		if r := rank(s); r > 0 {
			all = append(all, candidate{s, r})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(b.rank, a.rank) })
	for i := 0; i < len(all) && more > 0; i++ {
		more -= take(all[i].s)
		victims = append(victims, all[i].s)
	}
	m.vain = 0
	if len(victims) == 0 {
		m.vain = monotonic()
	}
	return victims
}

// excess is how much must be given back if there is no room for n bytes: so much that an eighth of the pool is free then.
func (p *pool) excess(n int64) int64 {
	if over := p.bytes.Load() + n - p.limit; over > 0 {
		return over + p.limit/8
	}
	return 0
}
