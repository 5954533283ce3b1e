package natsadapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/adapter"
)

// userQuestion is what a store asks the keeper. Users are bytes, since JSON has no place for all text.
type userQuestion struct {
	Do        userVerb     `json:"do"`
	Namespace string       `json:"nsp"`
	Changes   []userChange `json:"changes,omitempty"`
	User      []byte       `json:"user,omitempty"`
	Life      string       `json:"life,omitempty"`
	Node      string       `json:"node,omitempty"`
	By        string       `json:"by,omitempty"`
	For       int64        `json:"for,omitempty"` // nanoseconds
	Notes     []note       `json:"notes,omitempty"`
	From      uint64       `json:"from,omitempty"` // place in the notebook of By
}

// userVerb is what is asked: a method of adapter.UserStore, a part of Sweep, or what is about notes.
type userVerb string

const (
	doApply  userVerb = "apply"
	doLookup userVerb = "lookup"
	doEnrol  userVerb = "enrol"
	doRoll   userVerb = "roll"
	doClaim  userVerb = "claim"
	doHeld   userVerb = "held"   // some users of a life
	doStrike userVerb = "strike" // takes a life off the roll
	doNote   userVerb = "note"   // takes notes
	doNotes  userVerb = "notes"  // some notes behind a place
)

type userChange struct {
	Op   adapter.UserOp `json:"op"`
	User []byte         `json:"user"`
	Life string         `json:"life"`
}

// userAnswer is what the keeper answers.
type userAnswer struct {
	Not      bool                  `json:"not,omitempty"`   // it is no keeper
	Large    bool                  `json:"large,omitempty"` // the answer would be larger than NATS takes
	Error    string                `json:"error,omitempty"`
	Outcomes []adapter.UserOutcome `json:"outcomes,omitempty"`
	Entry    adapter.UserEntry     `json:"entry,omitzero"`
	Lives    map[string]string     `json:"lives,omitempty"`
	Epoch    string                `json:"epoch,omitempty"`
	OK       bool                  `json:"ok,omitempty"`
	Users    [][]byte              `json:"users,omitempty"`
	Keeper   string                `json:"keeper,omitempty"` // whose the notes are
	Notes    []note                `json:"notes,omitempty"`
	Next     uint64                `json:"next,omitempty"` // the place behind them
}

// Bounds of what a keeper takes.
const (
	maxUserChanges  = 512
	maxUserQuestion = 256 << 10 // bytes
	maxUserLife     = 512       // bytes of a life, of the name of its node, and of who claims it
)

// readUserQuestion reads and checks a question.
func readUserQuestion(body []byte) (q userQuestion, err error) {
	if err := json.Unmarshal(body, &q); err != nil {
		return q, fmt.Errorf("read the question: %w", err)
	}
	return q, q.check()
}

func (q *userQuestion) check() error {
	if len(q.Life) > maxUserLife || len(q.Node) > maxUserLife || len(q.By) > maxUserLife {
		return errors.New("a life, the name of its node or who claims it is too long")
	}
	if !utf8.ValidString(q.Namespace + q.Life + q.Node + q.By) {
		return errors.New("a namespace, a life, the name of its node or who claims it is no text")
	}
	if n := max(len(q.Changes), len(q.Notes)); n > maxUserChanges {
		return fmt.Errorf("%d changes are too many at once", n)
	}
	for _, n := range q.Notes {
		if err := n.check(); err != nil {
			return err
		}
	}
	for _, c := range q.Changes {
		switch {
		case c.Op < adapter.UserHold || c.Op > adapter.UserForget:
			return fmt.Errorf("unknown operation %d", c.Op)
		case len(c.Life) > maxUserLife:
			return errors.New("a life is too long")
		case !utf8.ValidString(c.Life):
			return errors.New("a life is no text")
		}
	}
	return nil
}

func (q *userQuestion) changes() []adapter.UserChange {
	changes := make([]adapter.UserChange, len(q.Changes))
	for i, c := range q.Changes {
		changes[i] = adapter.UserChange{Op: c.Op, User: string(c.User), Life: c.Life}
	}
	return changes
}

// questionsOf splits changes, so that each question is small enough for NATS.
func questionsOf(namespace string, changes []adapter.UserChange) (list []userQuestion) {
	size := 0
	for _, c := range changes {
		if n := len(list); n == 0 || size > maxUserQuestion/2 || len(list[n-1].Changes) == maxUserChanges {
			list, size = append(list, userQuestion{Do: doApply, Namespace: namespace}), 0
		}
		q := &list[len(list)-1]
		q.Changes = append(q.Changes, userChange{c.Op, []byte(c.User), c.Life})
		size += len(c.User)*4/3 + len(c.Life) + 40
	}
	return list
}

// beacon is what a keeper says of itself, and a store that would be one.
type beacon struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"` // when it began to keep; zero if it does not
	Gone  bool      `json:"gone,omitempty"`
}

// maxBeacon bounds what is read, in bytes.
const maxBeacon = 256

func readBeacon(body []byte) (b beacon, ok bool) {
	if len(body) > maxBeacon || json.Unmarshal(body, &b) != nil || b.ID == "" || len(b.ID) > 64 {
		return beacon{}, false
	}
	return b, true
}

// follows reports whether a keeper takes precedence over another one: the one that began later, whose users are nearer to the truth.
func (b beacon) follows(other beacon) bool {
	if b.Since.Equal(other.Since) {
		return b.ID > other.ID
	}
	return b.Since.After(other.Since)
}
