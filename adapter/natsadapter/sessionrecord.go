package natsadapter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// A session is a message of its own subject in the stream of sessions, of which the last one is kept: a byte for the version, one that says
// whether its end is to be told, the time after which it is over in milliseconds from when it was stored, the length and the id of its holder, and the
// session as the streams adapter of Redis stores it. Without that there is none: it was removed.

const sessionVersion = 1

// sessionRecord is what is stored of a session.
type sessionRecord struct {
	told   bool
	ttl    time.Duration
	holder adapter.NodeID
	text   string
}

// maxSessionTTL bounds how long a session is kept.
const maxSessionTTL = 30 * 24 * time.Hour

var errSessionRecord = errors.New("no record of a session")

func (r *sessionRecord) encode() []byte {
	b := append(make([]byte, 0, 24+len(r.holder)+len(r.text)), sessionVersion, 0)
	if r.told {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(min(max(r.ttl, 0), maxSessionTTL).Milliseconds()))
	b = binary.AppendUvarint(b, uint64(len(r.holder)))
	b = append(b, r.holder...)
	return append(b, r.text...)
}

func decodeSessionRecord(b []byte) (r sessionRecord, err error) {
	if len(b) < 2 || b[0] != sessionVersion || b[1] > 1 {
		return r, fmt.Errorf("%w: version", errSessionRecord)
	}
	r.told = b[1] == 1
	b = b[2:]
	ms, n := binary.Uvarint(b)
	if n <= 0 || ms > uint64(maxSessionTTL.Milliseconds()) {
		return r, fmt.Errorf("%w: time", errSessionRecord)
	}
	holder, text, ok := cutBytes(b[n:])
	if !ok {
		return r, fmt.Errorf("%w: holder", errSessionRecord)
	}
	r.ttl, r.holder, r.text = time.Duration(ms)*time.Millisecond, adapter.NodeID(holder), string(text)
	return r, nil
}
