package engine

import (
	"bytes"
	"runtime"
	"sync"
	"time"
)

// turnTime is how long a request waits for those of its session that arrived earlier. What is late by more, such as a request
// whose head or body comes in parts, has lost its turn.
const turnTime = 20 * time.Millisecond

// settleTime is how long the close of a session that waits for nothing waits for what was sent in front of it.
const settleTime = time.Millisecond

// arrival is something that a session's client has sent on one of several connections: read by now, and not served yet. What
// goroutines make of the order in which the kernel got it is undone by the time at which the kernel did.
type arrival struct {
	key  arrivalKey
	from string // the peer's address, by which a request's handler finds it
	at   int64  // unix nanoseconds

	// Guarded by arrivals.mu.
	state arrivalState
	next  *arrival      // the one that came after it
	over  chan struct{} // closed when it leaves the list or gives its turn back; nil unless somebody waits
}

type arrivalKey [idLength]byte

type arrivalState uint8

const (
	arrivalOver   arrivalState = iota // on no list
	arrivalRead                       // waits for its handler
	arrivalTaken                      // its handler has it
	arrivalServed                     // it has its turn, which no other of its session has at the same time
)

// arrivals lists by session what has arrived and is not served.
type arrivals struct {
	mu sync.Mutex
	// Guarded by mu.
	first map[arrivalKey]*arrival
}

// inFlight is for all servers of the process: a listener does not know whose connections it accepts, and session ids are
// unique.
var inFlight = arrivals{first: make(map[arrivalKey]*arrival)}

// add puts a, which is on no list, where it belongs by its time.
func (l *arrivals) add(a *arrival) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.state = arrivalRead
	at := l.first[a.key]
	if at == nil || a.at < at.at {
		a.next = at
		l.first[a.key] = a
		return
	}
	for at.next != nil && at.next.at <= a.at {
		at = at.next
	}
	a.next, at.next = at.next, a
}

// end takes a off its list. It does nothing for nil and for one that is on none.
func (l *arrivals) end(a *arrival) {
	if a == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(a)
}

func (l *arrivals) endLocked(a *arrival) {
	if a.state == arrivalOver {
		return
	}
	a.state = arrivalOver
	switch at := l.first[a.key]; {
	case at != a:
		for at.next != a {
			at = at.next
		}
		at.next = a.next
	case a.next != nil:
		l.first[a.key] = a.next
	default:
		delete(l.first, a.key)
	}
	a.next = nil
	a.tellLocked()
}

// tellLocked lets those look again that wait for a.
func (a *arrival) tellLocked() {
	if a.over != nil {
		close(a.over)
		a.over = nil
	}
}

// take returns the arrival of a request, when everything of its session that arrived earlier has been served. It returns nil
// for a request of which nothing is known.
func (l *arrivals) take(sid, from string) *arrival {
	if len(sid) != idLength {
		return nil
	}
	key := arrivalKey([]byte(sid))
	l.mu.Lock()
	a := l.first[key]
	for a != nil && (a.from != from || a.state != arrivalRead) {
		a = a.next
	}
	if a != nil {
		a.state = arrivalTaken
	}
	l.mu.Unlock()
	if a != nil {
		// Goroutines that were woken together do not run in the order of their events: let the others read.
		runtime.Gosched()
		l.await(a)
	}
	return a
}

// settle gives the turn of a back until whatever arrived before it has been read and served, also where the system had better
// things to do than to read it. The caller must not have begun what the others would run into. It does nothing for nil.
func (l *arrivals) settle(a *arrival) {
	if a == nil {
		return
	}
	l.mu.Lock()
	if a.state == arrivalServed {
		a.state = arrivalTaken
		a.tellLocked()
	}
	l.mu.Unlock()
	time.Sleep(settleTime)
	l.await(a)
}

// time is when it arrived, 0 for nil.
func (a *arrival) time() int64 {
	if a == nil {
		return 0
	}
	return a.at
}

// await gives a its turn, when it is the first of its session and no other has one.
func (l *arrivals) await(a *arrival) {
	var timer *time.Timer
	for {
		other, over := l.beginTurn(a)
		if other == nil {
			if timer != nil {
				timer.Stop()
			}
			return
		}
		if timer == nil {
			timer = time.NewTimer(turnTime)
		}
		select {
		case <-over:
		case <-timer.C:
			timer.Reset(turnTime)
			l.end(other)
		}
	}
}

// beginTurn gives a its turn, or returns whom it has to wait for, and on what. The one that has a turn may have arrived later, and
// been read first.
func (l *arrivals) beginTurn(a *arrival) (other *arrival, over <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.state == arrivalOver {
		return nil, nil
	}
	if other = l.first[a.key]; other == a {
		other = a.next
		for other != nil && other.state != arrivalServed {
			other = other.next
		}
	}
	if other == nil {
		a.state = arrivalServed
		return nil, nil
	}
	if other.over == nil {
		other.over = make(chan struct{})
	}
	return other, other.over
}

// requestSession returns the session id of a request of a polling session, whose head begins with p, or with the byte lead in
// front of it if that is not 0.
func requestSession(lead byte, p []byte) (key arrivalKey, ok bool) {
	switch {
	case lead == 0 && (bytes.HasPrefix(p, []byte("GET ")) || bytes.HasPrefix(p, []byte("POST "))):
	case lead == 'G' && bytes.HasPrefix(p, []byte("ET ")):
	case lead == 'P' && bytes.HasPrefix(p, []byte("OST ")):
	default:
		return key, false
	}
	line, _, whole := bytes.Cut(p, []byte{'\n'})
	_, line, _ = bytes.Cut(line, []byte{' '})
	target, _, versioned := bytes.Cut(line, []byte{' '})
	if !whole || !versioned {
		return key, false
	}
	id := targetSession(target)
	if len(id) != idLength {
		return key, false
	}
	return arrivalKey(id), true
}

// targetSession returns what the handler will find as the session id of a request target.
func targetSession(target []byte) (id []byte) {
	if bytes.ContainsAny(target, "%+#") {
		return []byte(parseEngineQuery(string(target)).sid)
	}
	_, query, _ := bytes.Cut(target, []byte{'?'})
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		if name, value, _ := bytes.Cut(pair, []byte{'='}); string(name) == "sid" {
			id = value
		}
	}
	return id
}
