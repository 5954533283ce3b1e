package kafkaadapter

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// changeHeader is the name of the header that has what a record asks for. Its value is empty in a state that is nothing, which lets
// compaction remove the key.
const changeHeader = "change"

// changeVersion begins the header. Nodes leave out what has another.
const changeVersion = 1

// userRecord is a record of the users' topic.
type userRecord struct {
	key    string // see userKey
	base   int64  // offset of the record of this key on which the sender builds; -1 is none
	writer uint64 // the sender's store
	number uint64 // of the change there
	userStep
}

var errUserRecord = errors.New("no record of users")

// userKey is the key of a record: kind, namespace and what it tells of.
func userKey(kind userKind, namespace, name string) string {
	b := make([]byte, 0, 2+len(namespace)+len(name))
	b = append(b, byte(kind))
	b = binary.AppendUvarint(b, uint64(len(namespace)))
	b = append(b, namespace...)
	return string(append(b, name...))
}

// parseUserKey is the opposite of userKey.
func parseUserKey(key string) (kind userKind, namespace, name string, ok bool) {
	if len(key) < 2 {
		return 0, "", "", false
	}
	kind = userKind(key[0])
	n, width := binary.Uvarint([]byte(key[1:min(len(key), 1+binary.MaxVarintLen64)]))
	if width <= 0 || n > uint64(len(key)-1-width) {
		return 0, "", "", false
	}
	namespace, name = key[1+width:1+width+int(n)], key[1+width+int(n):]
	switch kind {
	case ofUser, ofEpoch, ofRoll, ofClaim, ofProof:
		return kind, namespace, name, userKey(kind, namespace, name) == key
	}
	return 0, "", "", false
}

// userPartition is where the records of a key are. Users are spread; the roll and claims are in the first one.
func userPartition(key string, partitions int) int32 {
	kind, _, name, _ := parseUserKey(key)
	switch kind {
	case ofUser:
		h := fnv.New32a()
		_, _ = h.Write([]byte(key))
		return int32(h.Sum32() % uint32(partitions))
	case ofEpoch, ofProof:
		n, err := strconv.ParseUint(name, 10, 31)
		if err != nil || n >= uint64(partitions) {
			return -1
		}
		return int32(n)
	}
	return 0
}

func (r *userRecord) encode(topic string, partition int32) *kgo.Record {
	b := []byte{changeVersion, byte(r.do)}
	b = binary.AppendVarint(b, r.base)
	b = binary.BigEndian.AppendUint64(b, r.writer)
	b = binary.AppendUvarint(b, r.number)
	b = binary.AppendUvarint(b, uint64(r.ttl.Milliseconds()))
	b = append(b, r.life...)
	record := &kgo.Record{Topic: topic, Partition: partition, Key: []byte(r.key), Headers: []kgo.RecordHeader{{Key: changeHeader, Value: b}}}
	if r.state != "" {
		record.Value = []byte(r.state)
	}
	return record
}

// decodeUserRecord reads a record. Only the key is set with an error that is not about the key.
func decodeUserRecord(record *kgo.Record) (r userRecord, err error) {
	key := string(record.Key)
	kind, _, _, ok := parseUserKey(key)
	if !ok {
		return r, errUserRecord
	}
	r.key = key
	var b []byte
	for _, h := range record.Headers {
		if h.Key == changeHeader {
			b = h.Value
		}
	}
	if len(b) < 2 || b[0] != changeVersion {
		return r, errUserRecord
	}
	s := userStep{do: userVerb(b[1]), state: string(record.Value)}
	if !s.fits(kind) {
		return r, errUserRecord
	}
	b = b[2:]
	base, n := binary.Varint(b)
	if n <= 0 || len(b) < n+8 || base < -1 {
		return r, errUserRecord
	}
	writer := binary.BigEndian.Uint64(b[n:])
	b = b[n+8:]
	number, n := binary.Uvarint(b)
	if n <= 0 {
		return r, errUserRecord
	}
	b = b[n:]
	ttl, n := binary.Uvarint(b)
	if n <= 0 || ttl > uint64(maxClaim.Milliseconds()) {
		return r, errUserRecord
	}
	s.ttl, s.life = time.Duration(ttl)*time.Millisecond, string(b[n:])
	if kind == ofUser && s.do != stepAffirm && !isLife(s.life) {
		return r, errUserRecord
	}
	return userRecord{key: key, base: base, writer: writer, number: number, userStep: s}, nil
}

// maxClaim is the longest time of a claim.
const maxClaim = 30 * 24 * time.Hour

// isLife reports whether a state can have a life.
func isLife(life string) bool { return life != "" && !strings.Contains(life, lifeSeparator) }

// fits reports whether a step can be asked for with a kind of key.
func (s *userStep) fits(kind userKind) bool {
	switch s.do {
	case stepAffirm:
		return true
	case stepDraw:
		return kind == ofEpoch && s.state != ""
	case stepPut:
		return kind == ofRoll || kind == ofProof
	case stepClaim:
		return kind == ofClaim
	case 1, 2, 3:
		return kind == ofUser
	}
	return false
}

func (c claim) String() string { return strconv.FormatInt(c.until, 10) + " " + c.by }

// parseClaim is the opposite of claim.String.
func parseClaim(state string) (claim, bool) {
	until, by, ok := strings.Cut(state, " ")
	ms, err := strconv.ParseInt(until, 10, 64)
	return claim{by, ms}, ok && err == nil
}
