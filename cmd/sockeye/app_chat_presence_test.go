package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCount(t *testing.T) {
	got := count([]present{
		{user: "bob", rooms: []name{"#a", "#b"}},
		{user: "ann", rooms: []name{"#a"}},
		{user: "bob", rooms: []name{"#a"}},
		{rooms: []name{"#b", "#c"}},
	})
	want := &census{sockets: 4, users: []name{"ann", "bob"}, rooms: map[name]occupancy{
		"#a": {sockets: 3, users: []name{"ann", "bob"}},
		"#b": {sockets: 2, users: []name{"bob"}},
		"#c": {sockets: 1},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	list := got.list()
	if want := (listing{Users: []name{"ann", "bob"}, Total: 2, Rooms: []roomSize{{"#a", 2}, {"#b", 1}}}); !reflect.DeepEqual(list, want) {
		t.Errorf("listed %+v, want %+v", list, want)
	}
}

func TestListIsCut(t *testing.T) {
	var sockets []present
	for i := range 3 * maxListed {
		sockets = append(sockets, present{user: name(strconv.Itoa(i)), rooms: []name{name(fmt.Sprintf("#%d", i)), "#all"}})
	}
	list := count(sockets).list()
	if len(list.Users) != maxListed || list.Total != 3*maxListed || len(list.Rooms) != maxListed {
		t.Errorf("%d users of %d, %d rooms", len(list.Users), list.Total, len(list.Rooms))
	}
	if list.Rooms[0] != (roomSize{"#all", 3 * maxListed}) {
		t.Errorf("the first room is %+v, want the largest", list.Rooms[0])
	}
}

func set(names ...name) map[name]struct{} {
	s := make(map[name]struct{})
	for _, n := range names {
		s[n] = struct{}{}
	}
	return s
}

func TestChanges(t *testing.T) {
	var many []name
	for i := range maxChanges + 1 {
		many = append(many, name(strconv.Itoa(i)))
	}
	sockets := []present{{user: "ann", rooms: []name{"#a"}}, {user: "bob"}}
	for _, tc := range []struct {
		what         string
		complete     bool
		users, rooms map[name]struct{}
		want         change
	}{
		{"come and gone", true, set("bob", "eve"), set("#a", "#b"),
			change{Online: []name{"bob"}, Offline: []name{"eve"}, Rooms: []roomSize{{"#a", 1}, {"#b", 0}}, Total: 2}},
		{"a node did not answer", false, set("bob", "eve"), set("#a", "#b"),
			change{Online: []name{"bob"}, Rooms: []roomSize{{"#a", 1}}, Total: 2}},
		{"too many", true, set(many...), nil, change{Total: 2, Stale: true, Within: 3000}},
	} {
		now := count(sockets)
		now.complete = tc.complete
		if got := changes(now, tc.users, tc.rooms, 3*time.Second); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %+v, want %+v", tc.what, got, tc.want)
		}
	}
}

// TestDirectoryAsksOnce has a thousand callers at once.
func TestDirectoryAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		d := &directory{ask: func(context.Context) (*census, error) {
			asked.Add(1)
			time.Sleep(time.Second)
			return count(nil), nil
		}}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if c, err := d.recent(t.Context()); c == nil || err != nil {
					t.Errorf("got %v, %v", c, err)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("the cluster was asked %d times", n)
		}
		// It took a second, so it is good for twenty; one has passed.
		time.Sleep(19 * time.Second)
		if _, _ = d.recent(t.Context()); asked.Load() != 1 {
			t.Error("the cluster was asked again too early")
		}
		time.Sleep(time.Millisecond)
		if _, _ = d.recent(t.Context()); asked.Load() != 2 {
			t.Error("the cluster was not asked again")
		}
	})
}

func TestDirectorySince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked int
		d := &directory{ask: func(context.Context) (*census, error) {
			asked++
			time.Sleep(time.Second)
			return count(nil), nil
		}}
		older := make(chan *census)
		go func() {
			c, _ := d.since(t.Context(), time.Now())
			older <- c
		}()
		time.Sleep(time.Millisecond)
		// The question on its way was asked before this moment, so its answer will not do.
		start := time.Now()
		c, err := d.since(t.Context(), start)
		if err != nil || c.at.Before(start) || asked != 2 {
			t.Errorf("got a census of %v before, %v, after %d questions", start.Sub(c.at), err, asked)
		}
		if c := <-older; !c.at.Before(start) {
			t.Error("the first caller did not get the first answer")
		}
	})
}

// TestDirectoryWaiterOfFailure has the asker go away: who waits with it asks again.
func TestDirectoryWaiterOfFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		d := &directory{ask: func(ctx context.Context) (*census, error) {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(time.Second):
				return count(nil), nil
			}
		}}
		ctx, cancel := context.WithCancelCause(t.Context())
		first := make(chan error)
		go func() {
			_, err := d.recent(ctx)
			first <- err
		}()
		synctest.Wait()
		second := make(chan error)
		go func() {
			_, err := d.recent(t.Context())
			second <- err
		}()
		synctest.Wait()
		cancel(gone)
		if err := <-first; !errors.Is(err, gone) {
			t.Errorf("the asker got %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the other got %v", err)
		}
	})
}

// TestAnnouncerGathers logs in 10,000 users within 20 seconds: the number of announcements must not follow theirs.
func TestAnnouncerGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sockets []present
		var news []change
		var asked int
		d := &directory{ask: func(context.Context) (*census, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			c := count(slices.Clone(sockets))
			c.complete = true
			return c, nil
		}}
		a := &announcer{directory: d, emit: func(c change) {
			mu.Lock()
			defer mu.Unlock()
			news = append(news, c)
		}}
		const users = 10_000
		for i := range users {
			user := name(strconv.Itoa(i))
			mu.Lock()
			sockets = append(sockets, present{user: user})
			mu.Unlock()
			a.note(user)
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(news) > 20 || asked > 20 {
			t.Errorf("%d announcements and %d questions for %d users", len(news), asked, users)
		}
		if last := news[len(news)-1]; last.Total != users {
			t.Errorf("the last announcement is %+v", last)
		}
	})
}

// TestAnnouncerTellsTheState has a user leave and return between two announcements.
func TestAnnouncerTellsTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		online := []present{{user: "ann"}}
		d := &directory{ask: func(context.Context) (*census, error) {
			c := count(online)
			c.complete = true
			return c, nil
		}}
		var news []change
		a := &announcer{directory: d, emit: func(c change) { news = append(news, c) }}
		a.note("ann")
		a.note("ann", "#a")
		a.note("bob")
		time.Sleep(time.Second)
		a.note("")
		time.Sleep(time.Second)
		want := []change{{Online: []name{"ann"}, Offline: []name{"bob"}, Rooms: []roomSize{{"#a", 0}}, Total: 1}}
		if !reflect.DeepEqual(news, want) {
			t.Errorf("got %+v, want %+v", news, want)
		}
	})
}
