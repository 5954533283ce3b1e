package adapter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/sockeye-io/sockeye/server/parser"
)

// recentWith is a broadcast for some rooms that has not been opened.
func recentWith(at time.Time, sel Selection, p parser.Payload) *recentEvent {
	return &recentEvent{at: at, bytes: recentCost + keptBytes(p) + listCost(sel.Rooms) + listCost(sel.Except),
		open: func() *openedEvent { return newOpenedEvent(sel, p) }}
}

// plainEvent is what a test knows of a broadcast; none if nobody gets it.
type plainEvent struct {
	sel     Selection
	payload parser.Payload
	none    bool
}

// plainEvents are recentEvents that look at everything.
type plainEvents struct {
	first uint64
	list  []plainEvent
}

func (l *plainEvents) missed(after uint64, rooms []string, limits HistoryLimits) (events []parser.Payload, err error) {
	if after+1 < l.first || after >= l.first+uint64(len(l.list)) {
		return nil, ErrHistoryGap
	}
	bytes := 0
	for _, e := range l.list[after+1-l.first:] {
		if !e.none && e.sel.Selects(rooms) {
			events = append(events, e.payload)
			bytes += keptBytes(e.payload)
		}
	}
	if bytes > limits.Bytes || len(events) > limits.Packets {
		return nil, ErrHistoryLimit
	}
	return events, nil
}

// someRooms returns up to n rooms of a few.
func someRooms(random *rand.Rand, n int) (rooms []string) {
	for range random.IntN(n + 1) {
		rooms = append(rooms, fmt.Sprint("room", random.IntN(30)))
	}
	return rooms
}

// TestRecentEventsMatch adds, forgets and clears at random, and asks for what was missed: it is what a list says that is looked at from the
// beginning to the end.
func TestRecentEventsMatch(t *testing.T) {
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 2))
		r, plain, now := newRecentEvents(200_000, time.Minute), &plainEvents{first: 1}, time.Unix(0, 0)
		for n := range 1000 {
			switch kind := random.IntN(100); {
			case kind == 0:
				r.clearLocked("")
				plain.first += uint64(len(plain.list)) + 1
				plain.list = nil
			case kind < 70:
				e := plainEvent{Selection{someRooms(random, 20), someRooms(random, 2)}, parser.Payload{JSON: []byte(fmt.Sprintf(`["n",%d]`, n))}, kind == 1}
				now = now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
				added := recentWith(now, e.sel, e.payload)
				if e.none {
					added.open = func() *openedEvent { return nil }
				}
				r.mu.Lock()
				r.addLocked(added)
				r.mu.Unlock()
				r.tidy()
				plain.list = append(plain.list, e)
			default:
				plain.checkOne(t, random, r, seed)
			}
			if n := int(r.firstNumber() - plain.first); n > 0 { // by age or size; which those are is looked at below
				plain.list, plain.first = plain.list[n:], plain.first+uint64(n)
			}
		}
		checkRecent(t, r)
	}
}

// checkOne has a socket ask both.
func (l *plainEvents) checkOne(t *testing.T, random *rand.Rand, r *recentEvents, seed uint64) {
	t.Helper()
	after := l.first + uint64(random.IntN(len(l.list)+4))
	after -= min(after, 2)
	rooms := someRooms(random, 5)
	limits := HistoryLimits{Packets: random.IntN(60), Bytes: random.IntN(20_000)}
	got, end, _, err := r.missed(after, rooms, limits)
	if n := int(r.firstNumber() - l.first); n > 0 { // what was opened takes more than before
		l.list, l.first = l.list[n:], l.first+uint64(n)
	}
	want, wanted := l.missed(after, rooms, limits)
	if !errors.Is(err, wanted) || !reflect.DeepEqual(got, want) || err == nil && end != l.first+uint64(len(l.list))-1 {
		t.Fatalf("seed %d: after %d of %d.. came %s up to %d, %v, want %s, %v", seed, after, l.first, got, end, err, want, wanted)
	}
}

// checkRecent checks what is remembered, and what the index knows of it.
func checkRecent(t *testing.T, r *recentEvents) {
	t.Helper()
	_, _, _, _ = r.missed(r.nextLocked()-1, nil, HistoryLimits{}) // brings the index up to date
	sum := 0
	for _, e := range r.list {
		sum += e.bytes
		if old := r.list[len(r.list)-1].at.Sub(e.at); old > r.retain {
			t.Errorf("one is remembered that is %v old", old)
		}
	}
	if sum != r.bytes || sum > r.limit && len(r.list) > 1 {
		t.Errorf("they take %d bytes, counted as %d, of %d", sum, r.bytes, r.limit)
	}
	x, found := &r.index, len(r.index.all)
	if x.first != r.first || !slices.Equal(x.list, r.list) {
		t.Errorf("the index knows %d from %d on, of %d from %d on", len(x.list), x.first, len(r.list), r.first)
	}
	for room, list := range x.rooms {
		found += len(list)
		if !slices.IsSorted(list) || len(list) == 0 || list[0] < x.first {
			t.Errorf("room %s has %v, from %d on", room, list, x.first)
		}
	}
	for _, e := range x.list {
		if e.event != nil {
			found -= max(1, len(e.event.rooms))
		}
	}
	if found != 0 {
		t.Errorf("the index has %d entries too many", found)
	}
}

// TestRecentEventsStorm has many ask while broadcasts are added, forgotten and cleared: each gets consecutive numbers from the one on that it
// has asked behind, or a gap.
func TestRecentEventsStorm(t *testing.T) {
	r := newRecentEvents(100_000, time.Minute)
	add := func(n uint64) {
		r.mu.Lock()
		if n%1000 == 0 {
			r.clearLocked("")
		}
		number := r.nextLocked()
		r.addLocked(recentWith(time.Now(), Selection{}, parser.Payload{JSON: fmt.Appendf(nil, "%d", number)}))
		r.mu.Unlock()
		r.tidy()
	}
	add(1)
	var storm sync.WaitGroup
	for range 4 {
		storm.Go(func() {
			for range 200 {
				first := r.firstNumber()
				got, end, last, err := r.missed(first, nil, HistoryLimits{Packets: 1 << 20, Bytes: 1 << 30})
				if errors.Is(err, ErrHistoryGap) {
					continue
				}
				if err != nil || last == nil || uint64(len(got)) != end-first {
					t.Errorf("%d events from %d to %d: %v", len(got), first, end, err)
					return
				}
				for i, p := range got {
					if want := fmt.Sprint(first + 1 + uint64(i)); string(p.JSON) != want {
						t.Errorf("event %d is %s, want %s", i, p.JSON, want)
					}
				}
			}
		})
	}
	for n := range uint64(3000) {
		add(n + 2)
	}
	storm.Wait()
	checkRecent(t, r)
}

// TestRecentEventsMemory: what is remembered takes no more than what it counts as, also where each broadcast is for rooms of its own, and
// was found by them.
func TestRecentEventsMemory(t *testing.T) {
	for _, rooms := range []int{0, 1, 16, 17} {
		const limit = 2 << 20
		r := newRecentEvents(limit, time.Hour)
		before := heap()
		for n := 0; r.first < 200; n++ {
			sel := Selection{}
			for i := range rooms {
				sel.Rooms = append(sel.Rooms, fmt.Sprintf("room-%d-%d", n, i))
			}
			m := &Message{Kind: KindBroadcast, Selection: sel, Offset: numberOffset(n), Packet: &parser.Packet{
				Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n",1]`)}}}
			r.mu.Lock()
			r.addLocked(recentOf(m))
			r.mu.Unlock()
			if n%100 == 0 {
				_, _, _, _ = r.missed(r.nextLocked()-1, nil, HistoryLimits{})
			}
		}
		checkRecent(t, r)
		if used := heap() - before; used > limit*5/4 {
			t.Errorf("%d rooms: %d broadcasts take %d bytes, counted as %d", rooms, len(r.list), used, r.bytes)
		}
		runtime.KeepAlive(r)
	}
}

// heap returns how many bytes are in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestRecentNames: names of rooms are parts of what has come from the broker. What is remembered does not keep all of that.
func TestRecentNames(t *testing.T) {
	body := strings.Repeat("x", 100)
	m := &Message{Kind: KindBroadcast, Offset: "1", Selection: Selection{Rooms: []string{body[:4]}, Except: []string{body[:5]}},
		Packet: &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}}
	e := recentOf(m).open()
	for _, name := range slices.Concat(e.rooms, e.selection.Rooms, e.selection.Except) {
		if unsafe.StringData(name) == unsafe.StringData(body) {
			t.Errorf("%s is still a part of what has come", name)
		}
	}
}

// BenchmarkMissed is a client that comes back where 10,000 broadcasts are remembered for 10,000 rooms, of which it is in three.
func BenchmarkMissed(b *testing.B) {
	const count = 10_000
	r := newRecentEvents(64<<20, time.Hour)
	for n := range count {
		r.addLocked(recentWith(time.Now(), Selection{Rooms: []string{fmt.Sprint("room", n)}}, parser.Payload{JSON: []byte(`["news",{"text":"hello"}]`)}))
	}
	limits := HistoryLimits{Packets: 1000, Bytes: 1 << 20}
	_, _, _, _ = r.missed(1, nil, limits)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		rooms := []string{"lobby", fmt.Sprint("room", n%count), fmt.Sprint("room", (n+count/2)%count)}
		if events, _, _, err := r.missed(1, rooms, limits); err != nil || len(events) == 0 {
			b.Fatal(events, err)
		}
	}
}
