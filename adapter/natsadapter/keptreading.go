package natsadapter

import (
	"context"

	"github.com/sockeye-io/sockeye/adapter"
)

// After reads on any server that has the stream, until it has passed what this node has handed on by now.
func (l *keptLog) After(ctx context.Context, offset string, each func(m *adapter.Message) bool) (end string, err error) {
	if err := l.Ready(ctx); err != nil {
		return "", err
	}
	until, known := l.position()
	from, ok := l.place(offset)
	if !known || !ok {
		return "", adapter.ErrHistoryGap
	}
	r := pastReading{l: l, from: from, at: from, each: each}
	for !r.over {
		list, more, err := l.continued(ctx, r.at)
		if err != nil {
			return "", err
		}
		for _, s := range list {
			if err := r.take(s); err != nil {
				return "", err
			}
			if r.over {
				break
			}
		}
		switch {
		case r.over || more:
		case r.at.compare(until) >= 0:
			r.over = true
		default:
			if err := pause(ctx, lagPause); err != nil {
				return "", unavailable(err)
			}
		}
		if r.entries > keptEntries || r.bytes > keptBytes {
			return "", adapter.ErrHistoryLimit
		}
	}
	return l.offset(r.at), nil
}

// continued reads entries from the one of a place on, that included. If it is not there that is adapter.ErrHistoryGap.
func (l *keptLog) continued(ctx context.Context, at place) (list []*stored, more bool, err error) {
	for {
		list, more, err = l.jet.page(ctx, l.stream, l.subject, at.seq)
		if err != nil {
			return nil, false, unavailable(err)
		}
		if len(list) > 0 && at.isAt(list[0]) {
			return list, more, nil
		}
		s, err := l.jet.get(ctx, l.stream, at.seq, "")
		switch {
		case err != nil:
			return nil, false, unavailable(err)
		case s == nil || !at.isAt(s):
			return nil, false, adapter.ErrHistoryGap
		}
		if err := pause(ctx, lagPause); err != nil { // the server that was asked is behind
			return nil, false, unavailable(err)
		}
	}
}

// pastReading is what After has come to.
type pastReading struct {
	l              *keptLog
	from, at       place
	each           func(m *adapter.Message) bool
	entries, bytes int
	over           bool
}

// take takes an entry, of which some of the broadcasts may have been had.
func (r *pastReading) take(s *stored) error {
	e, err := decodeEntry(s.body)
	had := 0
	if r.at.isAt(s) {
		if had = r.at.n; err == nil && had > len(e.list) {
			return adapter.ErrHistoryGap
		}
	}
	if err == nil && e.kind == entryBreak && !r.from.isAt(s) {
		return adapter.ErrHistoryGap
	}
	if !r.at.isAt(s) {
		r.at = place{life: r.from.life, seq: s.seq, at: s.at}
	}
	r.entries++
	r.bytes += len(s.body)
	for i := had; err == nil && i < len(e.list); i++ {
		r.at.n = i + 1
		m, err := r.l.all.Open(string(e.list[i].body))
		if err != nil || m == nil || m.Kind != adapter.KindBroadcast {
			continue // it was delivered to nobody
		}
		if m.Offset = r.l.offset(r.at); !r.each(m) {
			r.over = true
			return nil
		}
	}
	return nil
}
