package natsadapter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// RevocationStore keeps revoked tokens, for package auth, in the memory of every node with a UserStore of the same prefix. All methods may
// be called concurrently, and end with their context.
//
// The node that keeps the users takes a revocation and tells all others. So it outlasts every node but the last one, and NATS, and is
// forgotten when no node is left. A node that is cut off, and one that starts while no other one can be reached, does not know of what the
// others know until it can reach them: within 5 s after that it ends the sessions of revoked tokens. Where that is not enough, tokens
// should live shortly, or Redis or Kafka keep the revocations: each adapter works beside the stores of others.
type RevocationStore struct {
	keeping *keeping
	own     bool // the store ends with Close
}

var _ adapter.RevocationStore = (*RevocationStore)(nil)

// Revocations returns the store of revocations of the same node, which ends with this one.
func (s *UserStore) Revocations() *RevocationStore { return &RevocationStore{s.keeping, false} }

// NewRevocationStore returns the way of a program that is no node to the revocations that the nodes keep. Without a node there is nobody
// who keeps them, and calls fail. opts may be nil. The caller closes it.
func NewRevocationStore(opts *UserStoreOptions) (*RevocationStore, error) {
	all, err := opts.complete()
	if err != nil {
		return nil, err
	}
	k := newKeeping(all)
	k.guest = true
	go k.run()
	return &RevocationStore{k, true}, nil
}

// Close ends the connection of a store that NewRevocationStore has made.
func (s *RevocationStore) Close() error {
	if s.own {
		s.keeping.close()
	}
	return nil
}

// Revoke implements adapter.RevocationStore. It returns when the keeper has the revocation and this store, too.
func (s *RevocationStore) Revoke(ctx context.Context, r adapter.Revocation, keep time.Duration) error {
	n := note{Kind: revokedNote, Name: []byte(r.User), At: r.Before.UnixMilli(), Until: time.Now().Add(keep + noteSkew).UnixMilli()}
	if err := n.check(); err != nil {
		return userFailure("revoke tokens", errors.Join(errMisuse, err))
	}
	return userFailure("revoke tokens", s.keeping.write(ctx, n))
}

// Revocations implements adapter.RevocationStore. Cursors are places in the memory of this store.
func (s *RevocationStore) Revocations(ctx context.Context, cursor string) ([]adapter.Revocation, string, error) {
	if err := s.keeping.follow(ctx); err != nil {
		return nil, cursor, userFailure("read revocations", err)
	}
	place, _ := strconv.ParseUint(cursor, 10, 64) // another cursor stands before the first
	for {
		notes, next := s.keeping.notes.after(place, maxUserQuestion)
		var list []adapter.Revocation
		for _, n := range notes {
			if n.Kind == revokedNote {
				list = append(list, adapter.Revocation{User: string(n.Name), Before: time.UnixMilli(n.At)})
			}
		}
		switch {
		case len(list) > 0:
			return list, strconv.FormatUint(next, 10), nil
		case len(notes) == 0:
			return nil, cursor, nil
		}
		place = next
	}
}

// AdminStoreOptions configure an AdminStore. Nil and the zero value mean the defaults.
type AdminStoreOptions struct {
	// Duration is how long a session lasts. Default 24 h.
	Duration time.Duration
}

// AdminStore keeps the sessions of pages that have logged in to package server/admin, so that they can come back to any node: as a
// RevocationStore does. What it says to others are hashes of the sessions' ids, with which nobody can log in.
type AdminStore struct {
	keeping  *keeping
	duration time.Duration
}

// AdminSessions returns the store of sessions of pages of the same node, which ends with this one. opts may be nil.
func (s *UserStore) AdminSessions(opts *AdminStoreOptions) *AdminStore {
	var o AdminStoreOptions
	if opts != nil {
		o = *opts
	}
	return &AdminStore{s.keeping, max(cmp.Or(o.Duration, 24*time.Hour), time.Second)}
}

func adminNoteOf(id string) note {
	hash := sha256.Sum256([]byte(id))
	return note{Kind: adminNote, Name: hash[:]}
}

// SessionExists reports whether a session was saved, by any node, and has not ended.
func (s *AdminStore) SessionExists(ctx context.Context, id string) (bool, error) {
	n := adminNoteOf(id)
	if s.keeping.notes.has(n.key(), time.Now()) {
		return true, nil
	}
	if err := s.keeping.follow(ctx); err != nil {
		return false, userFailure("look up session", err)
	}
	return s.keeping.notes.has(n.key(), time.Now()), nil
}

// SaveSession keeps a session.
func (s *AdminStore) SaveSession(ctx context.Context, id string) error {
	n := adminNoteOf(id)
	n.Until = time.Now().Add(s.duration).UnixMilli()
	return userFailure("save session", s.keeping.write(ctx, n))
}
