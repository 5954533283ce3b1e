package membership

import (
	"testing"
	"testing/synctest"
	"time"
)

// Every node measures its way through the broker and that to others, with each heartbeat.
func TestCanaries(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 3)
		pass(time.Minute)
		for _, n := range nodes {
			l := n.Latencies()
			if l.RoundTrip.Count < 17 || l.RoundTrip.Count > 23 || l.OneWay.Count != l.RoundTrip.Count {
				t.Errorf("%s measured %d and %d times in a minute", n.Self().Name, l.RoundTrip.Count, l.OneWay.Count)
			}
			if l.RoundTrip.Sum != 0 || l.OneWay.Sum != 0 || l.RoundTripLost != 0 || l.OneWayLost != 0 {
				t.Errorf("%s: %+v over a broker that takes no time", n.Self().Name, l)
			}
		}
	})
}

// A node alone has nobody else to ask.
func TestCanariesOfOneNode(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.start(t, 0, Options{})
		pass(time.Minute)
		if l := n.Latencies(); l.RoundTrip.Count < 17 || l.OneWay.Count != 0 || l.OneWayLost != 0 {
			t.Errorf("%+v", l)
		}
	})
}

// What takes time is measured: on the way to another half of it.
func TestCanariesTakeTime(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 2)
		for range 20 {
			thaw := nodes[1].link.freeze() // what comes to it waits, and what it sends
			pass(2 * time.Second)
			thaw()
			pass(2 * time.Second)
		}
		l := nodes[0].Latencies()
		if l.RoundTrip.Sum != 0 || l.OneWay.Count < 20 || l.OneWayLost != 0 {
			t.Errorf("%+v", l)
		}
		if l.OneWay.Sum < time.Second || l.OneWay.Sum > 20*time.Second {
			t.Errorf("%d messages to a node that often stood still for 2 s took %v", l.OneWay.Count, l.OneWay.Sum)
		}
	})
}

// What does not come back is lost after a while; afterwards all is as before.
func TestLostCanaries(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 2)
		pass(10 * time.Second)
		nodes[0].link.set(func(l *link) { l.cut = true }) // and nobody tells
		pass(30 * time.Second)
		lost := nodes[0].Latencies()
		if lost.RoundTripLost < 5 || lost.RoundTripLost > 9 || lost.OneWayLost < 2 || lost.OneWayLost > 4 {
			t.Errorf("in half a minute: %+v", lost)
		}
		nodes[0].link.set(func(l *link) { l.cut = false })
		pass(30 * time.Second)
		if l := nodes[0].Latencies(); l.RoundTrip.Count < lost.RoundTrip.Count+8 || l.OneWay.Count < lost.OneWay.Count+7 || l.RoundTripLost > lost.RoundTripLost+4 {
			t.Errorf("after that %+v, before %+v", l, lost)
		}
	})
}

// While the broker is away none is sent. Those under way when it went are lost at once.
func TestCanariesWithoutBroker(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.cluster(t, 2)[0]
		b.mu.Lock()
		b.drop = func(_, _ ID, msg *message) bool { return msg.Mark != 0 }
		b.mu.Unlock()
		pass(5 * time.Second)
		n.link.connect(false)
		synctest.Wait()
		at := n.Latencies()
		if at.RoundTripLost == 0 || at.OneWayLost == 0 {
			t.Errorf("%+v", at)
		}
		pass(time.Minute)
		if after := n.Latencies(); after != at {
			t.Errorf("after a minute without a broker %+v, before %+v", after, at)
		}
	})
}

// A node that says good-bye owes nothing.
func TestCanariesAndGoodBye(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 2)
		b.mu.Lock()
		b.drop = func(_, to ID, msg *message) bool { return to == nodes[1].id && msg.Kind == kindPing }
		b.mu.Unlock()
		pass(5 * time.Second)
		nodes[1].Close()
		pass(time.Minute)
		if l := nodes[0].Latencies(); l.OneWayLost != 0 || l.RoundTripLost != 0 {
			t.Errorf("%+v", l)
		}
	})
}

// A beat that is no answer, such as one to a hello, is not taken for one, once the node is known to send marks back.
func TestCanaryAndOtherBeat(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		nodes := b.cluster(t, 2)
		pass(time.Minute)
		b.mu.Lock()
		b.drop = func(_, to ID, msg *message) bool { return to == nodes[1].id && msg.Kind == kindPing }
		b.mu.Unlock()
		pass(5 * time.Second)
		before := nodes[0].Latencies().OneWay.Count
		nodes[1].Members.mu.Lock()
		beat := nodes[1].headerLocked(kindBeat)
		nodes[1].Members.mu.Unlock()
		body, err := beat.encode()
		if err == nil {
			err = nodes[1].link.Send(nodes[0].id, body)
		}
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if after := nodes[0].Latencies().OneWay.Count; before == 0 || after != before {
			t.Errorf("%d measurements, %d before the beat", after, before)
		}
	})
}

// Former versions answer a ping with a beat that has no mark, and do not mind one that has.
func TestCanaryOfFormerVersion(t *testing.T) {
	bubble(t, func(t *testing.T, b *broker) {
		n := b.start(t, 0, Options{})
		former := b.link(idOf(1), "")
		say := func(to ID, msg *message) {
			body, err := msg.encode()
			if err == nil && to == "" {
				err = former.Tell(All, body)
			} else if err == nil {
				err = former.Send(to, body)
			}
			if err != nil {
				t.Error(err)
			}
		}
		beat := &message{V: 1, Kind: kindBeat, From: idOf(1), Every: 600_000, Topics: 1}
		pings := 0
		receive := func(from Channel, body []byte) {
			if msg, err := decode(body); err == nil && from == Inbox && msg.Kind == kindPing {
				pings++
				say(n.id, beat)
			}
		}
		if err := former.Start(receive, func() { say("", hello(1)) }, func() {}); err != nil {
			t.Fatal(err)
		}
		defer former.Close()
		pass(time.Minute)
		if l := n.Latencies(); pings < 17 || l.OneWay.Count != uint64(pings) || l.OneWayLost != 0 {
			t.Errorf("%d pings, %+v", pings, l)
		}
	})
}
