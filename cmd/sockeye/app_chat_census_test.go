package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCount(t *testing.T) {
	got := count([]present{
		{user: "bob", node: "n2", rooms: []name{"#a", "#b"}},
		{user: "ann", node: "n1", rooms: []name{"#a"}},
		{user: "bob", node: "n1", rooms: []name{"#a"}},
		{rooms: []name{"#b", "#c"}},
		{user: "eve"},
	})
	want := &census{
		sockets: 5, foreign: true,
		users: []person{{"ann", []string{"n1"}}, {"bob", []string{"n1", "n2"}}, {"eve", []string{}}},
		rooms: map[name]occupancy{
			"#a": {sockets: 3, users: []name{"ann", "bob"}},
			"#b": {sockets: 2, users: []name{"bob"}},
			"#c": {sockets: 1},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	list := got.list()
	if want := (listing{Users: want.users, Total: 3, Rooms: []roomSize{{"#a", 2}, {"#b", 1}}}); !reflect.DeepEqual(list, want) {
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

// TestDescribe takes sockets of other programs as they are.
func TestDescribe(t *testing.T) {
	const id = "abcdefghij0123456789"
	for _, tc := range []struct {
		what, data string
		rooms      []string
		want       present
	}{
		{"this program", `{"user":"ann","node":"n1"}`, []string{id, "ann", "#a", "#"}, present{user: "ann", node: "n1", rooms: []name{"#a"}}},
		{"before the login", `{"node":"n1"}`, []string{id, "#a", "#"}, present{node: "n1", rooms: []name{"#a"}}},
		{"the plain Node.js program", `{}`, []string{id, "bob"}, present{user: "bob"}},
		{"other data", `{"user":{"id":1}}`, []string{id, "7"}, present{user: "7"}},
		{"no data", ``, []string{id}, present{}},
	} {
		if got := describe(id, tc.rooms, json.RawMessage(tc.data)); !reflect.DeepEqual(got, tc.want) {
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
