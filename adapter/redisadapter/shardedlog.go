package redisadapter

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// shardedLog returns the log of a namespace of the sharded adapter.
func shardedLog(h *hub, namespace string, self adapter.NodeID, main string, maxLen int) (*pubLog, error) {
	all, err := envelope.New("", namespace, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	l := newPubLog(h, namespace, string(self), pubLogNamesOf(main, shard), maxLen)
	l.entry = all.Open
	return l, nil
}

// InOrder implements adapter.Sequencer.
func (b *shardedBus) InOrder() {
	b.recording.Store(true)
	b.log.start(func(channel, body string) { b.log.pushed(b.mailbox.Push(delivery{channel, body})) })
}

// Record implements adapter.Recorder.
func (b *shardedBus) Record(adapter.HistoryOptions) (adapter.Log, adapter.SessionStore, error) {
	return b.log, sessionStore{b.hub.rdb, b.sessions, b.local.Name()}, b.log.possible()
}

// takeKept is take while broadcasts are kept. This node's own are opened if somebody comes back.
func (b *shardedBus) takeKept(channel, body string) {
	if n, noted := noteOf(body); noted && n.uid == string(b.uid) {
		channel = b.log.names.notes
	} else if !noted && b.codec.Own(body) {
		return
	}
	b.log.pushed(b.mailbox.Push(delivery{channel, body}))
}

// openKept reports whether what has been published is the log's.
func (b *shardedBus) openKept(channel, body string) bool {
	if channel == b.log.names.notes {
		b.log.note(body)
		return true
	}
	n, noted := noteOf(body)
	if noted {
		b.log.take(n, body, func() (*adapter.Message, error) { return b.codec.Open(body) })
	}
	return noted
}
