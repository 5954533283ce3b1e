package api

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"time"
)

const (
	// idempotencyHeader has a key of the caller's choice: of several requests with one key, one is done.
	idempotencyHeader = "Idempotency-Key"
	// maxKey bounds a key, in bytes.
	maxKey = 255
	// maxReplies bounds the answers that are kept, maxReplyBytes their bytes with the keys: the oldest go first.
	maxReplies    = 50_000
	maxReplyBytes = 16 << 20
	replyOverhead = 200
)

// reply is the answer to a request with a key.
type reply struct {
	key   string
	print [sha256.Size]byte // of the request
	until time.Time
	body  []byte // nil while the request is being served
	gone  bool   // not kept any more
}

func (r *reply) cost() int { return replyOverhead + len(r.key) + len(r.body) }

// replies are the answers that are kept, on this node.
type replies struct {
	window time.Duration // static

	mu sync.Mutex
	// Guarded by mu.
	byKey map[string]*reply
	queue []*reply // the oldest first, with those that are gone
	bytes int
}

func (k *replies) init(window time.Duration) {
	k.window = window
	k.byKey = make(map[string]*reply)
}

// begin returns the reply to a request, and whether the caller is the first and has to serve it.
func (k *replies) begin(key string, print [sha256.Size]byte) (r *reply, body []byte, first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trimLocked()
	if r = k.byKey[key]; r != nil {
		return r, r.body, false
	}
	r = &reply{key: key, print: print, until: time.Now().Add(k.window)}
	k.byKey[key] = r
	k.queue = append(k.queue, r)
	k.bytes += r.cost()
	return r, nil, true
}

// finish keeps the answer; without one the key is free again.
func (k *replies) finish(r *reply, body []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case r.gone:
	case body == nil:
		k.forgetLocked(r)
	default:
		r.body = body
		k.bytes += len(body)
	}
	k.trimLocked()
}

func (k *replies) forgetLocked(r *reply) {
	if !r.gone {
		r.gone = true
		k.bytes -= r.cost()
		delete(k.byKey, r.key)
	}
}

// trimLocked forgets what is too old, or too much.
func (k *replies) trimLocked() {
	now := time.Now()
	for len(k.queue) > 0 {
		r := k.queue[0]
		if !r.gone && now.Before(r.until) && len(k.queue) <= maxReplies && k.bytes <= maxReplyBytes {
			return
		}
		k.forgetLocked(r)
		k.queue[0] = nil
		k.queue = k.queue[1:]
	}
}

// once serves a request whose key is new, and gives the answer once more for one that was served.
func (a *API) once(w http.ResponseWriter, r *http.Request, t *route, who, key string, body []byte, run func() (any, error)) {
	if len(key) > maxKey {
		writeFailure(w, failureOf(invalid("%s has at most %d bytes", idempotencyHeader, maxKey)))
		return
	}
	print := sha256.Sum256(append([]byte(r.URL.EscapedPath()+"\n"), body...))
	kept, answer, first := a.replies.begin(who+"\n"+key, print)
	switch {
	case first:
		var served []byte
		defer func() { a.replies.finish(kept, served) }() // also after a panic
		_, served = a.finish(w, r, t, who, run)
	case kept.print != print:
		writeFailure(w, refuse(http.StatusUnprocessableEntity, "key_reused", "the key belongs to another request"))
	case answer == nil:
		writeFailure(w, refuse(http.StatusConflict, "in_progress", "the first request with this key is being served"))
	default:
		w.Header().Set("Idempotency-Replayed", "true")
		write(w, http.StatusOK, answer)
	}
}
