package server

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// AckReply is what came of one socket that was asked by BroadcastWithAckSeq.
type AckReply[R any] struct {
	// SocketID is "" for a socket on a node that does not tell names.
	SocketID string
	// Value is the first argument of the acknowledgement.
	Value R
	// Expected is the number of sockets that received the packet, as far as their nodes have told until now.
	Expected int
}

// BroadcastWithAckSeq is BroadcastWithAck whose replies come one by one, in the order in which the acknowledgements came. The event is
// encoded at once, and sent when an iteration begins: anew for each. What has come and was not looked at yet waits in memory, and nothing
// else. The iteration ends when each socket has acknowledged or gone, or at the deadline of ctx (Options.AckTimeout without one). Breaking
// off costs nothing: what comes later is thrown away, on this node and from others.
//
// A socket that disconnects, or does not acknowledge in time, comes with ErrAckMissing, and one whose answer is no R with the error of
// decoding it; the iteration goes on after either. Why the broadcast as a whole failed comes last, without a SocketID: ErrAckTimeout when
// time ran out, ErrAckMissing when nodes did not take part to the end, otherwise the error that BroadcastWithAck returns.
func BroadcastWithAckSeq[R any](ctx context.Context, to Broadcaster, event string, args ...any) iter.Seq2[AckReply[R], error] {
	b := to.operator()
	payload, err := eventPayload(event, args)
	if b.parent != nil {
		err = fmt.Errorf("broadcast with ack: %w", ErrParentNamespace)
	}
	return func(yield func(AckReply[R], error) bool) {
		switch {
		case err != nil:
			yield(AckReply[R]{}, err)
		case !b.nobody():
			streamReplies(ctx, b, event, payload, yield)
		}
	}
}

// streamReplies makes one broadcast and yields what comes of it. The goroutine that waits for the adapter ends before it returns.
func streamReplies[R any](ctx context.Context, b BroadcastOperator, event string, payload parser.Payload, yield func(AckReply[R], error) bool) {
	srv := b.nsp.server
	ctx, cancel := srv.ackContext(ctx)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		b.flags.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	asking, breakOff := context.WithCancel(ctx)
	s := &replyStream{wake: make(chan struct{}, 1)}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		p := &parser.Packet{Type: parser.Event, Namespace: b.nsp.name, ID: parser.NoID, Payload: payload}
		summary, err := b.withAck(asking, event, p, s)
		s.finish(summary, err)
	})
	defer waiting.Wait()
	defer breakOff()
	defer s.drop()
	for {
		outcomes, expected, over := s.take()
		for _, o := range outcomes {
			if r, err := replyOf[R](o, expected); !yield(r, err) {
				return
			}
		}
		if !over {
			<-s.wake
			continue
		}
		if err := s.end(ctx, srv); err != nil {
			yield(AckReply[R]{Expected: expected}, err)
		}
		return
	}
}

// ackOutcome is what came of one socket.
type ackOutcome struct {
	answer
	gone bool
}

func replyOf[R any](o ackOutcome, expected int) (AckReply[R], error) {
	r := AckReply[R]{SocketID: o.sid, Expected: expected}
	if o.gone {
		return r, ErrAckMissing
	}
	return r, failed("broadcast with ack", decodeValue(o.value, &r.Value))
}

// replyStream keeps the acknowledgements of one broadcast until somebody takes them.
type replyStream struct {
	wake chan struct{} // holds one: there is something to take

	mu sync.Mutex
	// Guarded by mu.
	pending  []ackOutcome
	expected int
	dropped  bool // nobody takes them any more
	over     bool
	summary  adapter.AckSummary // when over
	err      error
}

func (s *replyStream) Expected(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected += n
}

func (s *replyStream) Ack(_ adapter.NodeID, sid string, value parser.Payload) {
	s.add(ackOutcome{answer: answer{sid, value}})
}

func (s *replyStream) Gone(_ adapter.NodeID, sid string) {
	s.add(ackOutcome{answer: answer{sid: sid}, gone: true})
}

func (s *replyStream) add(o ackOutcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		return
	}
	if s.pending = append(s.pending, o); len(s.pending) == 1 {
		s.wakeLocked()
	}
}

func (s *replyStream) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *replyStream) finish(summary adapter.AckSummary, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.summary, s.err = true, summary, err
	s.wakeLocked()
}

func (s *replyStream) take() (outcomes []ackOutcome, expected int, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	outcomes, s.pending = s.pending, nil
	return outcomes, s.expected, s.over
}

func (s *replyStream) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped, s.pending = true, nil
}

// end says what the broadcast as a whole came to, once it is over.
func (s *replyStream) end(ctx context.Context, srv *Server) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil && ctx.Err() != nil:
		return srv.ackEnded(ctx)
	case s.err == nil && s.summary.Unanswered > 0:
		return fmt.Errorf("%w: of %d nodes, known are %v", ErrAckMissing, s.summary.Unanswered, s.summary.Missing)
	}
	return s.err
}
