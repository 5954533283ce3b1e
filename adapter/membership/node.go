package membership

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// ID names a node on the wire: random per start of a server, 16 hexadecimal digits as NewID draws them. Others may have up to 32
// letters, digits, - and _.
type ID string

const maxID = 32

// NewID draws an id.
func NewID() ID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return ID(hex.EncodeToString(b[:]))
}

func (id ID) valid() bool {
	if len(id) == 0 || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// life names the n-th life of a node.
func (id ID) life(n int) string {
	if n == 1 {
		return string(id)
	}
	return string(id) + "-" + strconv.Itoa(n)
}

// number is the inverse of life; 0 if the name is of another form.
func (id ID) number(life string) int {
	if life == string(id) {
		return 1
	}
	digits, _ := strings.CutPrefix(life, string(id)+"-")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 2 || n > maxLife || id.life(n) != life {
		return 0
	}
	return n
}

// State says how much is heard of a node.
type State uint8

const (
	// Alive: something was heard within the time that the node promised.
	Alive State = iota
	// Silent: nothing was heard for longer, or a question ran out. Nothing else may be concluded.
	Silent
	// Absent: the broker says that nobody reads the node's inbox. Nothing else may be concluded.
	Absent
	// Over: the node's life is over, and what it owned may be swept. Only seen in a Change.
	Over
)

func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Silent:
		return "silent"
	case Absent:
		return "absent"
	case Over:
		return "over"
	default:
		return "unknown"
	}
}

// Node is a member of the cluster.
type Node struct {
	ID ID
	// Life is what storage keeps of a node. It is the ID at first, then the ID with "-2" and so on, each time after others
	// have declared the life over.
	Life    string
	Name    string    // the operator's, for example "host:3000"; 256 bytes at most
	Tag     string    // 4 characters of A-Z a-z 0-9 - _ that begin its session ids
	Address string    // where peers reach it; may be empty
	Key     Secret    // with which peers sign what they send to Address; only members are told
	Started time.Time // by the node's own clock
	State   State
	// Draining says that the node takes no new clients and sends those away that it has, because it is about to end.
	Draining bool
	Version  string // of Sockeye
	Adapter  string // for example "sharded"
}

// Secret is what members are told and nobody else: neither a log, nor JSON, nor what is printed shows it.
type Secret string

const hidden = "[secret]"

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText implements encoding.TextMarshaler, which JSON and logs use.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// younger reports whether n gives way to o where both have the same name or tag.
func (n *Node) younger(o *Node) bool {
	if !n.Started.Equal(o.Started) {
		return n.Started.After(o.Started)
	}
	return n.ID > o.ID
}

// TagOf draws a tag from a node's name, so that it is the same after a restart: 24 bits of its SHA-256.
func TagOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return tagFrom(sum[:3])
}

func tagFrom(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func randomTag() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return tagFrom(b[:])
}

func validTag(tag string) bool {
	b, err := base64.RawURLEncoding.DecodeString(tag)
	return err == nil && len(b) == 3 && tagFrom(b) == tag
}
