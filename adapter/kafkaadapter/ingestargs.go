package kafkaadapter

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// maxIngestDepth is how deep arguments may be nested, as far as clients take them.
const maxIngestDepth = 1000

// ingestArgs reads the arguments of an event from the value of a record.
func ingestArgs(value []byte) ([]any, error) {
	value = bytes.TrimSpace(value)
	switch {
	case len(value) == 0:
		return nil, nil
	case !json.Valid(value):
		return nil, fmt.Errorf("%w: the value is no JSON", errIngest)
	case depth(value) > maxIngestDepth:
		return nil, fmt.Errorf("%w: the value is nested too deep", errIngest)
	case value[0] != '[':
		return []any{json.RawMessage(value)}, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return nil, fmt.Errorf("%w: %w", errIngest, err)
	}
	args := make([]any, len(list))
	for i, arg := range list {
		args[i] = arg
	}
	return args, nil
}

// depth is how deep valid JSON is nested.
func depth(value []byte) (deepest int) {
	now, text := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}

// recentIDs remembers the last keys, by their sums: keys may be of any length.
type recentIDs struct {
	seen  map[[sha256.Size]byte]struct{}
	order [][sha256.Size]byte // a ring
	next  int
}

func newRecentIDs(n int) *recentIDs {
	return &recentIDs{seen: make(map[[sha256.Size]byte]struct{}), order: make([][sha256.Size]byte, n)}
}

// add reports whether a key is new.
func (r *recentIDs) add(id string) bool {
	sum := sha256.Sum256([]byte(id))
	if _, ok := r.seen[sum]; ok {
		return false
	}
	delete(r.seen, r.order[r.next])
	r.order[r.next] = sum
	r.next = (r.next + 1) % len(r.order)
	r.seen[sum] = struct{}{}
	return true
}
