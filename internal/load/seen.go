package load

// seen accounts exactly for what one client gets of messages that are numbered from 1 and due once each. See tally for messages with
// copies, which costs no memory.
type seen struct {
	numbers []uint64 // a bit for each

	newest int64
	got    int64
	late   int64 // came after one with a higher number
	double int64 // had come before
}

// maxSeen bounds the numbers, so that a server that invents them costs a client 2 MB at most.
const maxSeen = 1 << 24

// add counts a message and reports whether it is new.
func (s *seen) add(number int64) bool {
	word, bit := int(number>>6), uint64(1)<<(number&63)
	if missing := word + 1 - len(s.numbers); missing > 0 {
		s.numbers = append(s.numbers, make([]uint64, missing)...)
	}
	if s.numbers[word]&bit != 0 {
		s.double++
		return false
	}
	s.numbers[word] |= bit
	s.got++
	if number < s.newest {
		s.late++
	}
	s.newest = max(s.newest, number)
	return true
}
