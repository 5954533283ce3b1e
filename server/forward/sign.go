package forward

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/engine"
)

// headerName carries a pass in a request, and in an answer who gives it.
const headerName = "Sockeye-Peer"

const (
	// maxPass is how long a pass may be, in bytes.
	maxPass = 4 << 10
	// maxHost is how long a client's host may be. A longer one is no name, and is not told.
	maxHost = 512
)

// Kinds of passes.
const (
	passRequest = "request" // for a client's request, which is sent along
	passRelease = "release" // asks for a young session, see handover.go
	passAnswer  = "answer"  // asks for the answer of a poll that waits, see polls.go
)

// pass is what a node says of a request that it sends to another one. It is one header line: fields with spaces between them, the
// last one the HMAC-SHA256 of those before it, the method and the request target, under the key of the node that gets it. That
// node takes each number of a sender once, so that no clock is needed against replays.
type pass struct {
	Kind   string
	From   adapter.NodeID
	To     adapter.NodeID
	Number uint64 // counted by the sender for this receiver, from 1
	Hop    int    // how many nodes have passed the request on, this one included
	SID    string
	Client engine.Peer
}

// Errors of a pass, in the words that are told to the sender and counted.
var (
	errMalformed = errors.New("malformed")
	errSignature = errors.New("signature")
	errTarget    = errors.New("target")
	errReplay    = errors.New("replay")
)

const (
	passVersion = "1"
	passFields  = 11
	maxHops     = 2
)

// sign returns the pass as a header's value.
func (p *pass) sign(key []byte, method, target string) string {
	text := strings.Join([]string{
		passVersion, p.Kind, string(p.From), string(p.To), strconv.FormatUint(p.Number, 10), strconv.Itoa(p.Hop), p.SID,
		url.QueryEscape(p.Client.Address), strconv.FormatBool(p.Client.Secure), "h" + url.QueryEscape(p.Client.Host),
	}, " ")
	return text + " " + hex.EncodeToString(authenticate(key, text, method, target))
}

func authenticate(key []byte, text, method, target string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{text, "\x00", method, "\x00", target} {
		_, _ = mac.Write([]byte(part)) // never fails
	}
	return mac.Sum(nil)
}

// checkPass is the inverse of sign. Nothing of a pass is looked at before its signature.
func checkPass(key []byte, value, method, target string) (*pass, error) {
	end := strings.LastIndexByte(value, ' ')
	if len(value) > maxPass || end < 0 {
		return nil, errMalformed
	}
	mac, err := hex.DecodeString(value[end+1:])
	if err != nil {
		return nil, errMalformed
	}
	if !hmac.Equal(mac, authenticate(key, value[:end], method, target)) {
		return nil, errSignature
	}
	return parsePass(value[:end])
}

func parsePass(text string) (*pass, error) {
	f := strings.Split(text, " ")
	if len(f) != passFields-1 || f[0] != passVersion || f[1] != passRequest && f[1] != passRelease && f[1] != passAnswer || !validSID(f[6]) {
		return nil, errMalformed
	}
	p := &pass{Kind: f[1], From: adapter.NodeID(f[2]), To: adapter.NodeID(f[3]), SID: f[6]}
	var errs [5]error
	p.Number, errs[0] = strconv.ParseUint(f[4], 10, 64)
	p.Hop, errs[1] = strconv.Atoi(f[5])
	p.Client.Address, errs[2] = url.QueryUnescape(f[7])
	p.Client.Secure, errs[3] = strconv.ParseBool(f[8])
	host, hasHost := strings.CutPrefix(f[9], "h")
	p.Client.Host, errs[4] = url.QueryUnescape(host)
	if errors.Join(errs[:]...) != nil || !hasHost || p.Number == 0 || p.Hop < 1 || p.Hop > maxHops {
		return nil, errMalformed
	}
	return p, nil
}

// Form of session ids.
const (
	tagLength = 4
	idLength  = 20
)

func validSID(sid string) bool {
	return len(sid) == idLength && strings.IndexFunc(sid, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
}

// windowSize is how many numbers a pass may be behind the latest one of its sender: requests overtake each other while
// connections are made.
const windowSize = 1 << 16

// window knows which numbers of one sender have been taken.
type window struct {
	top   uint64
	floor uint64                   // nothing up to here is taken any more
	seen  *[windowSize / 64]uint64 // by number modulo windowSize, from top down; nil when the sender is gone
}

// take reports whether a number comes for the first time. One that is too old to tell is refused.
func (w *window) take(n uint64) bool {
	if n <= w.floor || w.top >= windowSize && n <= w.top-windowSize {
		return false
	}
	if w.seen == nil {
		w.seen = new([windowSize / 64]uint64)
	}
	if n > w.top {
		w.advance(n)
	}
	i, bit := n%windowSize/64, uint64(1)<<(n%64)
	if w.seen[i]&bit != 0 {
		return false
	}
	w.seen[i] |= bit
	return true
}

// advance forgets what is too old when n is the latest.
func (w *window) advance(n uint64) {
	if n-w.top >= windowSize {
		*w.seen = [windowSize / 64]uint64{}
	} else {
		for old := w.top + 1; old <= n; old++ {
			w.seen[old%windowSize/64] &^= 1 << (old % 64)
		}
	}
	w.top = n
}

// maxSenders bounds the windows, which only those have who know the key: 8 KiB each while the sender is there.
const maxSenders = 1 << 16

// windows are those of all senders.
type windows struct {
	mu sync.Mutex
	// Guarded by mu.
	of map[adapter.NodeID]*window
}

func (w *windows) take(from adapter.NodeID, n uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	sender := w.of[from]
	if sender == nil {
		if len(w.of) >= maxSenders {
			return false
		}
		if w.of == nil {
			w.of = make(map[adapter.NodeID]*window)
		}
		sender = new(window)
		w.of[from] = sender
	}
	return sender.take(n)
}

// rest gives the memory back of a sender that seems to be gone, but takes none of its numbers twice.
func (w *windows) rest(from adapter.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sender := w.of[from]; sender != nil {
		sender.floor, sender.seen = sender.top, nil
	}
}
