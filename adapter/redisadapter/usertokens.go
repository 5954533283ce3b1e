package redisadapter

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/store"
)

// userTokens is the value of a user's field: the tokens of lives, with commas between. "+" before a token says that nobody held
// the user when this life began to, so that a Hold whose answer was lost gives the same one again. "~" says that the user is
// away, in the care of that life; such a token is alone. Redis keeps a hash in its compact form while its values have at most
// 64 bytes, which is why tokens are short: five lives fit.
type userTokens struct {
	holders []string // lives
	first   string   // the one that found nobody, if it is there still
	away    string
}

const (
	tokenSeparator = ","
	firstMark      = "+"
	awayMark       = "~"
	otherLife      = "=" // begins the token of a life that has another form than those of package membership
	packedLength   = 11
)

// parseUser reads a value. Tokens that are no lives, which no Sockeye node writes, are left out.
func parseUser(value string) (u userTokens) {
	for token := range strings.SplitSeq(value, tokenSeparator) {
		if packed, ok := strings.CutPrefix(token, awayMark); ok {
			u.away, _ = lifeOf(packed)
			continue
		}
		packed, first := strings.CutPrefix(token, firstMark)
		life, ok := lifeOf(packed)
		if !ok {
			continue
		}
		u.holders = append(u.holders, life)
		if first {
			u.first = life
		}
	}
	return u
}

// others returns the holders without one.
func (u userTokens) others(life string) (others []string) {
	for _, h := range u.holders {
		if h != life {
			others = append(others, h)
		}
	}
	return others
}

// outcomeOf says what came of a change from the value that it left and the one that it found.
func outcomeOf(c adapter.UserChange, now, before string) adapter.UserOutcome {
	u := parseUser(now)
	o := adapter.UserOutcome{Holders: u.others(c.Life)}
	switch c.Op {
	case adapter.UserHold:
		o.First, o.Away = u.first == c.Life, parseUser(before).away
	case adapter.UserRelease:
		o.Away = u.away
	case adapter.UserForget:
		o.Last = now == ""
	}
	return o
}

// lifeToken returns what stands for a life in a value: of 16 hexadecimal digits the same in base 64, and of a later life of
// that node, "<digits>-<number>" from 2 on, the number behind it.
func lifeToken(life string) (string, error) {
	if life == "" || strings.Contains(life, tokenSeparator) {
		return "", store.Misuse(fmt.Sprintf("illegal life %q", life))
	}
	if id, number, later := strings.Cut(life, "-"); len(id) == 16 && (!later || isLater(number)) {
		if n, err := strconv.ParseUint(id, 16, 64); err == nil && fmt.Sprintf("%016x", n) == id {
			return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, n)) + number, nil
		}
	}
	return otherLife + life, nil
}

// lifeOf is the opposite of lifeToken.
func lifeOf(token string) (string, bool) {
	if life, ok := strings.CutPrefix(token, otherLife); ok {
		back, err := lifeToken(life)
		return life, err == nil && back == token
	}
	if len(token) < packedLength {
		return "", false
	}
	number := token[packedLength:]
	id, err := base64.RawURLEncoding.Strict().DecodeString(token[:packedLength])
	if err != nil || len(id) != 8 || number != "" && !isLater(number) {
		return "", false
	}
	life := fmt.Sprintf("%016x", binary.BigEndian.Uint64(id))
	if number != "" {
		life += "-" + number
	}
	return life, true
}

// isLater reports whether s is the number of a life that is not a node's first, as it is printed.
func isLater(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && n > 1 && strconv.FormatUint(n, 10) == s
}
