package users

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
)

// events tells the application who has come and gone.
type events struct {
	news chan struct{} // capacity 1; static

	mu sync.Mutex
	// Guarded by mu.
	queue           []event
	online, offline []*func(string)
}

type event struct {
	user   string
	online bool
}

func (e *events) init() { e.news = make(chan struct{}, 1) }

func (e *events) add(user string, online bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.online)+len(e.offline) > 0 {
		e.queue = append(e.queue, event{user, online})
		signal(e.news)
	}
}

// take returns what happened and whom to tell.
func (e *events) take() (queue []event, online, offline []*func(string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	queue, e.queue = e.queue, nil
	return queue, e.online, e.offline
}

// OnOnline registers a function that is told when a user gets its first socket in the cluster, having been offline before. Of all
// nodes the one that the socket is on tells it. What OnOnline and OnOffline have registered is called one after the other, in the
// order of what happened to each user. The returned function removes it.
//
// Exactly one node tells each of both, unless the store has lost everything: then the next change of a user may be told twice
// or not at all.
func (d *Directory) OnOnline(f func(user string)) (remove func()) {
	return d.events.on(&d.events.online, f)
}

// OnOffline registers a function that is told when a user has had no socket in the cluster for Options.Grace. The node that its last
// socket was on tells it; if that node has gone, the one that sweeps what it has left. The returned function removes it.
func (d *Directory) OnOffline(f func(user string)) (remove func()) {
	return d.events.on(&d.events.offline, f)
}

func (e *events) on(list *[]*func(string), f func(string)) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	*list = append(slices.Clip(*list), &f)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		*list = slices.DeleteFunc(slices.Clone(*list), func(other *func(string)) bool { return other == &f })
	}
}

// dispatch calls the functions.
func (d *Directory) dispatch() {
	for {
		queue, online, offline := d.events.take()
		for _, e := range queue {
			list := offline
			if e.online {
				list = online
			}
			for _, f := range list {
				d.call(*f, e.user)
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-d.events.news:
		case <-d.ctx.Done():
			return
		}
	}
}

func (d *Directory) call(f func(string), user string) {
	defer func() {
		if r := recover(); r != nil {
			d.log.Error("panic in a callback", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	f(user)
}
