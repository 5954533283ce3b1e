package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

const (
	settleEvery = 20 * time.Millisecond
	// settleQuiet is how long to wait for messages that are missing, when those behind them have come.
	settleQuiet = time.Second
)

// stream is a sender of numbered messages at a steady rate: to all clients, or to several rooms in turns.
type stream struct {
	cancel context.CancelFunc
	sender *Client
	ended  chan struct{}
	// After ended.
	sent int64
	err  error
}

// startStream starts the worker's stream.
func (w *worker) startStream(ctx context.Context) error {
	lost := make(chan error, 1)
	client, err := w.dial(ctx, &w.plan.Via, 0, "", streamHandler{lost: lost}, nil)
	if err != nil {
		return fmt.Errorf("connect the sender: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{cancel: cancel, sender: client, ended: make(chan struct{})}
	w.stream = s
	go func() {
		defer close(s.ended)
		s.sent, s.err = w.send(ctx, client, lost)
	}()
	return nil
}

// hush ends the stream, if there is one, and returns how many messages it has sent.
func (w *worker) hush() (int64, error) {
	s := w.stream
	if s == nil {
		return 0, nil
	}
	w.stream = nil
	s.cancel()
	<-s.ended
	leave, cancel := context.WithTimeout(context.Background(), w.plan.Timeout)
	defer cancel()
	_ = s.sender.Close(leave) // in the orderly way: behind all messages
	return s.sent, s.err
}

// send sends until ctx ends, and then one last message to each room: whoever is there gets it, and so has caught up.
func (w *worker) send(ctx context.Context, c *Client, lost <-chan error) (int64, error) {
	p := w.plan.Drops
	pace := newPace(p.Rate)
	var buf []byte
	end := int64(maxSeen)
	for n := int64(0); n < end; n++ {
		if end == maxSeen && !pace.wait(ctx) {
			end = n + int64(p.Rooms)
		}
		select {
		case err := <-lost:
			return n, fmt.Errorf("the sender has lost its connection: %w", err)
		default:
		}
		buf = w.appendMessage(buf[:0], n)
		if err := c.Emit(buf); err != nil {
			return n, fmt.Errorf("send: %w", err)
		}
	}
	return end, nil
}

// appendMessage appends the packet of the n-th message, from 0.
func (w *worker) appendMessage(dst []byte, n int64) []byte {
	p := w.plan.Drops
	number := n/int64(p.Rooms) + 1
	if p.Rooms == 1 {
		dst = append(strconv.AppendInt(append(dst, "42"...), n%1e6, 10), `["bcast",1,"`...)
	} else {
		dst = append(append(append(dst, `42["direct","`...), p.room(int(n%int64(p.Rooms)))...), `","`...)
	}
	return append(appendStamp(dst, w.plan.Tag, number, time.Now(), w.plan.Size), `"]`...)
}

// streamHandler listens to a sender, which awaits no answer.
type streamHandler struct {
	discard
	lost chan<- error // holds one
}

// OnEnd implements Handler.
func (h streamHandler) OnEnd(_ *Client, err error, closed bool) {
	if !closed {
		h.lost <- err
	}
}

var errLateBack = errors.New("not back in time")

// drops has the clients lose their connections and come back.
func (w *worker) drops(ctx context.Context, begin time.Time) {
	p := w.plan.Drops
	patience := p.For + 2*reconnectionDelayMax + 2*w.plan.Timeout
	ctx, cancel := context.WithDeadlineCause(ctx, begin.Add(p.Duration+patience), errLateBack)
	defer cancel()
	var living sync.WaitGroup
	for _, s := range w.clients {
		if s.dropper != nil {
			living.Go(func() { s.dropper.live(ctx, begin) })
		}
	}
	living.Wait()
}

// settle waits until all clients have every message that was due, or until no more come: for long while some client lacks the last.
func (w *worker) settle(ctx context.Context) {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	before, moved := w.received.Load(), time.Now()
	for {
		all, last := true, true
		for _, s := range w.clients {
			if s.dropper != nil {
				a, l := s.dropper.complete(w.due)
				all, last = all && a, last && l
			}
		}
		quiet := time.Since(moved)
		if all || quiet >= w.plan.Timeout || last && quiet >= min(settleQuiet, w.plan.Timeout) {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if now := w.received.Load(); now != before {
			before, moved = now, time.Now()
		}
	}
}
