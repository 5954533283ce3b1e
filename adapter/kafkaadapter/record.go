package kafkaadapter

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
)

// The headers of a record. What is in them a node reads before it decodes the value, to throw away what it does not need. Headers of
// other names are ignored.
const (
	headerVersion   = "v"    // of this form: 1
	headerFrom      = "from" // the id of the node that wrote the record, "emitter" for an emitter
	headerKind      = "kind" // what the message is, see kinds
	headerNamespace = "nsp"  // "" for what the membership says
	headerTo        = "to"   // the id of the node that it is for; on <prefix>.direct alone
	headerOrder     = "order"
	headerAt        = "at"   // of what is of no use later: when it was written, in milliseconds by the broker's clock
	headerSent      = "sent" // of what the membership says: when it was written, in microseconds by the sender's own clock
)

const (
	recordVersion = "1"
	// maxHeaders is how many headers a record of ours may have, and maxHeader how many bytes one of them.
	maxHeaders = 32
	maxHeader  = 64 << 10
)

// Kinds of records that are no messages of a namespace.
const (
	kindMember = "member" // what the membership says to all nodes, or to one
	kindCommon = "common" // what it says to all nodes whatever their settings
)

// kindNames are the kinds of messages as they are written; what is asked is a question of its kind.
var kindNames = map[adapter.Kind]string{
	adapter.KindBroadcast: "broadcast", adapter.KindJoin: "join", adapter.KindLeave: "leave", adapter.KindDisconnect: "disconnect",
	adapter.KindFetch: "fetch", adapter.KindServerSide: "server-side", adapter.KindListRooms: "list-rooms", adapter.KindSockets: "sockets",
	adapter.KindServerReply: "server-reply", adapter.KindRooms: "rooms", adapter.KindCount: "count", adapter.KindAck: "ack", adapter.KindGone: "gone",
}

// letter is a record without its place: what its headers say, and the bytes in it.
type letter struct {
	from, to  adapter.NodeID
	kind      string
	namespace string
	// room, which is the record's key, is set if the message is for one room, and a node may drop it that has nobody in there.
	room string
	// Numbers of the message, as in adapter.Message; all 0 if there are none.
	seq, after, directed uint64
	at                   int64 // 0 if the message is of use later, too
	sent                 int64 // 0 if it is not told
	body                 []byte
}

// letterOf returns the letter of a message, whose body is its envelope.
func letterOf(from adapter.NodeID, namespace string, m *adapter.Message, body []byte) letter {
	l := letter{
		from: from, kind: kindNames[m.Kind], namespace: namespace, body: body,
		seq: m.Seq, after: m.After, directed: m.Directed,
	}
	if m.Kind == adapter.KindBroadcast && m.Request == "" && m.Flags.Direction == nil && len(m.Selection.Rooms) == 1 {
		l.room = m.Selection.Rooms[0]
	}
	return l
}

// record writes the letter as a record for a partition.
func (l *letter) record(topic string, partition int32) *kgo.Record {
	r := &kgo.Record{Topic: topic, Partition: partition, Value: l.body, Headers: make([]kgo.RecordHeader, 0, 8)}
	values := make([]byte, 0, 128) // of all headers
	begun := 0
	end := func(key string) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: values[begun:len(values):len(values)]})
		begun = len(values)
	}
	text := func(key, value string) {
		if value != "" {
			values = append(values, value...)
			end(key)
		}
	}
	number := func(key string, n int64) {
		if n != 0 {
			values = strconv.AppendInt(values, n, 10)
			end(key)
		}
	}
	text(headerVersion, recordVersion)
	text(headerFrom, string(l.from))
	text(headerKind, l.kind)
	text(headerNamespace, l.namespace)
	text(headerTo, string(l.to))
	if l.seq|l.after|l.directed != 0 {
		values = strconv.AppendUint(values, l.seq, 10)
		values = strconv.AppendUint(append(values, ','), l.after, 10)
		values = strconv.AppendUint(append(values, ','), l.directed, 10)
		end(headerOrder)
	}
	number(headerAt, l.at)
	number(headerSent, l.sent)
	if l.room != "" {
		r.Key = []byte(l.room)
	}
	return r
}

var (
	errForeign = errors.New("no record of sockeye")
	errVersion = errors.New("record of another version")
)

// names are strings that come again and again in headers, so that each is kept once. The zero value works, and is not for several
// goroutines.
type names struct{ known map[string]string }

// maxNames is how many are kept: whoever can publish can invent some.
const maxNames = 1024

func (n *names) of(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	if n.known == nil || len(n.known) >= maxNames {
		n.known = make(map[string]string)
	}
	s := string(b)
	if len(s) <= maxName {
		n.known[s] = s
	}
	return s
}

// maxName is the length of what is kept, in bytes.
const maxName = 256

// open reads what is on the outside of a record.
func (n *names) open(r *kgo.Record) (letter, error) {
	l := letter{body: r.Value, room: string(r.Key)}
	if len(r.Headers) > maxHeaders {
		return l, fmt.Errorf("%w: it has %d headers", errForeign, len(r.Headers))
	}
	version := ""
	for i := range r.Headers {
		h := &r.Headers[i]
		if len(h.Value) > maxHeader {
			return l, fmt.Errorf("%w: header of %d bytes", errForeign, len(h.Value))
		}
		if err := n.read(h, &l, &version); err != nil {
			return l, fmt.Errorf("%w: header %s: %w", errForeign, h.Key, err)
		}
	}
	switch {
	case version == "":
		return l, errForeign
	case version != recordVersion:
		return l, fmt.Errorf("%w: %.20q", errVersion, version)
	case l.from == "" || l.kind == "":
		return l, fmt.Errorf("%w: a header is missing", errForeign)
	}
	return l, nil
}

func (n *names) read(h *kgo.RecordHeader, l *letter, version *string) (err error) {
	switch h.Key {
	case headerVersion:
		*version = n.of(h.Value)
	case headerFrom:
		l.from = adapter.NodeID(n.of(h.Value))
	case headerKind:
		l.kind = n.of(h.Value)
	case headerNamespace:
		l.namespace = n.of(h.Value)
	case headerTo:
		l.to = adapter.NodeID(n.of(h.Value))
	case headerOrder:
		err = l.readOrder(string(h.Value))
	case headerAt:
		l.at, err = strconv.ParseInt(string(h.Value), 10, 64)
	case headerSent:
		l.sent, err = strconv.ParseInt(string(h.Value), 10, 64)
	}
	return err
}

// maxNumber is the largest number of a message that the envelope can have, too.
const maxNumber = 1<<53 - 1

func (l *letter) readOrder(value string) error {
	fields := strings.SplitN(value, ",", 4)
	if len(fields) != 3 {
		return errors.New("three numbers are expected")
	}
	for i, to := range []*uint64{&l.seq, &l.after, &l.directed} {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return err
		}
		if n > maxNumber {
			return errors.New("number of a message is too large")
		}
		*to = n
	}
	return nil
}

// passed is what remains of a message that this node does not need: nothing, or its place in the order.
func (l *letter) passed() *adapter.Message {
	if l.seq == 0 && l.directed == 0 {
		return nil
	}
	return &adapter.Message{From: l.from, Seq: l.seq, After: l.after, Directed: l.directed}
}

// partitionOf spreads names over partitions: FNV-1a, 32 bits, modulo their number.
func partitionOf(name string, partitions int) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return int32(h.Sum32() % uint32(partitions))
}
