package kafkaadapter

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// newReaders returns readers that nobody serves.
func newReaders() *readers {
	opts := Options{Logger: quiet()}.withDefaults()
	return &readers{
		stats: new(counters), opts: opts, list: make(map[place]*reader), wake: func() {}, gap: func(place) {},
		ids: make(map[string]kadm.TopicID), own: func(string) bool { return false },
	}
}

// clientOf returns a client of a Kafka without the options of a node.
func clientOf(t *testing.T, opts Options, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(more, kgo.SeedBrokers(opts.Seeds...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// TestLeaderMoves has a partition get new leaders, and then an error that makes the reading begin again: nothing is read twice or lost.
func TestLeaderMoves(t *testing.T) {
	c := fake(t, kfake.NumBrokers(3))
	opts := options(t, c.ListenAddrs()...)
	nodes := join(t, opts, opts)
	from, to := nodes[0], nodes[1]
	at := logOf(&from.kafka.opts, "/chat")
	from.sayAll(t, 1, 10)
	to.hears(t, from, 1, 10)
	for leader := range int32(3) {
		if err := c.MoveTopicPartition(at.topic, at.partition, leader); err != nil {
			t.Fatal(err)
		}
	}
	from.sayAll(t, 11, 50)
	to.hears(t, from, 1, 50)
	h := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: at.topic, Err: kerr.TopicAuthorizationFailed, Count: 6})
	defer h.Remove()
	redistest.Eventually(t, "the fault has struck", func() bool { return h.Hits() >= 6 })
	from.sayAll(t, 51, 60)
	to.hears(t, from, 1, 60)
	if s := to.kafka.Stats(); s.Lost > 0 {
		t.Errorf("%d are counted as lost", s.Lost)
	}
}

// TestWantedAgain: a partition that was left and is wanted again before the client was told is read.
func TestWantedAgain(t *testing.T) {
	rs := newReaders()
	at := place{"log", 0}
	rs.want(at)
	rs.found(at, bounds{0, 10, 0})
	rs.leave(at)
	rs.want(at)
	s, some := rs.found(at, bounds{0, 20, 0})
	if !some || !s.remove || !s.add {
		t.Errorf("the client, which reads it already, is told %+v", s)
	}
	if left := rs.departed(); len(left) > 0 {
		t.Errorf("it is removed afterwards: %+v", left)
	}
}

// TestGoalAfterLoss: an end that the broker has lost is not waited for.
func TestGoalAfterLoss(t *testing.T) {
	rs := newReaders()
	at := place{"log", 0}
	rs.want(at)
	rs.found(at, bounds{0, 100, 0})
	rs.found(at, bounds{0, 110, 0})
	records := []*kgo.Record{{Topic: at.topic, Offset: 109}}
	rs.take(at, &kgo.FetchPartition{Records: records})
	breaks := rs.breaks(at)
	rs.take(at, &kgo.FetchPartition{Err: &kgo.ErrDataLoss{Topic: at.topic, ConsumedTo: 110, ResetTo: 105}})
	if rs.breaks(at) == breaks {
		t.Error("the loss is no break")
	}
	for _, p := range []struct {
		next  int64
		epoch int32
		want  bool
	}{{104, 0, true}, {105, 0, true}, {105, -1, false}, {106, 1, false}} {
		if got := rs.misses(at, position{epoch: p.epoch, next: p.next}); got != p.want {
			t.Errorf("who has read up to %d misses something: %v", p.next, got)
		}
	}
	rs.found(at, bounds{0, 105, 1})
	if err := rs.failure(time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if gaps, lost := rs.gaps.Load(), rs.stats.lost.Load(); gaps != 1 || lost != 5 {
		t.Errorf("%d records are lost in %d gaps", lost, gaps)
	}
}

// TestStoppedAnew: a partition whose reading was stopped because too much waited can be stopped again after the client was told anew.
func TestStoppedAnew(t *testing.T) {
	rs := newReaders()
	rs.client = clientOf(t, Options{Seeds: []string{"127.0.0.1:1"}})
	at := place{"log", 0}
	rs.want(at)
	rs.found(at, bounds{0, 10, 0})
	r := rs.list[at]
	r.flow.stop(rs.client, at)
	r.lost = true
	s, _ := rs.found(at, bounds{0, 10, 0})
	s.add = false
	rs.tell([]step{s})
	if paused := rs.client.PauseFetchPartitions(nil); r.flow.is() || len(paused[at.topic]) > 0 {
		t.Errorf("stopped %v, paused %v", r.flow.is(), paused)
	}
	r.flow.stop(rs.client, at)
	if paused := rs.client.PauseFetchPartitions(nil); !slices.Equal(paused[at.topic], []int32{0}) {
		t.Errorf("paused %v", paused)
	}
}

// TestNewTopicUnanswered has a topic made anew while Kafka does not tell where it begins: later it is read from its start all the same.
func TestNewTopicUnanswered(t *testing.T) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	n := join(t, opts)[0]
	n.sayAll(t, 1, 10)
	redistest.Eventually(t, "all was sent", func() bool { return n.kafka.Stats().Queued == 0 })
	faults := make(chan *kfake.FaultHandle, 10)
	c.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
		faults <- c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.UnknownServerError, Count: -1})
		return nil, nil, false
	})
	if _, err := kadm.NewClient(clientOf(t, opts)).DeleteTopics(within(t), opts.Prefix+".log"); err != nil {
		t.Fatal(err)
	}
	fault := <-faults
	redistest.Eventually(t, "the new topic is noticed, and not found", func() bool { return fault.Hits() >= 3 && n.kafka.Stats().NewTopics == 1 })
	e := emitterOf(t, opts).Of("/chat")
	want := []string{`["x",0]`, `["x",1]`, `["x",2]`}
	for i := range want {
		if err := e.Emit(within(t), "x", i); err != nil {
			t.Fatal(err)
		}
	}
	fault.Remove()
	gets(t, n, want...)
}
