package kafkaadapter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// kindSession is the kind of the records of <prefix>.sessions. The value says what is to be done with a session: a byte for the version, one
// for the verb, the time that it is kept in milliseconds, its holder, its secret, and the session as the streams adapter of Redis stores it.
const kindSession = "session"

const sessionVersion = 1

// sessionVerb says what a record does with a session.
type sessionVerb byte

const (
	sessionKeep   sessionVerb = iota + 1 // write it, unless another node holds it
	sessionRemove                        // nobody is to go on with it, unless another node holds it
	sessionTake                          // give it to a holder
	sessionSave                          // write it, whoever holds it; nobody does then
	sessionDelete                        // remove it, whoever holds it
	sessionLook                          // only tell what is so at this place
	sessionTell                          // as sessionKeep, and its end is to be told when its time is over
	sessionReap                          // tell of its end, if its time is over at this place
)

// sessionStep is what a record says.
type sessionStep struct {
	do     sessionVerb
	ttl    time.Duration
	holder adapter.NodeID
	pid    string
	text   string // the session; "" but for those who write one
}

// maxSessionTTL bounds how long a session is kept.
const maxSessionTTL = 30 * 24 * time.Hour

var errSessionRecord = errors.New("no record of sessions")

func (s *sessionStep) encode() []byte {
	b := make([]byte, 0, 32+len(s.holder)+len(s.pid)+len(s.text))
	b = append(b, sessionVersion, byte(s.do))
	b = binary.AppendUvarint(b, uint64(min(max(s.ttl, 0), maxSessionTTL).Milliseconds()))
	for _, text := range []string{string(s.holder), s.pid} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return append(b, s.text...)
}

func decodeSessionStep(b []byte) (s sessionStep, err error) {
	if len(b) < 2 || b[0] != sessionVersion {
		return s, fmt.Errorf("%w: version", errSessionRecord)
	}
	s.do = sessionVerb(b[1])
	if s.do < sessionKeep || s.do > sessionReap {
		return s, fmt.Errorf("%w: verb", errSessionRecord)
	}
	b = b[2:]
	ms, n := binary.Uvarint(b)
	if n <= 0 || ms > uint64(maxSessionTTL.Milliseconds()) {
		return s, fmt.Errorf("%w: time", errSessionRecord)
	}
	s.ttl, b = time.Duration(ms)*time.Millisecond, b[n:]
	var texts [2]string
	for i := range texts {
		length, n := binary.Uvarint(b)
		if n <= 0 || length > uint64(len(b)-n) {
			return s, fmt.Errorf("%w: length", errSessionRecord)
		}
		texts[i], b = string(b[n:n+int(length)]), b[n+int(length):]
	}
	s.holder, s.pid, s.text = adapter.NodeID(texts[0]), texts[1], string(b)
	if writes := s.do == sessionKeep || s.do == sessionSave || s.do == sessionTell; s.pid == "" || writes != (s.text != "") {
		return s, fmt.Errorf("%w: something is missing", errSessionRecord)
	}
	return s, nil
}
