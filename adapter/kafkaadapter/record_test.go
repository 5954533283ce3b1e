package kafkaadapter

import (
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestRecord writes letters and reads them.
func TestRecord(t *testing.T) {
	for _, l := range []letter{
		{from: "0123456789abcdef", kind: "broadcast", namespace: "/", room: "red", seq: 1, body: []byte("x")},
		{from: "a", to: "b", kind: "ack", namespace: "/chat", after: 1 << 50, directed: 3, at: 1764000000000, body: []byte{0}},
		{from: "a", to: "a", kind: kindMember, at: 1, sent: 2, body: []byte("{}")},
		{from: "a", kind: kindCommon, body: []byte("{}")},
	} {
		got, err := new(names).open(l.record("topic", 3))
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%+v was read as %+v, %v", l, got, err)
		}
	}
}

// TestRoom: only a message that a node may drop if it has nobody in a room is known by it.
func TestRoom(t *testing.T) {
	one := adapter.Selection{Rooms: []string{"red"}}
	for name, tt := range map[string]struct {
		m    adapter.Message
		room string
	}{
		"one room":      {adapter.Message{Kind: adapter.KindBroadcast, Selection: one}, "red"},
		"two rooms":     {adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: []string{"red", "blue"}}}, ""},
		"all":           {adapter.Message{Kind: adapter.KindBroadcast}, ""},
		"a question":    {adapter.Message{Kind: adapter.KindBroadcast, Selection: one, Request: "1"}, ""},
		"with holders":  {adapter.Message{Kind: adapter.KindBroadcast, Selection: one, Flags: adapter.Flags{Direction: &adapter.Direction{}}}, ""},
		"another kind":  {adapter.Message{Kind: adapter.KindFetch, Selection: one}, ""},
		"join, by room": {adapter.Message{Kind: adapter.KindJoin, Selection: one}, ""},
	} {
		if l := letterOf("a", "/", &tt.m, nil); l.room != tt.room {
			t.Errorf("%s: room %q", name, l.room)
		}
	}
}

// TestPartitionOf pins the places of namespaces and nodes: nodes of several versions must agree on them.
func TestPartitionOf(t *testing.T) {
	for name, want := range map[string]int32{"/": 30, "/chat": 0, "/admin": 29, "0123456789abcdef": 29} {
		if got := partitionOf(name, 32); got != want {
			t.Errorf("%s is in partition %d, want %d", name, got, want)
		}
	}
}

// TestStale: by the broker's clock a record is stale after five seconds, by the clock of its sender after a minute.
func TestStale(t *testing.T) {
	c := newClock()
	now := time.Now()
	if c.now() != 0 {
		t.Error("the clock knows the time at once")
	}
	skew := 3 * time.Hour // the broker's clock is ahead
	c.learn(c.elapsed()-2*trustedTrip.Microseconds(), now)
	c.learn(c.elapsed()+1e6, now)
	if c.now() != 0 {
		t.Error("the clock has learnt from a record that had waited")
	}
	if c.stale(0, now.Add(-30*time.Second), true) || !c.stale(0, now.Add(-2*time.Minute), true) {
		t.Error("as long as the broker's clock is not known, a minute is allowed")
	}
	c.learn(c.elapsed(), now.Add(skew))
	at := func(age time.Duration) int64 { return now.Add(skew - age).UnixMilli() }
	for name, tt := range map[string]struct {
		at       int64
		stamp    time.Time
		byBroker bool
		stale    bool
	}{
		"fresh":                        {at(0), now.Add(skew), true, false},
		"appended long ago":            {0, now.Add(skew - 6*time.Second), true, true},
		"written long ago":             {at(6 * time.Second), now.Add(skew), true, true},
		"not that long":                {at(3 * time.Second), now.Add(skew - 3*time.Second), true, false},
		"from the future":              {at(-time.Hour), now.Add(skew + time.Hour), true, false},
		"by own clock":                 {0, now.Add(-50 * time.Second), false, false},
		"by own clock, long ago":       {0, now.Add(-70 * time.Second), false, true},
		"by own clock, invented":       {1, now, false, false},
		"number that is out of bounds": {-1 << 62, now.Add(skew), true, false},
	} {
		if got := c.stale(tt.at, tt.stamp, tt.byBroker); got != tt.stale {
			t.Errorf("%s: stale is %t", name, got)
		}
	}
}

// FuzzRecord reads records of whoever writes to our topics.
func FuzzRecord(f *testing.F) {
	codec, err := envelope.New("self", "/", func(string) bool { return true })
	if err != nil {
		f.Fatal(err)
	}
	m := &adapter.Message{
		Kind: adapter.KindBroadcast, Seq: 5, Selection: adapter.Selection{Rooms: []string{"red"}},
		Packet: &parser.Packet{Type: parser.Event, Namespace: "/", ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["x",1]`)}},
	}
	other, err := envelope.New("other", "/", nil)
	if err != nil {
		f.Fatal(err)
	}
	body, err := other.Packed(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("red", "1", "other", "broadcast", "/", "5,0,0", "1764000000000", "7", body)
	f.Add("", "2", "", "", "", "1,2", "x", "-", []byte{})
	f.Fuzz(func(t *testing.T, key, version, from, kind, namespace, order, at, sent string, value []byte) {
		r := &kgo.Record{Key: []byte(key), Value: value}
		for name, text := range map[string]string{
			headerVersion: version, headerFrom: from, headerKind: kind, headerNamespace: namespace, headerOrder: order, headerAt: at, headerSent: sent,
		} {
			if text != "" {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
			}
		}
		l, err := new(names).open(r)
		if err != nil {
			return
		}
		if l.seq > maxNumber || l.after > maxNumber || l.directed > maxNumber {
			t.Fatalf("numbers %d, %d, %d", l.seq, l.after, l.directed)
		}
		if again, err := new(names).open(l.record("topic", 0)); err != nil || !reflect.DeepEqual(again, l) && len(l.body) > 0 {
			t.Fatalf("%+v is read again as %+v, %v", l, again, err)
		}
		newClock().stale(l.at, r.Timestamp, true)
		_, _ = codec.Open(string(l.body))
	})
}
