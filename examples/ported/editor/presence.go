package main

import "encoding/binary"

// presence is whom a word of y-protocols' awareness is about, and which of its words it is: a later one has a higher clock. In
// binary it is a count of clients, then for each its id, its clock and the length and text of its state, all numbers as
// variable-length integers.
type presence struct {
	client, clock uint64
}

// parsePresence reads a word that is about one client.
func parsePresence(word []byte) (presence, bool) {
	var fields [3]uint64
	for i := range fields {
		n, size := binary.Uvarint(word)
		if size <= 0 {
			return presence{}, false
		}
		fields[i], word = n, word[size:]
	}
	return presence{fields[1], fields[2]}, fields[0] == 1
}

// gone returns the word that takes the client out.
func (p presence) gone() []byte {
	word := binary.AppendUvarint([]byte{1}, p.client)
	word = binary.AppendUvarint(word, p.clock+1)
	return append(word, "\x04null"...)
}
