package natsadapter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/sockeye-io/sockeye/adapter"
)

// An entry of the log is a byte for the version, one for the kind, the length and the id of the node that has written it, and broadcasts:
// the number, the length and the body of each. Numbers are varints.

const entryVersion = 1

// entryKind says what an entry is.
type entryKind byte

const (
	entryBroadcasts entryKind = iota + 1
	entryMark                 // has nothing in it, so that there is an entry that is not too old
	entryBreak                // nobody goes on from before it
)

// logEntry is what one message of the stream says.
type logEntry struct {
	kind entryKind
	from adapter.NodeID
	list []keptBody
}

// keptBody is a broadcast in an entry.
type keptBody struct {
	seq  uint64 // Message.Seq
	body []byte
}

var errEntry = errors.New("no entry of the log")

func (e *logEntry) encode() []byte {
	size := 16 + len(e.from)
	for _, k := range e.list {
		size += 2*binary.MaxVarintLen64 + len(k.body)
	}
	b := append(make([]byte, 0, size), entryVersion, byte(e.kind))
	b = binary.AppendUvarint(b, uint64(len(e.from)))
	b = append(b, e.from...)
	for _, k := range e.list {
		b = binary.AppendUvarint(b, k.seq)
		b = binary.AppendUvarint(b, uint64(len(k.body)))
		b = append(b, k.body...)
	}
	return b
}

// decodeEntry reads an entry, whose bodies are parts of b.
func decodeEntry(b []byte) (e logEntry, err error) {
	if len(b) < 2 || b[0] != entryVersion {
		return e, fmt.Errorf("%w: version", errEntry)
	}
	e.kind = entryKind(b[1])
	if e.kind < entryBroadcasts || e.kind > entryBreak {
		return e, fmt.Errorf("%w: kind", errEntry)
	}
	from, b, ok := cutBytes(b[2:])
	if !ok {
		return e, fmt.Errorf("%w: sender", errEntry)
	}
	e.from = adapter.NodeID(from)
	for len(b) > 0 {
		seq, n := binary.Uvarint(b)
		if n <= 0 {
			return e, fmt.Errorf("%w: number", errEntry)
		}
		var body []byte
		if body, b, ok = cutBytes(b[n:]); !ok {
			return e, fmt.Errorf("%w: body", errEntry)
		}
		e.list = append(e.list, keptBody{seq, body})
	}
	if (e.kind == entryBroadcasts) != (len(e.list) > 0) {
		return e, fmt.Errorf("%w: number of bodies", errEntry)
	}
	e.list = slices.Clip(e.list)
	return e, nil
}

// cutBytes reads a length and as many bytes.
func cutBytes(b []byte) (text, rest []byte, ok bool) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, false
	}
	end := n + int(length)
	return b[n:end:end], b[end:], true
}
