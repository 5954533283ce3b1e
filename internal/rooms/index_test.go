package rooms

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type member struct {
	id  string
	set Set
}

func (m *member) RoomID() string { return m.id }
func (m *member) RoomSet() *Set  { return &m.set }

type log struct{ events []string }

func (l *log) RoomCreated(room string) { l.events = append(l.events, "+"+room) }
func (l *log) RoomDeleted(room string) { l.events = append(l.events, "-"+room) }

func observed(l *log) *Index[*member] {
	ix := New[*member]()
	ix.Observe(l)
	return ix
}

func connect(t testing.TB, ix *Index[*member], id string, rooms ...string) *member {
	t.Helper()
	m := &member{id: id}
	if !ix.Connect(m) || !ix.Add(m, rooms...) {
		t.Fatalf("member %s was refused", id)
	}
	return m
}

func selected(ix *Index[*member], rooms, except []string) []string {
	var sel Selector[*member]
	var ids []string
	sel.Select(ix, rooms, except, func(ms []*member) {
		for _, m := range ms {
			ids = append(ids, m.id)
		}
	})
	slices.Sort(ids)
	return ids
}

func TestSelect(t *testing.T) {
	ix := New[*member]()
	connect(t, ix, "a", "red", "big")
	connect(t, ix, "b", "red", "blue")
	connect(t, ix, "c", "blue")
	connect(t, ix, "d")
	pending := &member{id: "p"}
	ix.Add(pending, "red")

	tests := []struct {
		name          string
		rooms, except []string
		want          []string
	}{
		{"all", nil, nil, []string{"a", "b", "c", "d"}},
		{"one room without the pending member", []string{"red"}, nil, []string{"a", "b"}},
		{"union without duplicates", []string{"red", "blue", "red"}, nil, []string{"a", "b", "c"}},
		{"own room", []string{"d"}, nil, []string{"d"}},
		{"own room and room", []string{"b", "red"}, nil, []string{"a", "b"}},
		{"unknown room", []string{"none"}, nil, nil},
		{"except room", nil, []string{"blue"}, []string{"a", "d"}},
		{"except id", []string{"red"}, []string{"a"}, []string{"b"}},
		{"except unknown", []string{"red"}, []string{"zz"}, []string{"a", "b"}},
		{"room except itself", []string{"red"}, []string{"red"}, nil},
		{"pending own room", []string{"p"}, nil, nil},
	}
	for _, tt := range tests {
		if got := selected(ix, tt.rooms, tt.except); !slices.Equal(got, tt.want) {
			t.Errorf("%s: selected %v, want %v", tt.name, got, tt.want)
		}
	}
	ix.Connect(pending)
	if got := selected(ix, []string{"red"}, nil); !slices.Equal(got, []string{"a", "b", "p"}) {
		t.Errorf("after Connect: selected %v", got)
	}
}

func TestLargeExcept(t *testing.T) {
	ix := New[*member]()
	for i := range 40 {
		m := connect(t, ix, fmt.Sprint("m", i))
		if i%2 == 0 {
			ix.Add(m, "even")
		}
	}
	if got := selected(ix, nil, []string{"even"}); len(got) != 20 {
		t.Errorf("%d members outside the excluded room, want 20", len(got))
	}
}

func TestManyRoomsPerMember(t *testing.T) {
	ix := New[*member]()
	m := connect(t, ix, "m")
	other := connect(t, ix, "o")
	var names []string
	for i := range 3 * smallSet {
		names = append(names, fmt.Sprint("room", i))
		ix.Add(other, names[i])
		ix.Add(m, names[i], names[i])
	}
	if got := len(ix.Rooms(m)); got != len(names)+1 {
		t.Fatalf("%d rooms, want %d", got, len(names)+1)
	}
	for i, name := range names {
		ix.Remove(other, name)
		ix.Remove(m, name, name)
		if ix.In(m, name) || ix.Has(name) {
			t.Fatalf("room %s is still there", name)
		}
		if got := len(ix.Rooms(m)); got != len(names)-i {
			t.Fatalf("%d rooms after %d left", got, i+1)
		}
	}
}

func TestRemoveAll(t *testing.T) {
	ix := New[*member]()
	a := connect(t, ix, "a", "x", "y")
	b := connect(t, ix, "b", "x")
	if got, _ := ix.RemoveAll(a); !slices.Equal(got, []string{"a", "x", "y"}) {
		t.Errorf("rooms at removal: %v", got)
	}
	if got, _ := ix.RemoveAll(a); got != nil {
		t.Errorf("second removal returned %v", got)
	}
	if ix.Add(a, "z") || ix.Add(a, "a") || ix.Connect(a) {
		t.Error("a removed member came back")
	}
	if ix.Has("y") || ix.Has("z") || ix.Has("a") || !ix.Has("x") || !ix.Has("b") {
		t.Errorf("rooms left: %v", ix.AllRooms())
	}
	if m, ok := ix.Lookup("b"); !ok || m != b {
		t.Error("b was lost")
	}
	ix.RemoveAll(b)
	if n := ix.Len() + ix.RoomCount() + len(ix.AllRooms()); n != 0 {
		t.Errorf("%d entries left in an empty index", n)
	}
}

func TestDuplicateID(t *testing.T) {
	ix := New[*member]()
	connect(t, ix, "a")
	if ix.Connect(&member{id: "a"}) {
		t.Error("a second member took an id in use")
	}
}

func TestObserver(t *testing.T) {
	var l log
	ix := observed(&l)
	a := connect(t, ix, "a", "x")
	b := connect(t, ix, "b", "x", "a")
	ix.RemoveAll(a)
	ix.Remove(b, "a")
	ix.RemoveAll(b)
	ix.Flush()
	want := []string{"+a", "+x", "+b", "-a", "-b", "-x"}
	if !slices.Equal(l.events, want) {
		t.Errorf("events %v, want %v", l.events, want)
	}
}

// TestConcurrent mixes every operation and then proves that nothing is left and that room events alternated.
func TestConcurrent(t *testing.T) {
	var l log
	ix := observed(&l)
	rooms := []string{"r0", "r1", "r2", "r3", "r4"}
	var sel Selector[*member]
	var wg sync.WaitGroup
	members := make(chan *member, 1024)
	for g := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 300 {
				m := &member{id: fmt.Sprintf("g%d-%d", g, i)}
				ix.Connect(m)
				select {
				case members <- m:
				default:
				}
				select {
				case m = <-members:
				default:
				}
				ix.Add(m, rooms[rng.IntN(5)], rooms[rng.IntN(5)])
				ix.Remove(m, rooms[rng.IntN(5)])
				sel.Select(ix, rooms[:rng.IntN(4)], rooms[4:], func(ms []*member) {
					seen := map[*member]bool{}
					for _, x := range ms {
						if seen[x] {
							t.Error("selected twice")
						}
						seen[x] = true
					}
				})
				wg.Go(func() { ix.Rooms(m); ix.In(m, "r1"); ix.AllRooms() })
				ix.RemoveAll(m)
				ix.Flush()
				if ix.Add(m, "late") {
					t.Error("joined after removal")
				}
			}
		})
	}
	wg.Wait()
	close(members)
	for m := range members {
		ix.RemoveAll(m)
	}
	ix.Flush()
	if n := ix.RoomCount(); n != 0 || ix.Has("late") {
		t.Errorf("%d rooms left", n)
	}
	open := map[string]bool{}
	for _, e := range l.events {
		if created := e[0] == '+'; created == open[e[1:]] {
			t.Fatalf("event %s does not alternate", e)
		} else {
			open[e[1:]] = created
		}
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	ix := New[*member]()
	m := connect(b, ix, "m")
	connect(b, ix, "n", "room")
	b.ReportAllocs()
	for b.Loop() {
		ix.Add(m, "room")
		ix.Remove(m, "room")
	}
}

// BenchmarkSelectOne selects one member with memory that has served a large selection before.
func BenchmarkSelectOne(b *testing.B) {
	ix := New[*member]()
	for i := range maxPooled / 2 {
		connect(b, ix, fmt.Sprint(i))
	}
	var sel Selector[*member]
	sel.Select(ix, nil, nil, func([]*member) {})
	rooms := []string{"17"}
	b.ReportAllocs()
	for b.Loop() {
		sel.Select(ix, rooms, nil, func([]*member) {})
	}
}

func BenchmarkSelect(b *testing.B) {
	ix := New[*member]()
	for i := range 5000 {
		connect(b, ix, fmt.Sprint(i), "room", fmt.Sprint("half", i%2))
	}
	var sel Selector[*member]
	for _, bb := range []struct {
		name          string
		rooms, except []string
	}{
		{"all", nil, nil}, {"room", []string{"room"}, nil}, {"exceptOne", []string{"room"}, []string{"17"}},
		{"union", []string{"half0", "half1"}, nil}, {"exceptRoom", nil, []string{"half0"}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sel.Select(ix, bb.rooms, bb.except, func(ms []*member) {})
			}
		})
	}
}

// TestAddWithin lets many join more rooms than a member may be in: it is never in more, each call joins all or none, and what
// the calls tell adds up.
func TestAddWithin(t *testing.T) {
	ix := New[*member]()
	m := connect(t, ix, "m")
	var mu sync.Mutex
	var in Change
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				names := []string{fmt.Sprint("room-", (g+i)%15), "m", fmt.Sprint("room-", i%15)}
				added, result := ix.AddWithin(m, 10, names...)
				if rooms := ix.Rooms(m); len(rooms) > 11 {
					t.Errorf("in %d rooms", len(rooms))
				}
				if result == Full && added != (Change{}) {
					t.Errorf("refused, and joined %+v", added)
				}
				removed := ix.Remove(m, names[0])
				mu.Lock()
				in.Rooms += added.Rooms - removed.Rooms
				in.Bytes += added.Bytes - removed.Bytes
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	rooms, left := ix.RemoveAll(m)
	if in != left || left.Rooms != len(rooms)-1 || m.set.reserved != 0 {
		t.Errorf("%+v were joined, %+v left with %v, %d are reserved", in, left, rooms, m.set.reserved)
	}
	if _, result := ix.AddWithin(m, 10, "late"); result != Gone {
		t.Errorf("after the removal: %v", result)
	}
}
