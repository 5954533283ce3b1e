package kafkaadapter

import (
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// userKind says of what a record of the users' topic tells.
type userKind byte

const (
	ofUser  userKind = 'u' // who holds a user
	ofEpoch userKind = 'e' // the epoch of one partition
	ofRoll  userKind = 'r' // a life and its node
	ofClaim userKind = 'c' // who may sweep a life
	ofProof userKind = 'p' // of one partition: who has read the topic last, and seen that it can write
)

// userVerb is what a record asks for.
type userVerb byte

const (
	// Steps with the numbers of adapter.UserOp are changes of a user.
	stepDraw   userVerb = iota + 16 // an epoch, if there is none
	stepPut                         // a value, whatever there was
	stepClaim                       // a life, unless somebody else has it
	stepAffirm                      // says what is so, and changes nothing
)

// A state is what is kept under a key, as text; "" is nothing. That of a user is its lives, with commas between and a mark before each:
const (
	lifeSeparator = ","
	firstMark     = "+" // holds the user, and found nobody when it began to
	holderMark    = "-" // holds the user
	awayMark      = "~" // has the user, who is away, in its care; alone
)

// userTokens is the state of a user.
type userTokens struct {
	holders     []string // lives
	first, away string
}

// parseUser reads a state. What no Sockeye node writes is left out.
func parseUser(state string) (u userTokens) {
	if state == "" {
		return u
	}
	for token := range strings.SplitSeq(state, lifeSeparator) {
		if len(token) < 2 {
			continue
		}
		life := token[1:]
		switch token[:1] {
		case firstMark:
			u.first = life
			u.holders = append(u.holders, life)
		case holderMark:
			u.holders = append(u.holders, life)
		case awayMark:
			u.away = life
		}
	}
	return u
}

// others returns the holders without one.
func (u *userTokens) others(life string) (others []string) {
	for _, h := range u.holders {
		if h != life {
			others = append(others, h)
		}
	}
	return others
}

// changeUser returns the state of a user after a change. Each change can be made twice.
func changeUser(state string, op adapter.UserOp, life string) string {
	away := state == awayMark+life
	held, rest := without(state, life)
	switch op {
	case adapter.UserHold:
		switch {
		case state == "":
			return firstMark + life
		case strings.HasPrefix(state, awayMark):
			return holderMark + life
		case held:
			return state
		}
		return state + lifeSeparator + holderMark + life
	case adapter.UserRelease, adapter.UserForget:
		switch {
		case !held && !away:
			return state
		case op == adapter.UserRelease && rest == "":
			return awayMark + life
		}
		return rest
	}
	return state
}

// without takes a holder out of a state and reports whether it was there.
func without(state, life string) (held bool, rest string) {
	if strings.HasPrefix(state, awayMark) {
		return false, ""
	}
	var left []string
	for token := range strings.SplitSeq(state, lifeSeparator) {
		switch {
		case token == firstMark+life || token == holderMark+life:
			held = true
		case token != "":
			left = append(left, token)
		}
	}
	return held, strings.Join(left, lifeSeparator)
}

// outcomeOf says what came of a change, from the states after and before it.
func outcomeOf(c adapter.UserChange, now, before string) adapter.UserOutcome {
	u := parseUser(now)
	o := adapter.UserOutcome{Holders: u.others(c.Life)}
	switch c.Op {
	case adapter.UserHold:
		was := parseUser(before)
		o.First, o.Away = u.first == c.Life, was.away
	case adapter.UserRelease:
		o.Away = u.away
	case adapter.UserForget:
		o.Last = now == ""
	}
	return o
}

// claim is who may sweep a life, and until when by the broker's clock.
type claim struct {
	by    string
	until int64 // milliseconds since 1970
}

// userStep is what a record asks for, with what it needs to be done.
type userStep struct {
	do    userVerb
	life  string        // of changes of a user; who claims
	ttl   time.Duration // of a claim
	state string        // what the sender expects to be so afterwards
}

// after returns the state after a step that was appended at a time, given the one before.
func (s *userStep) after(before string, at time.Time) string {
	switch s.do {
	case stepDraw:
		if before != "" {
			return before
		}
		return s.state
	case stepPut:
		return s.state
	case stepClaim:
		if c, ok := parseClaim(before); ok && c.by != s.life && c.until > at.UnixMilli() {
			return before
		}
		return claim{s.life, at.Add(s.ttl).UnixMilli()}.String()
	case stepAffirm:
		return before
	}
	return changeUser(before, adapter.UserOp(s.do), s.life)
}
