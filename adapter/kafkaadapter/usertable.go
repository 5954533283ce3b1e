package kafkaadapter

import (
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// emptiedFor is how long the place of a state that is nothing is kept: longer than a record can be under way.
	emptiedFor = 10 * time.Minute
	// affirmAfter is how long a node leaves it to another to affirm what that one has written.
	affirmAfter = 10 * time.Second
)

// userTable is what one partition of the users' topic says: the same on all nodes that have read as far.
//
// Each record says what its sender expects to be so afterwards, and on which record it builds. If that is still the last one of its
// key, the sender is right, and the record alone tells everything, so that compaction may remove those before it. If not, somebody
// else was faster: the step is made on what is so, and the record is wrong about the result. It is affirmed then: a further record
// says what is so, written by the one who was late or, should he have died, by any other node. So a wrong record is the last one of
// its key, which compaction keeps, only for a moment; the topic's min.compaction.lag.ms is much longer. Were all nodes to die in that
// moment, the record would be wrong about dead lives alone.
type userTable struct {
	mu sync.RWMutex
	// Guarded by mu.
	users   map[string]userPlace // by key, of kind ofUser
	others  map[string]userPlace // of all other kinds
	emptied []emptiedKey         // states that are nothing, in the order in which they became so
	doubted map[string]time.Time // keys whose last record is wrong, and since when
	first   int64                // offset of the first record that the topic has
	next    int64                // offset of the next record
	newest  time.Time            // the latest time of a record: claims end by the broker's clock, not by that of this node
	moved   chan struct{}        // closed when next grows; nil if nobody waits
}

// nothing is the text of a state that is nothing.
var nothing unique.Handle[string]

// rollMark begins the state of a life on the roll, since a node may have no name.
const rollMark = "="

// userPlace is what is kept under a key.
type userPlace struct {
	version int64                 // offset of the key's last record
	text    unique.Handle[string] // most users are held by one of a few lives; zero for some time after it has become nothing
}

func (p userPlace) state() string {
	if p.text == nothing {
		return ""
	}
	return p.text.Value()
}

type emptiedKey struct {
	key     string
	version int64
	at      time.Time
}

func newUserTable(next int64) *userTable {
	return &userTable{users: make(map[string]userPlace), others: make(map[string]userPlace), doubted: make(map[string]time.Time), first: next, next: next}
}

// of is where a key is.
func (t *userTable) ofLocked(key string) map[string]userPlace {
	if key[0] == byte(ofUser) {
		return t.users
	}
	return t.others
}

// lookup returns what is kept under a key, version -1 if nothing is.
func (t *userTable) lookup(key string) userPlace {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.placeLocked(key)
}

func (t *userTable) placeLocked(key string) userPlace {
	if place, ok := t.ofLocked(key)[key]; ok {
		return place
	}
	return userPlace{version: -1}
}

// told is what a record has done.
type told struct {
	record      userRecord
	before, now string
	wrong       bool // about the result
}

// take takes a record. The error says that it is none of ours, which may leave the key in doubt.
func (t *userTable) take(record *kgo.Record, partitions int) (told, error) {
	r, err := decodeUserRecord(record)
	if r.key != "" && userPartition(r.key, partitions) != record.Partition {
		return told{}, errUserRecord
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if record.Timestamp.After(t.newest) {
		t.newest = record.Timestamp
	}
	if err != nil {
		t.doubtLocked(r.key)
		return told{}, err
	}
	place := t.placeLocked(r.key)
	w := told{record: r, before: place.state()}
	if r.base >= place.version && r.do != stepClaim {
		w.now = r.state // nobody was faster, and what this builds on may have been removed by compaction
	} else {
		w.now = r.after(place.state(), record.Timestamp)
	}
	w.wrong = w.now != r.state
	if r.do == stepClaim { // whose end only the broker's clock tells
		c, _ := parseClaim(w.now)
		w.wrong = c.by != r.life
	}
	t.putLocked(r.key, record.Offset, w.now)
	if w.wrong {
		t.doubtLocked(r.key)
	} else {
		delete(t.doubted, r.key)
	}
	return w, nil
}

// doubtLocked notes that the last record of a key does not say what is so, if something is.
func (t *userTable) doubtLocked(key string) {
	if key != "" && t.placeLocked(key).version >= 0 {
		t.doubted[key] = time.Now()
	}
}

func (t *userTable) putLocked(key string, version int64, state string) {
	place := userPlace{version: version}
	if state == "" {
		t.emptied = append(t.emptied, emptiedKey{key, version, time.Now()})
	} else {
		place.text = unique.Make(state)
	}
	t.ofLocked(key)[key] = place
}

// reach notes that everything before an offset was taken.
func (t *userTable) reach(next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = max(t.next, next)
	if t.moved != nil {
		close(t.moved)
		t.moved = nil
	}
}

// reached returns nil if everything before an offset was taken, else what is closed when more was.
func (t *userTable) reached(end int64) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next >= end {
		return nil
	}
	if t.moved == nil {
		t.moved = make(chan struct{})
	}
	return t.moved
}

// cut forgets what was written before the first record that the topic still has: who reads it from now on does not know that either.
func (t *userTable) cut(first int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, all := range []map[string]userPlace{t.users, t.others} {
		for key, place := range all {
			if place.version < first {
				delete(all, key)
				delete(t.doubted, key)
			}
		}
	}
}

// tidy forgets what has been nothing for long, and returns what is to be affirmed.
func (t *userTable) tidy(now time.Time) (affirm []userRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.emptied) > 0 && now.Sub(t.emptied[0].at) > emptiedFor {
		old := t.emptied[0]
		t.emptied = t.emptied[1:]
		if all := t.ofLocked(old.key); all[old.key].version == old.version && t.doubted[old.key].IsZero() {
			delete(all, old.key)
		}
	}
	for key, since := range t.doubted {
		if now.Sub(since) > affirmAfter {
			affirm = append(affirm, t.affirmLocked(key))
		}
	}
	for key, place := range t.others {
		if c, ok := parseClaim(place.state()); ok && key[0] == byte(ofClaim) && t.newest.UnixMilli()-c.until > emptiedFor.Milliseconds() {
			affirm = append(affirm, userRecord{key: key, base: place.version, userStep: userStep{do: stepAffirm}})
		}
	}
	return affirm
}

// affirmLocked is the record that says what is so.
func (t *userTable) affirmLocked(key string) userRecord {
	place := t.placeLocked(key)
	return userRecord{key: key, base: place.version, userStep: userStep{do: stepAffirm, state: place.state()}}
}

func (t *userTable) affirm(key string) userRecord {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.affirmLocked(key)
}

// held returns the users of a namespace that a life holds or has in its care.
func (t *userTable) held(namespace, life string) (users []string) {
	prefix := userKey(ofUser, namespace, "")
	t.mu.RLock()
	defer t.mu.RUnlock()
	for key, place := range t.users {
		if len(key) >= len(prefix) && key[:len(prefix)] == prefix && place.text != nothing {
			if held, _ := without(place.state(), life); held || place.state() == awayMark+life {
				users = append(users, key[len(prefix):])
			}
		}
	}
	return users
}

// roll returns the lives of a namespace with the names of their nodes.
func (t *userTable) roll(namespace string) map[string]string {
	prefix := userKey(ofRoll, namespace, "")
	lives := make(map[string]string)
	t.mu.RLock()
	defer t.mu.RUnlock()
	for key, place := range t.others {
		if len(key) >= len(prefix) && key[:len(prefix)] == prefix && place.text != nothing {
			lives[key[len(prefix):]] = strings.TrimPrefix(place.state(), rollMark)
		}
	}
	return lives
}

// starts notes where the topic begins, and reports whether that is news.
func (t *userTable) starts(first int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	news := first > t.first
	t.first = max(t.first, first)
	return news
}

// size is the number of users.
func (t *userTable) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.users)
}
