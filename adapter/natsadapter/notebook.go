package natsadapter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// maxNotes bounds what a store remembers: about 150 bytes each.
	maxNotes = 1 << 20
	// maxNoteName bounds the name of a note, in bytes.
	maxNoteName = 4096
	// noteSkew is how much longer notes are kept: the clocks of the nodes may differ.
	noteSkew = time.Hour
)

// noteKind says what a note tells.
type noteKind string

const (
	revokedNote noteKind = "revoked" // the tokens of a user that were issued before At are void
	adminNote   noteKind = "admin"   // a page has logged in; the name is a hash of its session's id
)

// note is something that all nodes keep until a time. Times are in milliseconds since 1970.
type note struct {
	Kind  noteKind `json:"kind"`
	Name  []byte   `json:"name"`
	At    int64    `json:"at,omitempty"`
	Until int64    `json:"until"`
}

func (n *note) check() error {
	switch {
	case n.Kind != revokedNote && n.Kind != adminNote:
		return fmt.Errorf("unknown kind %q of a note", n.Kind)
	case len(n.Name) == 0 || len(n.Name) > maxNoteName:
		return fmt.Errorf("the name of a note must have 1 to %d bytes, not %d", maxNoteName, len(n.Name))
	case n.Kind == revokedNote && n.At <= 0:
		return errors.New("a time is missing")
	}
	return nil
}

// size is about what a note takes as JSON.
func (n *note) size() int { return 80 + len(n.Name)*4/3 }

// noteKey is what makes a note another one. One that comes again can be kept for longer.
type noteKey struct {
	kind noteKind
	name string
	at   int64
}

func (n *note) key() noteKey { return noteKey{n.Kind, string(n.Name), n.At} }

// errFull is a notebook that takes nothing more.
var errFull = fmt.Errorf("%d notes are kept already", maxNotes)

// notebook has the notes that a store knows of. It outlasts its connections and who keeps the users: every store has all notes, so that
// they are lost only when all nodes end. All methods may be called concurrently.
//
// The keeper gives notes their order. What a store hears from it, or has written itself, is known at once, but has a place only when the
// store has read it from the keeper: a store that connects hears late notes before it has read early ones.
type notebook struct {
	following chan struct{} // has a token while a call follows the keeper

	// Owned by who has the token: what was read of the notebook of the keeper, and which notes it has while it is read for the first time.
	keeper string
	read   uint64
	theirs map[noteKey]int64

	// Guarded by mu.
	mu     sync.Mutex
	list   []placedNote
	last   uint64 // place of the last note that was added
	until  map[noteKey]int64
	heard  map[noteKey]heardNote // without a place
	hears  uint64                // how many were heard
	pruned int                   // how many there were when those that are over were dropped
}

// placedNote is a note with its place in the notebook, counted from 1 on.
type placedNote struct {
	place uint64
	note
}

// heardNote is a note without a place. They are counted as they come.
type heardNote struct {
	number uint64
	note
}

func newNotebook() *notebook {
	return &notebook{following: make(chan struct{}, 1), until: make(map[noteKey]int64), heard: make(map[noteKey]heardNote)}
}

// add gives what has no place yet the next ones, and returns it.
func (b *notebook) add(now time.Time, notes []note) (fresh []note, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addLocked(now, notes)
}

func (b *notebook) addLocked(now time.Time, notes []note) (fresh []note, err error) {
	for _, n := range notes {
		key := n.key()
		if n.Until <= max(now.UnixMilli(), b.until[key]) {
			continue
		}
		if h, ok := b.heard[key]; ok && h.Until <= n.Until {
			delete(b.heard, key)
		}
		if b.pruneLocked(now); b.sizeLocked() >= maxNotes {
			return fresh, errFull
		}
		b.last++
		b.list = append(b.list, placedNote{b.last, n})
		b.until[key] = n.Until
		fresh = append(fresh, n)
	}
	return fresh, nil
}

// hear notes what is not known yet, without a place.
func (b *notebook) hear(now time.Time, notes []note) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range notes {
		key := n.key()
		if n.Until <= max(now.UnixMilli(), b.until[key], b.heard[key].Until) {
			continue
		}
		if b.pruneLocked(now); b.sizeLocked() >= maxNotes {
			return errFull
		}
		b.hears++
		b.heard[key] = heardNote{b.hears, n}
	}
	return nil
}

// place gives what was heard its places, in the order in which it was heard: this store is the keeper now.
func (b *notebook) place(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.heard) > 0 {
		_, _ = b.addLocked(now, b.heardLocked()) // each leaves room for itself
		clear(b.heard)
	}
}

// heardLocked returns what has no place, in the order in which it was heard.
func (b *notebook) heardLocked() []note {
	heard := slices.SortedFunc(maps.Values(b.heard), func(x, y heardNote) int { return cmp.Compare(x.number, y.number) })
	notes := make([]note, len(heard))
	for i, h := range heard {
		notes[i] = h.note
	}
	return notes
}

func (b *notebook) sizeLocked() int { return len(b.list) + len(b.heard) }

// pruneLocked drops, each time that twice as many have come, what is over.
func (b *notebook) pruneLocked(now time.Time) {
	if size := b.sizeLocked(); size < max(1024, 2*b.pruned) && size < maxNotes {
		return
	}
	ms := now.UnixMilli()
	b.list = slices.DeleteFunc(b.list, func(n placedNote) bool {
		over := n.Until <= ms
		if over && b.until[n.key()] <= ms {
			delete(b.until, n.key())
		}
		return over
	})
	maps.DeleteFunc(b.heard, func(_ noteKey, n heardNote) bool { return n.Until <= ms })
	b.pruned = b.sizeLocked()
}

// after returns notes behind a place, of some size together, and the place behind them.
func (b *notebook) after(place uint64, size int) (notes []note, next uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := sort.Search(len(b.list), func(i int) bool { return b.list[i].place > place })
	for ; i < len(b.list) && size > 0; i++ {
		n := &b.list[i]
		notes, place = append(notes, n.note), n.place
		size -= n.size()
	}
	return notes, place
}

// has reports whether a note is kept.
func (b *notebook) has(key noteKey, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.until[key], b.heard[key].Until) > now.UnixMilli()
}

// notesBeyond returns notes that another notebook has not, or not for as long.
func (b *notebook) notesBeyond(theirs map[noteKey]int64) (notes []note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.list {
		if theirs[n.key()] < n.Until {
			notes = append(notes, n.note)
		}
	}
	for _, n := range b.heardLocked() {
		if theirs[n.key()] < n.Until {
			notes = append(notes, n)
		}
	}
	return notes
}

// keepNotes takes notes as the keeper, and tells all other stores of them.
func (k *keeping) keepNotes(notes []note) error {
	k.notes.place(time.Now())
	fresh, err := k.notes.add(time.Now(), notes)
	k.mu.Lock()
	nc := k.nc
	k.mu.Unlock()
	if len(fresh) > 0 && nc != nil {
		if body, err := json.Marshal(userQuestion{Do: doNote, Notes: fresh}); err == nil {
			_ = nc.Publish(k.subjects.notes(), body) // who does not hear it reads it
		}
	}
	return err
}

// hearNotes takes what the keeper tells all.
func (k *keeping) hearNotes(m *nats.Msg) {
	if q, err := readUserQuestion(m.Data); err == nil && q.Do == doNote {
		_ = k.notes.hear(time.Now(), q.Notes) // the keeper has refused what is too much
	}
}

// write has the keeper take notes; then every store that can be reached has them, and this one.
func (k *keeping) write(ctx context.Context, notes ...note) error {
	for len(notes) > 0 {
		n, size := 0, 0
		for n < len(notes) && n < maxUserChanges && size < maxUserQuestion/2 {
			size += notes[n].size()
			n++
		}
		if _, err := k.ask(ctx, userQuestion{Do: doNote, Notes: notes[:n]}); err != nil {
			return err
		}
		if err := k.notes.hear(time.Now(), notes[:n]); err != nil {
			return err
		}
		notes = notes[n:]
	}
	return nil
}

// follow reads what the keeper has noted. One that is new gets what it does not know.
func (k *keeping) follow(ctx context.Context) error {
	b := k.notes
	select {
	case b.following <- struct{}{}:
		defer func() { <-b.following }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		a, err := k.ask(ctx, userQuestion{Do: doNotes, By: b.keeper, From: b.read})
		if err != nil {
			return err
		}
		if a.Keeper != b.keeper {
			b.keeper, b.theirs = a.Keeper, make(map[noteKey]int64)
		}
		b.read = a.Next
		for _, n := range a.Notes {
			if err := n.check(); err != nil {
				return fmt.Errorf("read the keeper's notes: %w", err)
			}
			if b.theirs != nil {
				b.theirs[n.key()] = max(b.theirs[n.key()], n.Until)
			}
		}
		if _, err := b.add(time.Now(), a.Notes); err != nil {
			return err
		}
		switch {
		case len(a.Notes) > 0:
		case b.theirs == nil:
			return nil
		default: // if that fails, it is read again from its beginning
			theirs := b.theirs
			b.keeper, b.read, b.theirs = "", 0, nil
			if err := k.write(ctx, b.notesBeyond(theirs)...); err != nil {
				return err
			}
			b.keeper, b.read = a.Keeper, a.Next // what was written comes next
		}
	}
}
