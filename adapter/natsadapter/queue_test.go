package natsadapter

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestReceiptsAtEnd: what the server has confirmed is told also when the connection ends before that was sorted.
func TestReceiptsAtEnd(t *testing.T) {
	s := newSession(newHub("x", Options{Logger: quiet()}.withDefaults(), new(counters)))
	s.dialer = new(dialer)
	var told []adapter.Receipt
	sent := func(r adapter.Receipt) { told = append(told, r) }
	s.end(errLost)
	for i := range 20 {
		list := []receipt{{outgoing: &outgoing{post: post{sent: sent}, subject: "s"}, reply: uint64(i % 2)}}
		s.mark(func() { s.deliver(list) })
	}
	s.giveUp()
	if len(told) != 20 {
		t.Errorf("%d are told", len(told))
	}
	for _, r := range told {
		if r.Err != nil || r.Receivers != -1 {
			t.Errorf("%+v", r)
		}
	}
}

// TestReceiptsAtClose closes while messages wait and are under way: whoever wants to know what has become of one is told.
func TestReceiptsAtClose(t *testing.T) {
	server := natstest.Single(t)
	opts := of(t, server.URL).opts
	for range 10 {
		h := newHub("x", opts, new(counters))
		h.subs.want(h.subjects.replies(), false, h.takeReply)
		h.start()
		if err := h.ready(within(t)); err != nil {
			t.Fatal(err)
		}
		var told atomic.Int64
		taken := int64(0)
		for range 300 {
			if h.publish("test.closing", []byte("x"), post{namespace: "/", single: true, sent: func(adapter.Receipt) { told.Add(1) }}) == nil {
				taken++
			}
		}
		h.close()
		if told.Load() != taken {
			t.Errorf("%d of %d are told", told.Load(), taken)
		}
	}
}

// TestReceipts ends connections while messages are sent: whoever wants to know what has become of one is told.
func TestReceipts(t *testing.T) {
	server := natstest.Single(t)
	a, b := pairOn(t, server.URL, server.URL)
	hub := a.builder.servers.Open()[0].hub
	subject := hub.subjects.namespace("/none").node(b.cluster.Self().ID)
	var told, taken atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if hub.publish(subject, []byte("x"), post{namespace: "/none", single: true, sent: func(adapter.Receipt) { told.Add(1) }}) == nil {
					taken.Add(1)
				}
			case <-stop:
				return
			}
		}
	}()
	for range 5 {
		a.awaits(t, Up)
		n := told.Load()
		redistest.Eventually(t, "receipts come", func() bool { return told.Load() > n })
		if s := hub.session(); s != nil {
			s.end(errors.New("ended by the test"))
		}
	}
	close(stop)
	<-done
	redistest.Eventually(t, "all are told", func() bool { return told.Load() == taken.Load() })
}
