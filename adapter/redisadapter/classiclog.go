package redisadapter

import (
	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/classic"
)

// classicLog returns the log of a namespace of the classic adapter.
func classicLog(h *hub, namespace string, self adapter.NodeID, opts *PubSubOptions) *pubLog {
	names := pubLogNamesOf(opts.Key+"-recovery#"+namespace+"#", plain)
	l := newPubLog(h, namespace, string(self), names, opts.RecoveryMaxLen)
	all := classic.New(opts.Key, namespace, "", &classic.MessagePack{})
	l.entry = func(body string) (*adapter.Message, error) { return all.DecodeBroadcast([]byte(body)) }
	return l
}

// InOrder implements adapter.Sequencer. All broadcasts are heard from now on: so that none is missing in the chain, see pubLog.
func (b *classicBus) InOrder() {
	b.recording.Store(true)
	if b.exact {
		b.exact = false
		b.hub.unsubscribe(b.local.Name(), plain, b.codec.Broadcasts())
		b.hub.subscribe(b.local.Name(), pattern, b.pattern(), b.takeBroadcast)
	}
	b.log.start(func(channel, body string) { b.log.pushed(b.mailbox.Push(delivery{channel, body})) })
}

// Record implements adapter.Recorder.
func (b *classicBus) Record(adapter.HistoryOptions) (adapter.Log, adapter.SessionStore, error) {
	if err := unrecorded(b.encoding); err != nil {
		return nil, nil, err
	}
	return b.log, sessionStore{b.hub.rdb, b.sessions, b.local.Name()}, b.log.possible()
}

// Parted reports whether messages have numbers: while broadcasts are kept this node's own are told by them.
func (b *classicBus) Parted() bool { return b.recording.Load() }

// ToAll reports whether a message is one that no node drops unread.
func (b *classicBus) ToAll(m *adapter.Message) bool { return m.Logged() }

// takeKept is takeBroadcast while broadcasts are kept. Those that nobody here needs, and this node's own, are opened if somebody comes back.
func (b *classicBus) takeKept(channel, body string) {
	n, noted := noteOf(body)
	switch {
	case noted && (n.uid == b.codec.UID() || b.requests.Load() == 0 && !b.needs(channel)):
		channel = b.log.names.notes
	case !noted && b.codec.OwnBroadcast(body):
		return
	}
	b.log.pushed(b.mailbox.Push(delivery{channel, body}))
}

// senderOf returns the uid with which a broadcast begins, if it is as long as ours are.
func senderOf(body string) string {
	const head = len("\x93\xb0")
	if len(body) < head+16 || body[1] != '\xb0' {
		return ""
	}
	return body[head : head+16]
}

// possible returns an error if the log cannot be where the channel is.
func (l *pubLog) possible() error {
	if _, cluster := l.hub.rdb.(*redis.ClusterClient); cluster && !l.names.together {
		return errNoSlot
	}
	return nil
}
