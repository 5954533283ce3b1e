package kafkaadapter

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/store"
)

const (
	// revocationsKept is how long the topic keeps revocations if a store creates it: the default of auth.Options.MaxLifetime, and a day.
	revocationsKept = 366 * 24 * time.Hour
	// maxRevokedUser bounds the ids that are taken from Kafka, in bytes.
	maxRevokedUser = 4096
	// clockSkew is how much longer records are kept: their age is told by the clock of Kafka, what is old by that of a node.
	clockSkew = time.Hour
)

// RevocationStore keeps revoked tokens in a topic of Kafka, <prefix>.revoked, for package auth. All methods may be called concurrently,
// and end with their context.
//
// A revocation is a record, with the user as its key, and is as durable as the topic. Kafka removes what is old enough. If a store
// creates the topic it keeps records for 366 days; a revocation that is to be kept for longer makes it keep them for that long, as far as
// the rights allow.
type RevocationStore struct{ ledger *ledger }

var _ adapter.RevocationStore = (*RevocationStore)(nil)

// NewRevocationStore returns a store, which the caller closes. It connects when it is first used. Of the options those have an effect
// that say how Kafka is reached, and Prefix, ReplicationFactor, AnswerTimeout and Logger. What is wrong with them is the error.
func NewRevocationStore(opts *Options) (*RevocationStore, error) {
	o, err := opts.forStore()
	if err != nil {
		return nil, err
	}
	return &RevocationStore{newLedger(o, o.Prefix+".revoked", revocationsKept)}, nil
}

// forStore returns complete options for what connects by itself.
func (o *Options) forStore() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if err := c.Validate(); err != nil {
		return Options{}, err
	}
	return c.withDefaults(), nil
}

// Close ends the store. Calls fail from then on.
func (s *RevocationStore) Close() error {
	s.ledger.close()
	return nil
}

// Revoke implements adapter.RevocationStore. It also fails, with the command that helps, when the topic forgets too early and cannot be
// changed.
func (s *RevocationStore) Revoke(ctx context.Context, r adapter.Revocation, keep time.Duration) error {
	if r.User == "" || len(r.User) > maxRevokedUser {
		return userFailure("revoke tokens", store.Misuse("the user must have 1 to "+strconv.Itoa(maxRevokedUser)+" bytes"))
	}
	record := &kgo.Record{Key: []byte(r.User), Value: strconv.AppendInt(nil, r.Before.UnixMilli(), 10)}
	return userFailure("revoke tokens", s.ledger.append(ctx, record, keep+clockSkew))
}

// Revocations implements adapter.RevocationStore.
func (s *RevocationStore) Revocations(ctx context.Context, cursor string) ([]adapter.Revocation, string, error) {
	for {
		records, next, err := s.ledger.read(ctx, cursor)
		if err != nil {
			return nil, cursor, userFailure("read revocations", err)
		}
		var list []adapter.Revocation
		for _, record := range records {
			if r, err := decodeRevocation(record); err == nil {
				list = append(list, r)
			}
		}
		if len(list) > 0 || len(records) == 0 {
			return list, next, nil
		}
		cursor = next
	}
}

var errRevocation = errors.New("no revocation")

// decodeRevocation reads a record; others than nodes may have written it.
func decodeRevocation(record *kgo.Record) (r adapter.Revocation, err error) {
	ms, err := strconv.ParseInt(string(record.Value), 10, 64)
	if err != nil || ms <= 0 || len(record.Key) == 0 || len(record.Key) > maxRevokedUser || record.Attrs.IsControl() {
		return r, errRevocation
	}
	return adapter.Revocation{User: string(record.Key), Before: time.UnixMilli(ms)}, nil
}
