package kafkaadapter

import (
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
)

// arrival is what was read of a partition at once.
type arrival struct {
	letters []arrived
	size    int
	gaps    uint64   // how many there were before in the partition
	end     position // behind the last record, of what is left out, too
}

// Size implements inflow.Item.
func (a arrival) Size() int { return a.size }

// arrived is one record that this node may need.
type arrived struct {
	letter
	place    place
	offset   int64
	topic    kadm.TopicID
	epoch    int32 // of the leader that has written it
	stamp    time.Time
	byBroker bool // stamp is the broker's, not the sender's
}

// reader reads one partition, from the end that it had when it was first wanted, and later from where it was. Its feed has a
// goroutine while there is something to handle; what exceeds the limit waits in Kafka.
type reader struct {
	// Static after construction.
	place   place
	located chan struct{} // closed when it is known where the reading begins
	feed    *inflow.Feed[arrival]
	flow    flow

	handed sync.Mutex
	// Guarded by handed.
	stand position // everything before it was handed over; zero until the place is known
	holes uint64   // gaps before what was handed over last
	cut   int64    // what was read from here on is not in the partition any more: a new leader had not got it; 0 if that never was so

	// Guarded by readers.mu.
	gaps   uint64       // how often the reading went on at another place
	topic  kadm.TopicID // of the topic that is read
	users  int          // how many want it
	known  bool         // located is closed
	next   int64        // offset of the next record
	epoch  int32        // of the leader, when the place was found; -1 if it is not known
	before int64        // next, when the ends were last asked for
	// goal is an end of the partition that is to be reached, since is when it was found, and moved when something was last read.
	goal         int64
	since, moved time.Time
	err          error     // why nothing can be read, nil if nothing is wrong
	lost         bool      // the client does not read any more: it has to be told again
	renewed      bool      // its topic is another one, of which nothing was read
	tried        time.Time // when it was last told, or when there was an error
}

// reached notes that everything before a position was handed over.
func (r *reader) reached(at position) {
	r.handed.Lock()
	defer r.handed.Unlock()
	if at.topic != r.stand.topic || at.next > r.stand.next {
		r.stand = at
	}
}

// behind notes how many gaps there were before what is handed over now.
func (r *reader) behind(gaps uint64) {
	r.handed.Lock()
	defer r.handed.Unlock()
	r.holes = gaps
}

// restart notes that the reading goes on elsewhere.
func (r *reader) restart(at position) {
	r.handed.Lock()
	defer r.handed.Unlock()
	if at.topic != r.stand.topic {
		r.cut = 0
	}
	r.stand = at
}

// recede is restart where the partition ends before what was read of it.
func (r *reader) recede(at position) {
	r.restart(at)
	r.handed.Lock()
	defer r.handed.Unlock()
	r.cut = max(r.cut, at.next)
}

// misses reports whether what came after a position was read once and is not there any more. What was read since the partition was cut
// off there has no epoch, or is behind it.
func (r *reader) misses(from position) bool {
	r.handed.Lock()
	defer r.handed.Unlock()
	return from.next < r.cut || from.next == r.cut && r.cut > 0 && from.epoch >= 0
}

// readLocked returns what makes the client read from where the reader is.
func (r *reader) readLocked(now time.Time) step {
	from := kgo.NewOffset().At(r.next)
	if r.epoch >= 0 {
		from = from.WithEpoch(r.epoch)
	}
	again := r.lost
	r.lost, r.tried = false, now
	return step{place: r.place, flow: &r.flow, remove: again, add: true, from: from}
}

// gapLocked goes on at another place than the last one.
func (r *reader) gapLocked(now time.Time, to, lost int64, why error) step {
	was := r.next
	r.gaps++
	r.next, r.goal, r.epoch, r.err, r.lost = to, 0, -1, nil, true
	if at := (position{r.topic, -1, to}); to < was && !errors.Is(why, errNewTopic) {
		r.recede(at)
	} else {
		r.restart(at)
	}
	s := r.readLocked(now)
	s.was, s.to, s.lost, s.why = was, to, lost, why
	return s
}

// flow stops the reading of a partition while too much waits to be handled.
type flow struct {
	mu sync.Mutex
	// Guarded by mu, which is held while the client is told.
	stopped bool
}

// stop tells the client to read no more of a partition, go to go on.
func (f *flow) stop(client *kgo.Client, at place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopped {
		f.stopped = true
		client.PauseFetchPartitions(map[string][]int32{at.topic: {at.partition}})
	}
}

func (f *flow) resume(client *kgo.Client, at place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		f.stopped = false
		client.ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}})
	}
}

// reset goes with a partition that the client is told of anew, which it does not stop reading for what was before.
func (f *flow) reset(client *kgo.Client, at place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = false
	client.ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}

func (f *flow) is() (stopped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopped
}
