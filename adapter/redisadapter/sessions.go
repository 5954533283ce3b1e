package redisadapter

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Sessions returns the store of this adapter's sessions. Nodes of npm find in it what this node has saved, and the
// other way around.
func (s *Streams) Sessions() adapter.SessionStore {
	return sessionStore{s.rdb, s.opts.SessionKeyPrefix}
}

// sessionStore keeps a session as base64 of the map {sid, pid, rooms, data} in MessagePack.
type sessionStore struct {
	rdb    redis.UniversalClient
	prefix string
}

func (s sessionStore) Save(ctx context.Context, session *adapter.Session, ttl time.Duration) error {
	record, err := encodeSession(session)
	if err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	if err := s.rdb.Do(ctx, "set", s.prefix+session.PID, record, "px", ttl.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}

func (s sessionStore) Load(ctx context.Context, pid string) (*adapter.Session, error) {
	record, err := s.rdb.Get(ctx, s.prefix+pid).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	session, err := decodeSession(record)
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	return session, nil
}

func (s sessionStore) Delete(ctx context.Context, pid string) (bool, error) {
	n, err := s.rdb.Del(ctx, s.prefix+pid).Result()
	if err != nil {
		return false, fmt.Errorf("delete session: %w", err)
	}
	return n > 0, nil
}

func encodeSession(s *adapter.Session) (string, error) {
	data := s.Data
	if data.JSON == nil {
		data = parser.Payload{JSON: []byte("{}")}
	}
	dst := msgpack.AppendMap(nil, 4)
	dst = msgpack.AppendString(msgpack.AppendString(dst, "sid"), s.SocketID)
	dst = msgpack.AppendString(msgpack.AppendString(dst, "pid"), s.PID)
	dst = msgpack.AppendStrings(msgpack.AppendString(dst, "rooms"), s.Rooms)
	dst, err := msgpack.AppendPayload(msgpack.AppendString(dst, "data"), msgpack.MessagePack, data)
	return base64.StdEncoding.EncodeToString(dst), err
}

// maxSession is the longest record that is decoded, in bytes of base64.
const maxSession = 16 << 20

var errSession = errors.New("malformed session record")

func decodeSession(record string) (*adapter.Session, error) {
	if len(record) > maxSession {
		return nil, fmt.Errorf("%w: too long", errSession)
	}
	packed, err := base64.StdEncoding.DecodeString(record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSession, err)
	}
	r, err := msgpack.NewReader(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSession, err)
	}
	s := &adapter.Session{}
	n, err := r.Map()
	for ; n > 0 && err == nil; n-- {
		var key []byte
		if key, err = r.Key(); err != nil {
			break
		}
		switch string(key) {
		case "sid":
			s.SocketID, err = r.Text()
		case "pid":
			s.PID, err = r.Text()
		case "rooms":
			s.Rooms, err = r.Texts()
		case "data":
			s.Data, err = r.Payload()
		default:
			err = r.Skip()
		}
	}
	if err == nil {
		err = r.End()
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errSession, err)
	case s.SocketID == "" || s.PID == "" || s.Rooms == nil:
		return nil, fmt.Errorf("%w: something is missing", errSession)
	}
	return s, nil
}
