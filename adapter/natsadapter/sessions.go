package natsadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

const (
	// sessionWriters is how many sessions are written at once.
	sessionWriters = 32
	// sessionPause is how long the first pause is at most before a session is looked at anew that has been written in the meantime. A leader
	// also says so of one that it cannot store at the moment, because not enough others do.
	sessionPause, maxSessionPause = 5 * time.Millisecond, 200 * time.Millisecond
	// toldFor is how long a session whose end is to be told stays after its end.
	toldFor = 10 * time.Minute
	// takenFor is how long a session that was taken stays at least, for its new holder to write it.
	takenFor = 10 * time.Second
	// removedFor is how long the record stays that a session was removed.
	removedFor = 5 * time.Second
	// reapBatch is how many sessions are looked at once whether they are over.
	reapBatch = 4 * pageMessages
)

// sessionStore is the adapter.SessionReaper of a namespace. A session is written if the last message of its subject is the one that this node has
// seen: so of several nodes one wins. JetStream removes each in its time.
type sessionStore struct {
	// Static after construction.
	jet       *jetStream
	log       *keptLog // of the namespace
	namespace string
	stream    string
	seed      maphash.Seed

	// Guarded by mu.
	mu    sync.Mutex
	known map[string]knownSession // by secret, those that this node holds
	sweep int                     // with so many some are looked for that are over
	from  uint64                  // where Reap goes on
	young time.Duration           // a session that was written more recently is not over
}

// knownSession is the number of the message that has a session.
type knownSession struct {
	seq    uint64
	holder adapter.NodeID
	until  time.Time
}

var _ adapter.SessionReaper = (*sessionStore)(nil)

func newSessionStore(l *keptLog, namespace string, retain time.Duration) *sessionStore {
	return &sessionStore{
		jet: l.jet, log: l, namespace: namespace, stream: l.jet.hub.opts.sessionStream(), young: retain, seed: maphash.MakeSeed(),
		known: make(map[string]knownSession), sweep: 1000,
	}
}

// found is a session as it is stored.
type found struct {
	sessionRecord
	seq  uint64 // 0 if there is none
	left time.Duration
}

// look reads a session. What was removed is none, but has a number.
func (s *sessionStore) look(ctx context.Context, pid string) (f found, err error) {
	err = s.again(ctx, func() error {
		f = found{}
		m, err := s.jet.get(ctx, s.stream, 0, s.jet.hub.subjects.session(s.namespace, pid))
		if err == nil && m != nil {
			f = s.foundOf(m)
		}
		return err
	})
	return f, err
}

func (s *sessionStore) foundOf(m *stored) (f found) {
	f.seq = m.seq
	if r, err := decodeSessionRecord(m.body); err == nil {
		f.sessionRecord = r
		f.left = time.Unix(0, m.at).Add(r.ttl).Sub(s.jet.now())
	}
	return f
}

// over reports whether a session is none any more. Those that are not told JetStream removes itself.
func (f *found) over() bool { return f.text == "" || f.told && f.left <= 0 }

// put stores a record in the place of the message with a number. conflict says that another one is there.
func (s *sessionStore) put(ctx context.Context, pid string, r *sessionRecord, before uint64) (seq uint64, conflict bool, err error) {
	stays := r.ttl
	switch {
	case r.text == "":
		stays = removedFor
	case r.told:
		stays += toldFor
	}
	stays = max((stays + time.Second - 1).Truncate(time.Second), time.Second) // JetStream counts seconds
	subject, body := s.jet.hub.subjects.session(s.namespace, pid), r.encode()
	err = s.again(ctx, func() error {
		seq, err = s.jet.append(ctx, subject, body, jetstream.WithExpectLastSequencePerSubject(before), jetstream.WithMsgTTL(stays))
		return err
	})
	if wrongSequence(err) {
		return 0, true, nil
	}
	return seq, false, err
}

// again does something until JetStream has answered, for as long as it may take to choose a leader.
func (s *sessionStore) again(ctx context.Context, do func() error) error {
	for {
		err := do()
		var api *jetstream.APIError
		switch {
		case err == nil, errors.As(err, &api) && api.Code < 503 && api.ErrorCode != jetstream.JSErrCodeStreamNotFound, errors.Is(err, nats.ErrMaxPayload):
			return err
		case ctx.Err() != nil, s.jet.hopeless():
			return unavailable(err)
		}
		s.jet.kick()
		if waiting := pause(ctx, writeAgain); waiting != nil {
			return unavailable(err)
		}
	}
}

// change stores what decide makes of a session, nil for nothing. It returns what was there.
func (s *sessionStore) change(ctx context.Context, pid string, decide func(f *found) *sessionRecord) (f found, err error) {
	began := time.Now()
	for try := 0; ; try++ {
		if f, err = s.look(ctx, pid); err != nil {
			return f, err
		}
		r := decide(&f)
		if r == nil {
			return f, nil
		}
		_, conflict, err := s.put(ctx, pid, r, f.seq)
		if err != nil || !conflict {
			return f, err
		}
		if err := s.giveWay(ctx, try, began); err != nil {
			return f, err
		}
	}
}

// giveWay waits for a moment, since somebody else was faster, but not for longer than an election lasts.
func (s *sessionStore) giveWay(ctx context.Context, try int, began time.Time) error {
	if time.Since(began) > s.jet.hub.opts.election {
		return unavailable(errContended)
	}
	if err := pause(ctx, rand.N(min(sessionPause*time.Duration(1+try), maxSessionPause))); err != nil {
		return unavailable(err)
	}
	return nil
}

var errContended = errors.New("other nodes write the session all the time")

// Save implements adapter.SessionStore, as do Load and Delete.
func (s *sessionStore) Save(ctx context.Context, session *adapter.Session, ttl time.Duration) error {
	text, err := envelope.EncodeSession(session)
	if err == nil {
		_, err = s.change(ctx, session.PID, func(*found) *sessionRecord { return &sessionRecord{ttl: ttl, text: text} })
	}
	if err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}

func (s *sessionStore) Load(ctx context.Context, pid string) (*adapter.Session, error) {
	f, err := s.look(ctx, pid)
	return s.session(&f, err)
}

// session opens what was found.
func (s *sessionStore) session(f *found, err error) (*adapter.Session, error) {
	var session *adapter.Session
	if err == nil && !f.over() {
		session, err = envelope.DecodeSession(f.text)
	}
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	return session, nil
}

func (s *sessionStore) Delete(ctx context.Context, pid string) (bool, error) {
	f, err := s.change(ctx, pid, func(f *found) *sessionRecord {
		if f.over() {
			return nil
		}
		return new(sessionRecord)
	})
	if err != nil {
		return false, fmt.Errorf("delete session: %w", err)
	}
	return !f.over(), nil
}

// awaitLog waits until this node knows where it stands in the log. A node that has just started does not know a client's offset for one
// before, and the client would start anew.
func (s *sessionStore) awaitLog(ctx context.Context) error {
	for !s.log.begun.Load() && !s.jet.hopeless() {
		s.jet.kick()
		if err := pause(ctx, writeAgain); err != nil {
			return unavailable(err)
		}
	}
	return nil
}

// Take implements adapter.SessionKeeper, as does Write.
func (s *sessionStore) Take(ctx context.Context, pid string, holder adapter.NodeID) (*adapter.Session, error) {
	if err := s.awaitLog(ctx); err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	if s.jet.isOff() != nil { // nobody has any
		return nil, nil
	}
	f, err := s.change(ctx, pid, func(f *found) *sessionRecord {
		if f.over() {
			return nil
		}
		return &sessionRecord{told: f.told, ttl: max(f.left, takenFor), holder: holder, text: f.text}
	})
	return s.session(&f, err)
}

// Write writes several at once, those of one secret one after the other.
func (s *sessionStore) Write(ctx context.Context, writes []adapter.SessionWrite) ([]bool, error) {
	held := make([]bool, len(writes))
	if s.jet.isOff() != nil { // nobody else has them
		for i := range held {
			held[i] = true
		}
		return held, nil
	}
	var lanes [sessionWriters][]int
	for i, w := range writes {
		lane := maphash.String(s.seed, w.Session.PID) % sessionWriters
		lanes[lane] = append(lanes[lane], i)
	}
	var working sync.WaitGroup
	errs := make([]error, len(lanes))
	for n, lane := range lanes {
		if len(lane) == 0 {
			continue
		}
		working.Go(func() {
			for _, i := range lane {
				if held[i], errs[n] = s.write(ctx, &writes[i]); errs[n] != nil {
					return
				}
			}
		})
	}
	working.Wait()
	if err := cmp.Or(errs[:]...); err != nil {
		return nil, fmt.Errorf("write sessions: %w", err)
	}
	return held, nil
}

// write writes one, at once if it is as this node has seen it last.
func (s *sessionStore) write(ctx context.Context, w *adapter.SessionWrite) (held bool, err error) {
	pid := w.Session.PID
	r := &sessionRecord{told: w.Told, ttl: w.TTL, holder: w.Holder}
	if text, err := envelope.EncodeSession(w.Session); err == nil && !w.Remove { // what has no form on the wire cannot be gone on with
		r.text = text
	}
	before, known := s.seen(pid, w.Holder)
	began := time.Now()
	for try := 0; ; try++ {
		if !known {
			f, err := s.look(ctx, pid)
			switch {
			case err != nil:
				return false, err
			case !f.over() && f.holder != "" && f.holder != w.Holder:
				return false, nil
			}
			before = f.seq
		}
		seq, conflict, err := s.put(ctx, pid, r, before)
		switch {
		case errors.Is(err, nats.ErrMaxPayload) && r.text != "":
			r.text, known = "", false // what has no place in NATS cannot be gone on with
			continue
		case err != nil:
			return false, err
		case !conflict:
			s.see(pid, seq, r)
			return true, nil
		}
		s.see(pid, 0, new(sessionRecord))
		known = false
		if err := s.giveWay(ctx, try, began); err != nil {
			return false, err
		}
	}
}

// seen returns the number of the message with a session, if this node has written it for its holder.
func (s *sessionStore) seen(pid string, holder adapter.NodeID) (seq uint64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, known := s.known[pid]
	return k.seq, known && k.holder == holder
}

// see notes that, or that there is none.
func (s *sessionStore) see(pid string, seq uint64, r *sessionRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.text == "" {
		delete(s.known, pid)
		return
	}
	if r.told {
		s.young = min(s.young, r.ttl)
	}
	now := time.Now()
	if len(s.known) >= s.sweep {
		for pid, k := range s.known {
			if k.until.Before(now) {
				delete(s.known, pid)
			}
		}
		s.sweep = max(1000, 2*len(s.known))
	}
	s.known[pid] = knownSession{seq, r.holder, now.Add(r.ttl)}
}

// Reap looks at the sessions that were written longest ago: what was not written for as long as clients may be away may be over.
func (s *sessionStore) Reap(ctx context.Context) (sessions []*adapter.Session, more bool, err error) {
	if s.jet.isOff() != nil {
		return nil, false, nil
	}
	s.mu.Lock()
	from := s.from
	young := s.jet.now().Add(-s.young).UnixNano()
	s.mu.Unlock()
	next, at := uint64(0), from
	for looked := 0; looked < reapBatch; {
		var list []*stored
		list, more, err = s.jet.page(ctx, s.stream, s.jet.hub.subjects.sessions(s.namespace), at)
		if err != nil {
			return sessions, false, fmt.Errorf("look for sessions that are over: %w", unavailable(err))
		}
		for _, m := range list {
			if m.at > young {
				more = false
				break
			}
			at = m.seq + 1
			looked++
			session, err := s.reap(ctx, m)
			if err != nil {
				return sessions, false, fmt.Errorf("look for sessions that are over: %w", err)
			}
			if session != nil {
				sessions = append(sessions, session)
			}
		}
		if !more {
			break
		}
		next = at
	}
	if !more {
		next = 0
	}
	s.mu.Lock()
	s.from = next
	s.mu.Unlock()
	return sessions, more, nil
}

// reap removes a session and returns it if it is over and this node is the one that tells.
func (s *sessionStore) reap(ctx context.Context, m *stored) (*adapter.Session, error) {
	f := s.foundOf(m)
	if f.text == "" || !f.told || f.left > 0 {
		return nil, nil
	}
	session, err := envelope.DecodeSession(f.text)
	if err != nil {
		return nil, nil // JetStream removes it in its time
	}
	_, conflict, err := s.put(ctx, session.PID, new(sessionRecord), f.seq)
	if err != nil || conflict {
		return nil, err
	}
	return session, nil
}
