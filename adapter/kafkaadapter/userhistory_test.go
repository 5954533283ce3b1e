package kafkaadapter

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
)

// userHistory is a partition with writers who do not always know its end.
type userHistory struct {
	t      *testing.T
	random *rand.Rand
	log    []*kgo.Record
	now    *userTable
	before []map[string]string // states after so many records
	stamp  time.Time           // of the next record
}

func newUserHistory(t *testing.T) *userHistory {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return &userHistory{t: t, random: rand.New(rand.NewPCG(seed, 0)), now: newUserTable(0), before: []map[string]string{{}}}
}

// change has one of three lives change one of ten users, as it knew them some records ago.
func (h *userHistory) change() {
	key := userKey(ofUser, "/", fmt.Sprint("u", h.random.IntN(10)))
	base, state := h.known(key, max(len(h.log)-h.random.IntN(6), 0))
	s := userStep{do: userVerb(1 + h.random.IntN(3)), life: fmt.Sprint("life", h.random.IntN(3))}
	s.state = s.after(state, time.Time{})
	h.append(userRecord{key: key, base: base, userStep: s})
}

// known is the place of a key after so many records.
func (h *userHistory) known(key string, n int) (base int64, state string) {
	base = -1
	for i, r := range h.log[:n] {
		if string(r.Key) == key {
			base = int64(i)
		}
	}
	return base, h.before[n][key]
}

func (h *userHistory) append(r userRecord) {
	h.t.Helper()
	record := r.encode("t", 0)
	record.Offset, record.Timestamp = int64(len(h.log)), h.stamp
	h.log = append(h.log, record)
	if _, err := h.now.take(record, 1); err != nil {
		h.t.Fatal(err)
	}
	h.before = append(h.before, states(h.now))
}

// affirm says of each key in doubt what is so, as nodes do.
func (h *userHistory) affirm() {
	for key := range maps.Clone(h.now.doubted) {
		h.append(h.now.affirm(key))
	}
}

// compacted reads what is left when compaction has come as far as an offset.
func (h *userHistory) compacted(dirty int64) {
	h.t.Helper()
	last := make(map[string]int64)
	for _, r := range h.log {
		last[string(r.Key)] = r.Offset
	}
	table := newUserTable(0)
	for _, r := range h.log {
		if dirty > 0 && r.Offset >= dirty || last[string(r.Key)] == r.Offset {
			if _, err := table.take(r, 1); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	if got, want := states(table), states(h.now); !maps.Equal(got, want) {
		h.t.Errorf("compacted up to %d: %v, want %v", dirty, got, want)
	}
}

// TestUserTableClaim: a claim that came too late is not the one that compaction leaves.
func TestUserTableClaim(t *testing.T) {
	h := newUserHistory(t)
	key := userKey(ofClaim, "/", "life")
	at := time.Now()
	claim := func(by string, base int64, after time.Duration) string {
		s := userStep{do: stepClaim, life: by, ttl: time.Minute}
		h.stamp = at.Add(after)
		s.state = s.after("", h.stamp)
		h.append(userRecord{key: key, base: base, userStep: s})
		c, _ := parseClaim(h.now.lookup(key).state())
		return c.by
	}
	if got := claim("x", -1, 0); got != "x" {
		t.Errorf("%s has it", got)
	}
	if got := claim("y", -1, time.Second); got != "x" {
		t.Errorf("%s has it", got)
	}
	h.affirm()
	if got := claim("x", 2, 2*time.Second); got != "x" || len(h.now.doubted) != 0 {
		t.Errorf("%s has it, in doubt: %v", got, h.now.doubted)
	}
	claim("y", 3, 3*time.Second)
	h.affirm()
	h.compacted(0)
	if got := claim("y", 5, 2*time.Minute); got != "y" {
		t.Errorf("%s has it", got)
	}
}

// TestUserTableTidy: what is nothing is forgotten after some time, what nobody has affirmed is affirmed, and claims that are long over are
// removed.
func TestUserTableTidy(t *testing.T) {
	h := newUserHistory(t)
	change := func(user string, op adapter.UserOp, base int64) {
		key := userKey(ofUser, "/", user)
		s := userStep{do: userVerb(op), life: lifeA}
		s.state = s.after(h.now.lookup(key).state(), h.stamp)
		h.append(userRecord{key: key, base: base, userStep: s})
	}
	h.stamp = time.Now()
	change("gone", adapter.UserHold, -1)
	change("gone", adapter.UserForget, 0)
	change("stays", adapter.UserHold, -1)
	s := userStep{do: userVerb(adapter.UserHold), life: lifeB, state: firstMark + lifeB} // who did not know
	h.append(userRecord{key: userKey(ofUser, "/", "stays"), base: -1, userStep: s})
	c := userStep{do: stepClaim, life: "by", ttl: time.Minute}
	c.state = c.after("", h.stamp)
	h.append(userRecord{key: userKey(ofClaim, "/", lifeA), base: -1, userStep: c})
	if got := h.now.tidy(time.Now().Add(affirmAfter / 2)); got != nil || h.now.size() != 2 {
		t.Errorf("too early: %+v, %d users", got, h.now.size())
	}
	if got := h.now.tidy(time.Now().Add(2 * emptiedFor)); len(got) != 1 { // the broker's clock has not moved: the claim holds
		t.Errorf("by this node's clock: %+v", got)
	}
	h.now.newest = h.stamp.Add(2 * emptiedFor)
	got := h.now.tidy(time.Now().Add(2 * emptiedFor))
	if len(got) != 2 || h.now.size() != 1 {
		t.Fatalf("%+v, %d users", got, h.now.size())
	}
	for _, r := range got {
		h.append(r)
	}
	if left := states(h.now); len(left) != 1 || left[userKey(ofUser, "/", "stays")] != "+"+lifeA+",-"+lifeB || len(h.now.doubted) != 0 {
		t.Errorf("%q, in doubt %v", left, h.now.doubted)
	}
	h.compacted(0)
}

// states are those that are something.
func states(t *userTable) map[string]string {
	all := make(map[string]string)
	for _, places := range []map[string]userPlace{t.users, t.others} {
		for key, place := range places {
			if place.state() != "" {
				all[key] = place.state()
			}
		}
	}
	return all
}

func FuzzUserRecord(f *testing.F) {
	seed := userRecord{key: userKey(ofUser, "/", "u"), base: 3, writer: 1, number: 2, userStep: userStep{do: 1, life: lifeA, state: "+" + lifeA}}
	r := seed.encode("t", 0)
	f.Add(r.Key, r.Headers[0].Value, r.Value)
	f.Add([]byte(userKey(ofClaim, "/n", "life")), []byte{1, byte(stepClaim), 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 5}, []byte("12 by"))
	f.Fuzz(func(t *testing.T, key, header, value []byte) {
		record := &kgo.Record{Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: changeHeader, Value: header}}}
		table := newUserTable(0)
		w, err := table.take(record, 1)
		if err != nil {
			return
		}
		again, err := decodeUserRecord(w.record.encode("t", 0))
		if err != nil || again != w.record {
			t.Fatalf("%+v becomes %+v, error %v", w.record, again, err)
		}
		parseUser(w.now)
		table.tidy(time.Now().Add(time.Hour))
		if _, err := table.take(record, 1); err != nil {
			t.Fatal(err)
		}
	})
}
