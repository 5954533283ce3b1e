package load

// tally accounts for what one receiver gets from one sender, which numbers its messages from 1 and sends each so many
// times. Copies of a message are alike: one that is lost and one that comes twice make up for each other.
type tally struct {
	copies int64 // static

	current int64 // number of the newest message seen
	seen    int64 // copies of it
	got     int64 // messages that count
	late    int64 // came after one with a higher number
	double  int64 // came more often than they were sent
}

// add counts a message and reports whether it was the last copy.
func (t *tally) add(number int64) (complete bool) {
	switch {
	case number > t.current:
		t.current, t.seen = number, 1
	case number < t.current:
		t.late++
		if t.got >= (t.current-1)*t.copies+t.seen {
			t.double++ // nothing is missing that it could be
			return false
		}
		t.got++
		return false
	case t.seen == t.copies:
		t.double++
		return false
	default:
		t.seen++
	}
	t.got++
	return t.seen == t.copies
}
