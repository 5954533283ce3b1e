package natsadapter

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// An offset names the broadcast that came last: a mark of the namespace and of the stream's creation, the sequence of its entry, the time
// that the server has given that, in nanoseconds, and how many broadcasts of the entry came, all three in base 36. Sequence and time
// together name an entry for good: whatever became of the stream, an offset whose entry is there with that time continues there.

// keptMark is the length of the mark, in hexadecimal digits.
const keptMark = 12

// place is an offset in parts.
type place struct {
	life int64  // when the stream was created, in nanoseconds
	seq  uint64 // of the entry
	at   int64  // when that was stored
	n    int    // broadcasts of it that came
}

// isAt reports whether an entry is the one of a place.
func (p place) isAt(s *stored) bool { return p.seq == s.seq && p.at == s.at }

// compare tells which of two places of one life comes first.
func (p place) compare(q place) int { return cmp.Or(cmp.Compare(p.seq, q.seq), cmp.Compare(p.n, q.n)) }

// markOf is the mark of a namespace's offsets.
func markOf(namespace string, life int64) string {
	sum := sha256.Sum256(strconv.AppendInt([]byte(namespace+" "), life, 36))
	return hex.EncodeToString(sum[:keptMark/2])
}

func offsetText(mark string, p place) string {
	b := make([]byte, 0, keptMark+40)
	b = append(b, mark...)
	b = strconv.AppendUint(append(b, '-'), p.seq, 36)
	b = strconv.AppendInt(append(b, '-'), p.at, 36)
	b = strconv.AppendInt(append(b, '-'), int64(p.n), 36)
	return string(b)
}

// parseOffset is the opposite of offsetText, but for the life, of which there is the mark.
func parseOffset(offset string) (mark string, p place, ok bool) {
	parts := strings.Split(offset, "-")
	if len(parts) != 4 || len(parts[0]) != keptMark {
		return "", p, false
	}
	seq, err := strconv.ParseUint(parts[1], 36, 64)
	if err != nil {
		return "", p, false
	}
	at, err := strconv.ParseUint(parts[2], 36, 63)
	if err != nil {
		return "", p, false
	}
	n, err := strconv.ParseUint(parts[3], 36, 31)
	if err != nil {
		return "", p, false
	}
	p.seq, p.at, p.n = seq, int64(at), int(n)
	return parts[0], p, true
}
