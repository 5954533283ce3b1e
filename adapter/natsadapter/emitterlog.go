package natsadapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

const (
	// noLogFor is how long an emitter believes that there is no log, deniedLogFor how long it believes that it may not write to it.
	noLogFor     = time.Second
	deniedLogFor = time.Minute
)

// emitterLog is the way of an emitter's broadcasts into the log, if the nodes keep one. All methods may be called concurrently.
type emitterLog struct {
	mu sync.Mutex
	// Guarded by mu.
	none  time.Time // until then there is none
	hears bool      // answers are heard
}

func (l *emitterLog) there() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !time.Now().Before(l.none)
}

func (l *emitterLog) leave(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.none = time.Now().Add(d)
}

// denied reports whether answers are not heard, of which the first one has to be sure: what is stored without an answer would be sent twice.
func (l *emitterLog) denied(ctx context.Context, conn *nats.Conn, inbox string) (bool, error) {
	l.mu.Lock()
	hears := l.hears
	l.mu.Unlock()
	if hears {
		return false, nil
	}
	if err := conn.FlushWithContext(ctx); err != nil {
		return false, fmt.Errorf("wait for nats: %w", err)
	}
	if violates(conn, inbox) {
		l.leave(deniedLogFor)
		return true, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hears = true
	return false, nil
}

// violates reports whether the last thing that a server has refused has to do with a subject.
func violates(conn *nats.Conn, subject string) bool {
	err := conn.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`)
}

// write stores a broadcast. done is false if there is no log, or none for this user: it goes the way without one.
func (l *emitterLog) write(ctx context.Context, conn *nats.Conn, subject string, body []byte) (done bool, err error) {
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return false, fmt.Errorf("publish: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only if the connection has ended
	if denied, err := l.denied(ctx, conn, inbox); denied || err != nil {
		return false, err
	}
	e := logEntry{kind: entryBroadcasts, from: envelope.Emitter, list: []keptBody{{0, body}}}
	if err := conn.PublishRequest(subject, inbox, e.encode()); err != nil {
		if errors.Is(err, nats.ErrMaxPayload) {
			err = fmt.Errorf("%w: %w", adapter.ErrTooLarge, err)
		}
		return false, fmt.Errorf("publish: %w", err)
	}
	if err := conn.FlushWithContext(ctx); err != nil {
		return false, fmt.Errorf("wait for nats: %w", err)
	}
	// The server refuses before it answers the flush.
	if violates(conn, subject) {
		l.leave(deniedLogFor)
		return false, nil
	}
	m, err := sub.NextMsgWithContext(ctx)
	if errors.Is(err, nats.ErrNoResponders) {
		l.leave(noLogFor)
		return false, nil
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err == nil {
		err = json.Unmarshal(m.Data, &ack)
	}
	if err == nil && ack.Error != nil {
		err = ack.Error
	}
	if err != nil {
		return false, fmt.Errorf("wait for jetstream: %w", err)
	}
	return true, nil
}
