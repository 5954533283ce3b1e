package load

import (
	"context"
	"runtime"
	"time"
)

// longestSleep is how long the end of a context may go unnoticed.
const longestSleep = 50 * time.Millisecond

// steady has clients send so many messages at fixed times, in turns, whatever has become of those before. Each message says when it
// was to be sent, so that its latency includes what a slow server or this program has kept it waiting. It returns when all have come
// back, or when none has for plan.Timeout.
func (w *worker) steady(ctx context.Context, messages int64) {
	senders := w.senders()
	if len(senders) == 0 || messages <= 0 {
		return
	}
	w.exchanged = make(chan struct{})
	w.tokens.Store(messages)
	for _, s := range senders {
		s.receiver.prepare(counting, "")
	}
	runtime.LockOSThread() // sleep stops the thread
	begin := time.Now()
	for n := int64(0); n < messages; n++ {
		due := begin.Add(time.Duration(float64(n) / w.plan.MessageRate * float64(time.Second)))
		if !haltUntil(ctx, due) {
			break
		}
		s := senders[n%int64(len(senders))]
		w.behind.add(s.client.Index, time.Since(due))
		s.receiver.send(s.client, due)
	}
	runtime.UnlockOSThread()
	w.awaitExchange(ctx)
	for _, s := range senders {
		s.receiver.prepare(collecting, "")
	}
}

// haltUntil stops the calling thread until the time has come; false if ctx has ended.
func haltUntil(ctx context.Context, due time.Time) bool {
	for d := time.Until(due); d > 0 && ctx.Err() == nil; d = time.Until(due) {
		sleep(min(d, longestSleep))
	}
	return ctx.Err() == nil
}

// senders are the clients that send, evenly spread over those that are connected.
func (w *worker) senders() []*slot {
	connected := w.connected()
	n := min(w.plan.Senders, len(connected))
	list := make([]*slot, n)
	for i := range list {
		list[i] = connected[i*len(connected)/n]
	}
	return list
}
