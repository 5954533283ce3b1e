package natsadapter

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
)

// commonSubject is where every node says hello, whatever its prefix.
const commonSubject = "sockeye.hello"

const (
	maxToken = 128 // bytes
	// idLength is the length of the ids of sockets, see package server.
	idLength = 20
	hexDigit = "0123456789ABCDEF"
)

// subjects are those of one node under a prefix.
type subjects struct {
	prefix string
	id     adapter.NodeID
}

// everybody is where a node that is connected to a server speaks to all members, everybodys what they subscribe to.
func (s subjects) everybody(server string) string {
	return s.prefix + ".members.all." + string(s.id) + "." + token(server)
}
func (s subjects) everybodys() string { return s.prefix + ".members.all.*.*" }

// speaker reads the node and its server from a subject that everybody returned.
func (s subjects) speaker(subject string) (id adapter.NodeID, server string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.prefix+".members.all.")
	name, server, two := strings.Cut(rest, ".")
	return adapter.NodeID(name), server, ok && two
}

// inbox is where a member hears what is for it alone, sync where it is asked whether what it is sent arrives.
func (s subjects) inbox(id adapter.NodeID) string {
	return s.prefix + ".members.node." + token(string(id))
}
func (s subjects) sync(id adapter.NodeID) string {
	return s.prefix + ".members.sync." + token(string(id))
}

// reply is where NATS tells this node that nobody listens; n begins with the number of the connection and a hyphen. replies what the node subscribes to for it.
func (s subjects) reply(n string) string {
	return s.prefix + ".replies." + token(string(s.id)) + "." + n
}
func (s subjects) replies() string { return s.reply("*") }

// connection is where nothing is ever said: whether somebody listens there tells whether NATS still has one of this node's connections. What is
// written on a connection that is not the first names it as the subject to which answers go, unless that is a reply.
func (s subjects) connection(n int) string {
	return s.prefix + ".connections." + token(string(s.id)) + "." + strconv.Itoa(n)
}

// connectionOf returns the number of the sender's connection on which a message was written whose answers go to a subject.
func (s subjects) connectionOf(reply string) int {
	rest, ours := strings.CutPrefix(reply, s.prefix)
	if ours && (strings.HasPrefix(rest, ".connections.") || strings.HasPrefix(rest, ".replies.")) {
		number, _, _ := strings.Cut(rest[strings.LastIndexByte(rest, '.')+1:], "-")
		if n, err := strconv.Atoi(number); err == nil {
			return max(n, 1)
		}
	}
	return 1
}

// answers begins the subjects on which JetStream answers this node.
func (s subjects) answers() string { return s.prefix + ".answers." + token(string(s.id)) }

// log is where the broadcasts of a namespace are stored, heard where they are published that are.
func (s subjects) log(namespace string) string   { return s.prefix + ".log." + token(namespace) }
func (s subjects) heard(namespace string) string { return s.prefix + ".logged." + token(namespace) }

// session is where the session with a secret is stored, sessions covers those of a namespace.
func (s subjects) session(namespace, pid string) string {
	return s.prefix + ".sessions." + token(namespace) + "." + token(pid)
}
func (s subjects) sessions(namespace string) string {
	return s.prefix + ".sessions." + token(namespace) + ".*"
}

// namespaceSubjects are those of a namespace.
type namespaceSubjects struct {
	base string
	all  string // for everything but what is for one node, and broadcasts to one room
}

func (s subjects) namespace(name string) namespaceSubjects {
	base := s.prefix + ".ns." + token(name)
	return namespaceSubjects{base, base + ".all"}
}

// node is for what only one node is to hear, room for broadcasts to one room.
func (n namespaceSubjects) node(id adapter.NodeID) string {
	return n.base + ".node." + token(string(id))
}
func (n namespaceSubjects) room(room string) string { return n.base + ".room." + token(room) }

// of chooses the subject that the nodes concerned have subscribed to. A question goes to all nodes, because all have to answer.
func (n namespaceSubjects) of(m *adapter.Message) string {
	if m.Kind != adapter.KindBroadcast || m.Request != "" || len(m.Selection.Rooms) != 1 || !hasSubject(m.Selection.Rooms[0]) {
		return n.all
	}
	return n.room(m.Selection.Rooms[0])
}

// hasSubject tells whether a room has a subject of its own: all but those that look like the ids of sockets, of which there are as
// many as sockets.
func hasSubject(room string) bool { return len(room) != idLength }

// token makes a part of a subject of any text, 128 bytes at most. Different texts have different tokens. Printable ASCII stays as it
// is but for what NATS does not allow in a token, for quotes, the backslash and %, which are written as %XX, as is everything else; "" is a % alone. What
// is too long then becomes %% and its hash.
func token(text string) string {
	switch {
	case text == "":
		return "%"
	case !needsEscape(text):
		if len(text) <= maxToken {
			return text
		}
	case len(text) <= maxToken:
		if escaped := escape(text); len(escaped) <= maxToken {
			return escaped
		}
	}
	sum := sha256.Sum256([]byte(text))
	return "%%" + hex.EncodeToString(sum[:])
}

func needsEscape(text string) bool {
	for i := range len(text) {
		if special(text[i]) {
			return true
		}
	}
	return false
}

func special(c byte) bool {
	switch c {
	case '.', '*', '>', '%', '"', '\'', '\\':
		return true
	}
	return c <= ' ' || c >= 0x7f
}

func escape(text string) string {
	b := make([]byte, 0, len(text)+16)
	for i := range len(text) {
		if c := text[i]; special(c) {
			b = append(b, '%', hexDigit[c>>4], hexDigit[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}
