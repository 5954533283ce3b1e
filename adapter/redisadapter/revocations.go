package redisadapter

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
)

// RevocationStoreOptions configure a RevocationStore. The zero value works.
type RevocationStoreOptions struct {
	// Prefix begins the name of the key, <prefix>-auth#revoked. All nodes of a cluster have the same. Default: "socket.io".
	Prefix string
}

// RevocationStore keeps revoked tokens in Redis, for package auth, whatever adapter connects the nodes. All methods may be called
// concurrently, and end with their context. It needs Redis 6.2.
//
// A revocation is an entry of a stream, so that a node reads in one step what has come since it has read last, and what is
// old enough is trimmed. It is as durable as Redis makes what is written to it. The client must not read from replicas, which are
// late.
type RevocationStore struct {
	rdb redis.UniversalClient
	key string
}

var _ adapter.RevocationStore = (*RevocationStore)(nil)

// NewRevocationStore returns a store that talks to Redis with a client of the application, which closes it. opts may be nil.
func NewRevocationStore(rdb redis.UniversalClient, opts *RevocationStoreOptions) *RevocationStore {
	var o RevocationStoreOptions
	if opts != nil {
		o = *opts
	}
	o.Prefix = cmp.Or(o.Prefix, defaultKey)
	return &RevocationStore{rdb: rdb, key: o.Prefix + "-auth#revoked"}
}

const (
	userField   = "user"
	beforeField = "before" // milliseconds since 1970
	// revocationPage bounds the entries that are read at once.
	revocationPage = 1000
	// maxRevokedUser bounds the ids that are taken from Redis, in bytes.
	maxRevokedUser = 4096
	// clockSkew is how much longer entries are kept: their age is told by the clock of Redis, what is old by that of a node.
	clockSkew = time.Hour
)

// Revoke implements adapter.RevocationStore.
func (s *RevocationStore) Revoke(ctx context.Context, r adapter.Revocation, keep time.Duration) error {
	keep += clockSkew
	err := pipelined(ctx, s.rdb, nil, func(p redis.Pipeliner) func() error {
		added := p.XAdd(ctx, &redis.XAddArgs{
			Stream: s.key, MinID: strconv.FormatInt(max(0, time.Now().Add(-keep).UnixMilli()), 10), Approx: true,
			Values: []any{userField, r.User, beforeField, r.Before.UnixMilli()},
		})
		kept := p.PExpire(ctx, s.key, keep)
		return func() error { return firstError([]redis.Cmder{added, kept}) }
	})
	return userFailure("revoke tokens", err)
}

// Revocations implements adapter.RevocationStore.
func (s *RevocationStore) Revocations(ctx context.Context, cursor string) ([]adapter.Revocation, string, error) {
	for {
		start := "-"
		if cursor != "" {
			start = "(" + cursor
		}
		var read *redis.XMessageSliceCmd
		err := pipelined(ctx, s.rdb, nil, func(p redis.Pipeliner) func() error {
			read = p.XRangeN(ctx, s.key, start, "+", revocationPage)
			return read.Err
		})
		if err != nil {
			return nil, cursor, userFailure("read revocations", err)
		}
		var list []adapter.Revocation
		for _, entry := range read.Val() {
			cursor = entry.ID
			if r, ok := revocationOf(entry.Values); ok {
				list = append(list, r)
			}
		}
		if len(list) > 0 || len(read.Val()) == 0 {
			return list, cursor, nil
		}
	}
}

// revocationOf reads an entry; others than nodes may have written it.
func revocationOf(values map[string]any) (r adapter.Revocation, ok bool) {
	user, _ := values[userField].(string)
	text, _ := values[beforeField].(string)
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms <= 0 || user == "" || len(user) > maxRevokedUser {
		return r, false
	}
	return adapter.Revocation{User: user, Before: time.UnixMilli(ms)}, true
}
