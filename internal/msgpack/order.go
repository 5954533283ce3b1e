package msgpack

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// fewMembers is the number of members up to which keys are compared one by one.
const fewMembers = 16

// inOrder tells whether the members are in the order in which JavaScript lists them and can be written as they are. It
// may say no to some that are.
func (s *scanner) inOrder(members []member) bool {
	if len(members) > fewMembers {
		return false
	}
	for i, m := range members {
		key := s.text[m.key+1 : m.keyEnd-1]
		if len(key) > 0 && jsontext.IsDigit(key[0]) || string(key) == protoKey || bytes.IndexByte(key, '\\') >= 0 {
			return false
		}
		for _, other := range members[:i] {
			if string(key) == string(s.text[other.key+1:other.keyEnd-1]) {
				return false
			}
		}
	}
	return true
}

// protoKey is the key that @msgpack/msgpack refuses and that is no ordinary one to notepack either.
const protoKey = "__proto__"

// entry is a member on its way to its place.
type entry struct {
	name  []byte
	index uint32 // array index, noIndex if the name is none
	place int
	member
}

// noIndex is above every array index (ECMAScript, "array index": up to 2^32-2).
const noIndex = 1<<32 - 1

// rearrange appends the members to s.ordered as ECMAScript's OrdinaryOwnPropertyKeys lists them: array indices in
// ascending order, then the others in the order in which they first came.
func (s *scanner) rearrange(n *node, members []member) {
	entries := s.entries[:0]
	for i, m := range members {
		name := s.text[m.key+1 : m.keyEnd-1]
		if needsUnescape(name) {
			name, _ = jsontext.AppendUnescaped(nil, name)
		}
		entries = append(entries, entry{name: name, index: arrayIndex(name), place: i, member: m})
	}
	s.entries = entries
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(bytes.Compare(a.name, b.name), cmp.Compare(a.place, b.place))
	})
	kept := entries[:0]
	for _, e := range entries {
		if last := len(kept) - 1; last >= 0 && bytes.Equal(kept[last].name, e.name) {
			kept[last].member = e.member
		} else if string(e.name) != protoKey {
			kept = append(kept, e)
		}
	}
	slices.SortFunc(kept, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.place, b.place))
	})
	n.shape, n.items, n.first = rearranged, uint32(len(kept)), uint32(len(s.ordered))
	for _, e := range kept {
		s.ordered = append(s.ordered, e.member)
	}
}

// arrayIndex returns the array index that a key is, or noIndex.
func arrayIndex(key []byte) uint32 {
	if len(key) == 0 || len(key) > 10 || key[0] == '0' && len(key) > 1 {
		return noIndex
	}
	var n uint64
	for _, c := range key {
		if !jsontext.IsDigit(c) {
			return noIndex
		}
		n = n*10 + uint64(c-'0')
	}
	return uint32(min(n, noIndex))
}

// placeholder tells whether an object is a placeholder, by the rules of package parser: the last of equal keys decides,
// and other members do not matter.
func (s *scanner) placeholder(n *node, members []member) bool {
	is := false
	var num []byte
	for _, m := range members {
		value := s.text[m.value:m.valueEnd]
		switch key := s.text[m.key:m.keyEnd]; {
		case jsontext.KeyIs(key, "_placeholder"):
			is = string(value) == "true"
		case jsontext.KeyIs(key, "num"):
			num = value
		}
	}
	if !is {
		return false
	}
	n.shape, n.items = illegal, 0
	index, legal := jsontext.Placeholder(num, s.count)
	switch {
	case !legal:
	case index < 0:
		n.shape = undefined
	default:
		n.shape, n.first = attachment, uint32(index)
	}
	return true
}
