package parser

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// Payload is the data of a packet or a part of it: a JSON text in which {"_placeholder":true,"num":n} stands for
// Attachments[n]. Without attachments such an object has no meaning of its own. A Payload without JSON is JavaScript's
// undefined. It may hold attachments that its JSON does not name; [Marshal] leaves those out.
//
// A Payload is read-only once it is made, and then safe from any goroutine. It may stand anywhere in the values given to
// [Marshal] and in the targets of [Payload.Unmarshal]: the JSON is then kept as it is, with its placeholders renumbered.
type Payload struct {
	JSON        json.RawMessage
	Attachments [][]byte
}

var errPayloadBinary = errors.New("a payload with attachments needs parser.Marshal")

// MarshalJSON lets a Payload be part of what encoding/json writes. It fails when there are attachments.
func (p Payload) MarshalJSON() ([]byte, error) {
	if len(p.Attachments) > 0 {
		return nil, errPayloadBinary
	}
	if len(p.JSON) == 0 {
		return []byte("null"), nil
	}
	return p.JSON, nil
}

// UnmarshalJSON keeps a copy of data.
func (p *Payload) UnmarshalJSON(data []byte) error {
	*p = Payload{JSON: append(json.RawMessage(nil), data...)}
	return nil
}

// Args splits a payload that is a JSON array into its elements, without copying them. A payload without JSON has none.
func (p Payload) Args() (Args, error) {
	a := Args{payload: p}
	if len(p.JSON) == 0 {
		return a, nil
	}
	i := jsontext.SkipSpace(p.JSON, 0)
	if i == len(p.JSON) || p.JSON[i] != '[' {
		return Args{}, fmt.Errorf("%w: not an array", ErrPayload)
	}
	i = jsontext.SkipSpace(p.JSON, i+1)
	if i < len(p.JSON) && p.JSON[i] == ']' {
		return a.whole(i + 1)
	}
	for {
		end := jsontext.ScanValue(p.JSON, i, maxDepth-1)
		if end < 0 {
			return Args{}, scanError(end)
		}
		a.add(span{i, end})
		i = jsontext.SkipSpace(p.JSON, end)
		if i < len(p.JSON) && p.JSON[i] == ']' {
			return a.whole(i + 1)
		}
		if i == len(p.JSON) || p.JSON[i] != ',' {
			return Args{}, scanError(jsontext.Malformed)
		}
		i = jsontext.SkipSpace(p.JSON, i+1)
	}
}

// whole returns a if nothing follows the array, which ends at end.
func (a Args) whole(end int) (Args, error) {
	if jsontext.SkipSpace(a.payload.JSON, end) != len(a.payload.JSON) {
		return Args{}, scanError(jsontext.Malformed)
	}
	return a, nil
}

// span is a part of a JSON text.
type span struct{ start, end int }

// Args are the arguments of an event or an acknowledgement, still in their JSON form. The zero value has none. It is
// read-only.
type Args struct {
	payload Payload
	first   int // elements hidden in front: the event's name
	n       int // elements of the array
	few     [4]span
	more    []span // those after few
}

func (a *Args) add(s span) {
	if a.n < len(a.few) {
		a.few[a.n] = s
	} else {
		a.more = append(a.more, s)
	}
	a.n++
}

// rest is a without its first element.
func (a Args) rest() Args {
	a.first++
	return a
}

// Len returns the number of arguments.
func (a Args) Len() int { return a.n - a.first }

// At returns argument i, counted from 0, or a Payload without JSON when there is none. Its Attachments are those of the
// whole packet.
func (a Args) At(i int) Payload {
	if i < 0 || i >= a.Len() {
		return Payload{}
	}
	i += a.first
	var s span
	if i < len(a.few) {
		s = a.few[i]
	} else {
		s = a.more[i-len(a.few)]
	}
	return Payload{JSON: a.payload.JSON[s.start:s.end:s.end], Attachments: a.payload.Attachments}
}

// Slice returns the arguments from number i to before number j, as they came: JavaScript's args.slice. What is beyond the ends is
// left out, since the client decides how many there are.
func (a Args) Slice(i, j int) Args {
	n := a.Len()
	i = min(max(i, 0), n)
	j = min(max(j, i), n)
	a.first, a.n = a.first+i, a.first+j
	return a
}

// Unmarshal stores argument i in the value that v points to, see [Payload.Unmarshal]. A missing argument leaves it as
// it is.
func (a Args) Unmarshal(i int, v any) error { return a.At(i).Unmarshal(v) }

// Values returns each argument as a [Payload], ready to be sent on as the arguments of another event.
func (a Args) Values() []any {
	values := make([]any, a.Len())
	for i := range values {
		values[i] = a.At(i)
	}
	return values
}
