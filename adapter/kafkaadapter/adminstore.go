package kafkaadapter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// AdminStoreOptions configure an AdminStore. Seeds is required; of the others of Options those have an effect that say how Kafka is
// reached, and Prefix, ReplicationFactor, AnswerTimeout and Logger.
type AdminStoreOptions struct {
	Options

	// Duration is how long a session lasts. Default 24 h.
	Duration time.Duration
}

// AdminStore keeps the sessions of pages that have logged in to package server/admin, so that they can come back to any node: in a topic
// of Kafka, <prefix>.admin, and in memory. The topic has hashes of the sessions' ids, with which nobody can log in.
type AdminStore struct {
	// Static after construction.
	ledger   *ledger
	duration time.Duration

	// Guarded by mu.
	mu     sync.Mutex
	cursor string
	until  map[[sha256.Size]byte]time.Time // by hash of the id
	pruned int                             // how many there were when those that have ended were dropped
}

// NewAdminStore returns a store, which the caller closes. It connects when it is first used. What is wrong with the options is the
// error.
func NewAdminStore(opts *AdminStoreOptions) (*AdminStore, error) {
	var o AdminStoreOptions
	if opts != nil {
		o = *opts
	}
	complete, err := o.forStore()
	if err != nil {
		return nil, err
	}
	duration := max(cmp.Or(o.Duration, 24*time.Hour), time.Second)
	l := newLedger(complete, complete.Prefix+".admin", duration+clockSkew)
	return &AdminStore{ledger: l, duration: duration, until: make(map[[sha256.Size]byte]time.Time)}, nil
}

// Close ends the store. Calls fail from then on.
func (s *AdminStore) Close() error {
	s.ledger.close()
	return nil
}

// SessionExists reports whether a session was saved, by any node, and has not ended.
func (s *AdminStore) SessionExists(ctx context.Context, id string) (bool, error) {
	hash := sha256.Sum256([]byte(id))
	if s.knows(hash) {
		return true, nil
	}
	for {
		s.mu.Lock()
		cursor := s.cursor
		s.mu.Unlock()
		records, next, err := s.ledger.read(ctx, cursor)
		if err != nil {
			return false, userFailure("look up session", err)
		}
		if len(records) == 0 {
			return s.knows(hash), nil
		}
		s.note(records, next)
	}
}

// SaveSession keeps a session.
func (s *AdminStore) SaveSession(ctx context.Context, id string) error {
	hash := sha256.Sum256([]byte(id))
	return userFailure("save session", s.ledger.append(ctx, &kgo.Record{Key: hash[:]}, s.duration+clockSkew))
}

func (s *AdminStore) knows(hash [sha256.Size]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.until[hash])
}

// note notes what was read. That another call has read the same does no harm.
func (s *AdminStore) note(records []*kgo.Record, next string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = next
	for _, record := range records {
		if hash := [sha256.Size]byte{}; len(record.Key) == len(hash) && !record.Attrs.IsControl() {
			copy(hash[:], record.Key)
			s.until[hash] = record.Timestamp.Add(s.duration)
		}
	}
	if len(s.until) >= max(1024, 2*s.pruned) {
		now := time.Now()
		maps.DeleteFunc(s.until, func(_ [sha256.Size]byte, until time.Time) bool { return now.After(until) })
		s.pruned = len(s.until)
	}
}
