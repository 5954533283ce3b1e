package load

import "time"

// session is what a client keeps of its connections for connection state recovery, as the npm client does: the secret that the server
// gave it, and the offset of the last event. A nil session keeps nothing. It is used by one connection at a time.
type session struct {
	pid    string    // "" without recovery
	offset []byte    // as it stands in the packet, between quotation marks; nil for none
	since  time.Time // when the last CONNECT was answered; zero while an answer is awaited
}

// connect returns the CONNECT packet.
func (s *session) connect() []byte {
	if s == nil || s.pid == "" {
		return []byte("40")
	}
	p := append(append([]byte(`40{"pid":"`), s.pid...), '"')
	if s.offset != nil {
		p = append(append(append(p, `,"offset":"`...), s.offset...), '"')
	}
	return append(p, '}')
}

// connected takes the answer to CONNECT and reports whether the session goes on.
func (s *session) connected(answer []byte) bool {
	if s == nil {
		return false
	}
	s.since = time.Now()
	pid, _ := cutString(answer, `"pid":"`)
	same := pid != "" && pid == s.pid
	s.pid = pid
	return same
}

// event keeps the last argument of an event, if it is a string.
func (s *session) event(args []byte) {
	if s == nil || s.pid == "" {
		return
	}
	if last, ok := lastString(args); ok {
		s.offset = append(s.offset[:0], last...)
	}
}

// lastString returns the last element of a JSON array if it is a string, without the quotation marks, escaped as it came. The name of an
// event without arguments is one, too: the npm client takes it for an offset.
func lastString(array []byte) ([]byte, bool) {
	end := len(array) - 2
	if end < 1 || array[end+1] != ']' || array[end] != '"' {
		return nil, false
	}
	for i := end - 1; i > 0; i-- {
		if array[i] == '"' && !escaped(array, i) {
			return array[i+1 : end], array[i-1] == ',' || i == 1 && array[0] == '['
		}
	}
	return nil, false
}

// escaped reports whether an odd number of backslashes stands before p[i].
func escaped(p []byte, i int) bool {
	n := 0
	for n < i && p[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}
