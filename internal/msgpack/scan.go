package msgpack

import "github.com/sockeye-io/sockeye/internal/jsontext"

// shape is what an array or object of the JSON text is to be written as.
type shape uint8

const (
	array      shape = iota
	object           // its members in the order of the text
	rearranged       // its members in the order of scanner.ordered
	attachment       // bin
	undefined        // a placeholder with a fraction, see package parser
	illegal          // a placeholder for no attachment, an error unless a later equal key replaces it
)

// node describes an array or object. MessagePack wants the number of items in front of them, hence the scan before the
// writing.
type node struct {
	shape shape
	items uint32
	first uint32 // of scanner.ordered, or the number of the attachment
	end   uint32 // position after the closing bracket
	next  uint32 // index of the first node that is not inside
}

// member is a member of an object: positions in the text, and the index of the first node inside the value.
type member struct {
	key, keyEnd, value, valueEnd, node uint32
}

// scanner checks a JSON text and describes its arrays and objects.
type scanner struct {
	text    []byte
	count   int // attachments
	nodes   []node
	members []member // of the objects being scanned, innermost last
	ordered []member // of the rearranged objects, object by object
	entries []entry
}

func (s *scanner) scan() error {
	end := s.value(jsontext.SkipSpace(s.text, 0), MaxWriteDepth)
	if end == jsontext.TooDeep {
		return ErrTooDeep
	}
	if end < 0 || jsontext.SkipSpace(s.text, end) != len(s.text) {
		return ErrPayload
	}
	return nil
}

// value scans the value at i, with at most depth levels, and returns the position after it.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.text) {
		return jsontext.Malformed
	}
	switch s.text[i] {
	case '"':
		return jsontext.ScanString(s.text, i)
	case '{', '[':
		if depth == 0 {
			return jsontext.TooDeep
		}
		at := len(s.nodes)
		s.nodes = append(s.nodes, node{})
		n := node{}
		end := 0
		if s.text[i] == '[' {
			end = s.array(i, depth, &n)
		} else {
			end = s.object(i, depth, &n)
		}
		if end < 0 {
			return end
		}
		n.end, n.next = uint32(end), uint32(len(s.nodes))
		s.nodes[at] = n
		return end
	default:
		return jsontext.ScanScalar(s.text, i)
	}
}

func (s *scanner) array(i, depth int, n *node) int {
	i = jsontext.SkipSpace(s.text, i+1)
	if i < len(s.text) && s.text[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth-1); i < 0 {
			return i
		}
		n.items++
		next, more := jsontext.ScanNext(s.text, i, ']')
		if !more {
			return next
		}
		i = next
	}
}

func (s *scanner) object(i, depth int, n *node) int {
	base := len(s.members)
	n.shape = object
	i = jsontext.SkipSpace(s.text, i+1)
	if i < len(s.text) && s.text[i] == '}' {
		return i + 1
	}
	for {
		if i = s.member(i, depth); i < 0 {
			return i
		}
		next, more := jsontext.ScanNext(s.text, i, '}')
		if !more {
			if next >= 0 {
				s.settle(n, s.members[base:])
			}
			s.members = s.members[:base]
			return next
		}
		i = next
	}
}

// member scans a key and its value, and returns the position after them.
func (s *scanner) member(i, depth int) int {
	m := member{key: uint32(i)}
	end, i := jsontext.ScanKey(s.text, i)
	if i < 0 {
		return i
	}
	m.keyEnd = uint32(end)
	m.value, m.node = uint32(i), uint32(len(s.nodes))
	if i = s.value(i, depth-1); i < 0 {
		return i
	}
	m.valueEnd = uint32(i)
	s.members = append(s.members, m)
	return i
}

// settle decides how an object with these members is written.
func (s *scanner) settle(n *node, members []member) {
	n.items = uint32(len(members))
	if s.count > 0 && s.placeholder(n, members) {
		return
	}
	if !s.inOrder(members) {
		s.rearrange(n, members)
	}
}
