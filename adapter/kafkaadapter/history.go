package kafkaadapter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
)

// An offset is a position in the namespace's partition of the log, as text: a mark of the namespace, its partition and the topic, the
// epoch of the leader plus one, and the number of the next record, in base 36 both. So an offset of another namespace is none of this one,
// nor one of a topic that was deleted and made anew.

// markLength is that of the mark, in hexadecimal digits.
const markLength = 12

// markOf is the mark of a namespace's offsets.
func (b *bus) markOf(topic kadm.TopicID) string {
	hash := sha256.New()
	_, _ = hash.Write(topic[:])
	_, _ = hash.Write(strconv.AppendInt(nil, int64(b.log.partition), 10))
	_, _ = hash.Write([]byte(" " + b.local.Name()))
	return hex.EncodeToString(hash.Sum(nil)[:markLength/2])
}

// mark remembers the last mark: there is one in the life of a topic.
type mark struct {
	topic kadm.TopicID
	text  string
}

// markIn is markOf.
func (b *bus) markIn(topic kadm.TopicID) string {
	m := b.mark.Load()
	if m == nil || m.topic != topic {
		m = &mark{topic, b.markOf(topic)}
		b.mark.Store(m)
	}
	return m.text
}

// offsetOf writes a position.
func (b *bus) offsetOf(at position) string {
	return b.markIn(at.topic) + "-" + strconv.FormatInt(int64(at.epoch)+1, 36) + "-" + strconv.FormatInt(at.next, 36)
}

// parseOffset is the opposite of offsetOf but for the topic, of which there is the mark.
func parseOffset(offset string) (mark string, at position, ok bool) {
	mark, rest, ok := strings.Cut(offset, "-")
	if !ok || len(mark) != markLength {
		return "", at, false
	}
	epoch, next, _ := strings.Cut(rest, "-")
	e, err := strconv.ParseUint(epoch, 36, 31)
	if err != nil {
		return "", at, false
	}
	n, err := strconv.ParseUint(next, 36, 63)
	if err != nil {
		return "", at, false
	}
	at = position{epoch: int32(e) - 1, next: int64(n)}
	return mark, at, true
}

// Record implements adapter.Recorder: the log of the namespace is its partition of the log of all.
func (b *bus) Record(opts adapter.HistoryOptions) (adapter.Log, adapter.SessionStore, error) {
	b.recorded.Store(true)
	return &namespaceLog{b}, b.broker.sessions.of(b.local.Name(), opts), nil
}

// namespaceLog is the adapter.Log of a namespace.
type namespaceLog struct{ b *bus }

func (l *namespaceLog) Read() string {
	at, ok := l.b.broker.readers.position(l.b.log)
	if !ok {
		return ""
	}
	return l.b.offsetOf(at)
}

// Compare compares the numbers of the next records, if the marks are those of the topic that is read here.
func (l *namespaceLog) Compare(a, b string) int {
	at, known := l.b.broker.readers.position(l.b.log)
	number := func(offset string) int64 {
		mark, pos, ok := parseOffset(offset)
		if !known || !ok || mark != l.b.markIn(at.topic) {
			return -1
		}
		return pos.next
	}
	return cmp.Compare(number(a), number(b))
}

// Ready is nil: a log that goes on in itself, and a reader that goes on from where it was, miss nothing while Kafka is away.
func (l *namespaceLog) Ready(context.Context) error { return nil }

func (l *namespaceLog) Breaks() uint64 { return l.b.broker.readers.breaks(l.b.log) }

func (l *namespaceLog) After(ctx context.Context, offset string, each func(m *adapter.Message) bool) (end string, err error) {
	at, known := l.b.broker.readers.position(l.b.log)
	mark, from, ok := parseOffset(offset)
	if !known || !ok || mark != l.b.markIn(at.topic) || l.b.broker.readers.misses(l.b.log, from) {
		return "", adapter.ErrHistoryGap
	}
	from.topic = at.topic
	var seen names
	stop, err := l.b.broker.past.read(ctx, l.b.log, from, func(r *kgo.Record) bool {
		m := l.open(&seen, r)
		if m == nil {
			return true
		}
		m.Offset = l.b.offsetOf(position{at.topic, r.LeaderEpoch, r.Offset + 1})
		return each(m)
	})
	if err != nil {
		return "", err
	}
	return l.b.offsetOf(stop), nil
}

// open returns the broadcast that a record is, nil if it is none of the namespace.
func (l *namespaceLog) open(seen *names, r *kgo.Record) *adapter.Message {
	if r.Attrs.IsControl() {
		return nil
	}
	sealed, err := seen.open(r)
	if err != nil || sealed.namespace != l.b.local.Name() || sealed.kind != kindNames[adapter.KindBroadcast] {
		return nil
	}
	m, err := l.b.all.Open(string(sealed.body))
	if err != nil || m == nil || m.Kind != adapter.KindBroadcast {
		return nil
	}
	return m
}
