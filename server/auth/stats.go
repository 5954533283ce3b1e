package auth

import "sync/atomic"

// counters grow only.
type counters struct {
	accepted, renewed, expired, revoked atomic.Uint64
	refused                             [len(codes)]atomic.Uint64
}

func (c *counters) refuse(r *Refusal) {
	for i, code := range codes {
		if code == r.Data.Code {
			c.refused[i].Add(1)
		}
	}
}

// Stats is a snapshot of an Auth. Numbers without a remark count since its start.
type Stats struct {
	Live        int // sockets that were let in and are connected, now
	Revocations int // users with revoked tokens, now

	Accepted uint64          // tokens that were in order, renewals included
	Renewed  uint64          // renewals
	Expired  uint64          // sockets that were closed because no new token came
	Revoked  uint64          // sockets that were disconnected because their token was revoked
	Refused  map[Code]uint64 // tokens that were refused, renewals included
}

// Stats returns a snapshot.
func (a *Auth) Stats() Stats {
	s := Stats{
		Live: a.live.count(), Revocations: a.revoked.count(), Accepted: a.counts.accepted.Load(), Renewed: a.counts.renewed.Load(),
		Expired: a.counts.expired.Load(), Revoked: a.counts.revoked.Load(), Refused: make(map[Code]uint64, len(codes)),
	}
	for i, code := range codes {
		s.Refused[code] = a.counts.refused[i].Load()
	}
	return s
}

func (t *revoked) count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.before)
}
