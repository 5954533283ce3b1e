package redisadapter

import (
	"crypto/sha1" // names scripts of Redis
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// pubLogExpiry is how long the log of a namespace is kept in which nothing is broadcast.
const pubLogExpiry = 24 * time.Hour

// script is a script of Redis that pipes load when they connect.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(sum[:])}
}

// lastEntry sets last to the id of the last entry. The first one of a log is one that no log before has had.
const lastEntry = `
local last = redis.call('GET', KEYS[2])
if not last then
  local now = redis.call('TIME')
  last = string.format('%.0f-0', now[1] * 1000 + math.floor(now[2] / 1000) - 1)
end
`

// appendScript appends an entry and publishes it with its note. KEYS are the stream and the id of its last entry; ARGV the command that
// publishes, the channel, the length of the stream, the time after which it is forgotten, the sender, the number of its message, and the
// body in three parts: what comes before the note, what begins it, and what ends it; the first is empty for a break. It returns the id
// and the number of those who hear.
var appendScript = newScript(lastEntry + `
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'b', last, 'u', ARGV[5], 's', ARGV[6], 'm', ARGV[7])
redis.call('SET', KEYS[2], id, 'PX', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local note = '@' .. ARGV[5] .. ' ' .. last .. ' ' .. id .. ' ' .. ARGV[6]
local length = ''
if ARGV[9] == '' and ARGV[7] ~= '' then length = string.char(#note) end
return id .. ' ' .. redis.call(ARGV[1], ARGV[2], ARGV[7] .. ARGV[8] .. length .. note .. ARGV[9])
`)

// markScript publishes the id of the last entry, for the sender to hear. ARGV are the command that publishes, the channel, the time after
// which the log is forgotten, the sender, and the number of its mark.
var markScript = newScript(lastEntry + `
redis.call('SET', KEYS[2], last, 'PX', ARGV[3])
redis.call(ARGV[1], ARGV[2], '!' .. ARGV[4] .. ' ' .. last .. ' ' .. ARGV[5])
return last
`)

var pubLogScripts = []script{appendScript, markScript}

// pubLogNames are the keys and the channel of a log.
type pubLogNames struct {
	stream, last string
	notes        string // the channel of notes that are not part of a message
	space        space
	together     bool // all are in one slot of a Redis Cluster, with the channel that they go with
}

var errNoSlot = fmt.Errorf("%w: braces in the name keep the log from its place in the redis cluster", errors.ErrUnsupported)

// pubLogNamesOf returns the names that go with a channel, in its slot of a Redis Cluster, unless braces in its name forbid that.
func pubLogNamesOf(channel string, s space) pubLogNames {
	base := channel
	if !strings.Contains(channel, "{") { // else it has a tag of its own
		base = "{" + channel + "}"
	}
	n := pubLogNames{stream: base + "recovery", last: base + "recovery:last", notes: base + "recovery:notes", space: s}
	slot := slotOf(channel)
	n.together = slotOf(n.stream) == slot && slotOf(n.last) == slot && slotOf(n.notes) == slot
	return n
}

func (n *pubLogNames) verb() string {
	if n.space == shard {
		return "spublish"
	}
	return "publish"
}

// note is what a message of the log says of its place.
type note struct {
	uid        string
	before, id string // the entry before, and its own
	seq        uint64 // the number of the sender's message; 0 of a break
	text       string // as it was found
}

// maxNote is longer than a note can be, and shorter than what a text of a client could have in the place of the length of a note: behind
// the byte text8 valid UTF-8 goes on with 128 at least.
const maxNote = 127

// noteOf finds the note at the end of a message. The first byte says whether there is one, which is not a client's to choose: where the
// sender alone has written, arrays have three elements and maps four members, and an object of JSON ends in a member of the sender's.
func noteOf(body string) (n note, ok bool) {
	if body == "" {
		return n, false
	}
	end, before := len(body), 0
	switch body[0] {
	case '{':
		if end -= len(jsonClose); end < 0 || body[end:] != jsonClose {
			return n, false
		}
	case notedArray, notedMap:
		before = 1 // the length
	default:
		return n, false
	}
	start := max(end-maxNote, 0)
	at := start + strings.LastIndexByte(body[start:end], '@')
	if at-start < before || before > 0 && int(body[at-1]) != end-at {
		return n, false
	}
	if !strings.HasSuffix(body[:at-before], opening(body[0])) {
		return n, false
	}
	return parseNote(body[at:end])
}

// parseNote reads a note.
func parseNote(text string) (n note, ok bool) {
	if len(text) > maxNote || !strings.HasPrefix(text, "@") {
		return n, false
	}
	parts := strings.Split(text[1:], " ")
	if len(parts) != 4 || !isNode(parts[0]) || !isID(parts[1]) || !isID(parts[2]) {
		return n, false
	}
	seq, err := strconv.ParseUint(parts[3], 10, 53)
	return note{parts[0], parts[1], parts[2], seq, text}, err == nil
}

// isNode reports whether a text has the form of a node's id.
func isNode(text string) bool { return len(text) == 16 && strings.Trim(text, "0123456789abcdef") == "" }

// mark is the answer to markScript.
type mark struct {
	uid, last string
	number    uint64
}

func parseMark(text string) (m mark, ok bool) {
	if len(text) > maxNote || !strings.HasPrefix(text, "!") {
		return m, false
	}
	parts := strings.Split(text[1:], " ")
	if len(parts) != 3 || !isNode(parts[0]) || !isID(parts[1]) {
		return m, false
	}
	number, err := strconv.ParseUint(parts[2], 10, 64)
	return mark{parts[0], parts[1], number}, err == nil
}

// How the three forms of messages get one more part: a fourth element of an array, or a member of an object or a map.
const (
	notedArray = 0x94   // how one with a fourth element begins
	notedMap   = 0x85   // how one with a fifth member begins
	text8      = "\xd9" // a text of up to 255 bytes, whose length is the next byte
	jsonOpen   = `,"log":"`
	jsonClose  = `"}`
	mapOpen    = "\xa3log" + text8
)

// opening is what comes before the note, and before its length where it has one, in a message that begins so.
func opening(first byte) string {
	switch first {
	case '{':
		return jsonOpen
	case notedArray:
		return text8
	default:
		return mapOpen
	}
}

// form is a body with room for a note.
type form struct{ head, open, close string }

// formOf makes room for a note in a body, which it may change.
func formOf(body []byte) form {
	if body[0] == '{' {
		return form{string(body[:len(body)-1]), jsonOpen, jsonClose}
	}
	body[0]++
	return form{string(body), opening(body[0]), ""}
}

// ending is what completes the head of a form that has no note.
func ending(head string) string {
	switch {
	case head[0] == '{':
		return "}"
	case head[0] == notedArray:
		return "\xc0"
	default:
		return "\xa3log\xc0"
	}
}

// pubLogEntry is an entry of a log.
type pubLogEntry struct {
	note
	body string // without its end; "" of a break
}

// whole is the message as it was published, but for its note; "" of a break.
func (e pubLogEntry) whole() string {
	if e.body == "" {
		return ""
	}
	return e.body + ending(e.body)
}

// pubLogEntryOf reads an entry. One that is none has no predecessor, and so breaks the chain.
func pubLogEntryOf(x *redis.XMessage) pubLogEntry {
	field := func(name string) string {
		text, _ := x.Values[name].(string)
		return text
	}
	seq, _ := strconv.ParseUint(field("s"), 10, 53)
	return pubLogEntry{note{uid: field("u"), before: field("b"), id: x.ID, seq: seq}, field("m")}
}
