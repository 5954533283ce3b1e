package msgpack

import (
	"math"
	"strconv"
	"sync"

	"github.com/sockeye-io/sockeye/internal/jsontext"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Dialect is the npm package whose output is wanted.
type Dialect uint8

const (
	// Notepack is notepack.io 3.0.1: the classic and the sharded adapter, and the classic emitter.
	Notepack Dialect = iota
	// MessagePack is @msgpack/msgpack 2.8: the streams adapter, its emitter and its session store.
	MessagePack
)

// AppendPayload appends p as d writes it, see the package's description. On an error it returns dst as it was.
func AppendPayload(dst []byte, d Dialect, p parser.Payload) ([]byte, error) {
	if len(p.JSON) == 0 {
		return AppendNil(dst), nil
	}
	if uint64(len(p.JSON)) > math.MaxUint32 {
		return dst, ErrTooLarge
	}
	e := encoders.Get().(*encoder)
	defer e.release()
	e.text, e.count = p.JSON, len(p.Attachments)
	if err := e.scan(); err != nil {
		return dst, err
	}
	e.dst, e.dialect, e.attachments = dst, d, p.Attachments
	e.value(jsontext.SkipSpace(e.text, 0))
	if e.err != nil {
		return dst, e.err
	}
	return e.dst, nil
}

// encoder writes a payload whose scanner has gone through it.
type encoder struct {
	scanner
	dst         []byte
	dialect     Dialect
	attachments [][]byte
	at          uint32 // the next node
	scratch     []byte // a string without its escapes
	err         error
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// Scratch memory up to this number of entries is used again.
const maxPooled = 1 << 12

func (e *encoder) release() {
	if cap(e.nodes) > maxPooled || cap(e.members) > maxPooled || cap(e.ordered) > maxPooled ||
		cap(e.entries) > maxPooled || cap(e.scratch) > maxPooled {
		return
	}
	clear(e.entries[:cap(e.entries)])
	*e = encoder{
		scanner: scanner{
			nodes: e.nodes[:0], members: e.members[:0], ordered: e.ordered[:0], entries: e.entries[:0],
		},
		scratch: e.scratch[:0],
	}
	encoders.Put(e)
}

// value writes the value at i and returns the position after it.
func (e *encoder) value(i int) int {
	switch c := e.text[i]; c {
	case '"':
		return e.string(i)
	case 't':
		e.dst = AppendBool(e.dst, true)
		return i + len("true")
	case 'f':
		e.dst = AppendBool(e.dst, false)
		return i + len("false")
	case 'n':
		e.dst = AppendNil(e.dst)
		return i + len("null")
	case '[', '{':
		return e.container(i)
	default:
		return e.number(i)
	}
}

func (e *encoder) container(i int) int {
	n := e.nodes[e.at]
	e.at++
	switch n.shape {
	case array:
		e.dst = AppendArray(e.dst, int(n.items))
		i = jsontext.SkipSpace(e.text, i+1)
		for range n.items {
			i = jsontext.NextItem(e.text, e.value(i))
		}
	case object:
		e.dst = AppendMap(e.dst, int(n.items))
		i = jsontext.SkipSpace(e.text, i+1)
		for range n.items {
			i = jsontext.SkipSpace(e.text, e.string(i)) + 1
			i = jsontext.NextItem(e.text, e.value(jsontext.SkipSpace(e.text, i)))
		}
	case rearranged:
		e.dst = AppendMap(e.dst, int(n.items))
		for _, m := range e.ordered[n.first : n.first+n.items] {
			e.string(int(m.key))
			e.at = m.node
			e.value(int(m.value))
		}
	case attachment:
		e.dst = AppendBinary(e.dst, e.attachments[n.first])
	case undefined:
		e.dst = AppendNil(e.dst)
	case illegal:
		e.err = ErrAttachments
	}
	e.at = n.next
	return int(n.end)
}

// string writes the string at i and returns the position after it.
func (e *encoder) string(i int) int {
	end := jsontext.SkipString(e.text, i)
	e.scratch, e.dst = appendText(e.dst, e.dialect, e.scratch[:0], e.text[i+1:end-1])
	return end
}

// number writes the number at i and returns the position after it.
func (e *encoder) number(i int) int {
	end := jsontext.SkipScalar(e.text, i)
	text := e.text[i:end]
	if n, ok := smallInteger(text); ok {
		e.dst = AppendInt(e.dst, n)
		return end
	}
	// Beyond the range of a double it is an infinity, as JSON.parse has it.
	f, _ := strconv.ParseFloat(string(text), 64)
	e.dst = appendNumber(e.dst, e.dialect, f)
	return end
}

// smallInteger reads a number of digits alone that is certainly a safe integer.
func smallInteger(text []byte) (int64, bool) {
	digits, negative := text, text[0] == '-'
	if negative {
		digits = text[1:]
	}
	if len(digits) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		if !jsontext.IsDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}
