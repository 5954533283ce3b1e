package inflow

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// text is an item.
type text string

func (t text) Size() int { return len(t) }

// TestFeed checks order, the bound in bytes, and that a closed feed begins nothing.
func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dropped atomic.Uint64
		release := make(chan struct{})
		var got []string
		f := NewFeed(420, &dropped, func(t text) {
			<-release
			got = append(got, string(t[:1]))
		})
		for i := range 20 {
			f.Push(text(fmt.Sprintf("%c%51d", 'a'+i, 0))) // with its place 84 bytes
		}
		synctest.Wait()
		if n := dropped.Load(); n != 15 {
			t.Errorf("%d messages were dropped", n)
		}
		close(release)
		synctest.Wait()
		if s := strings.Join(got, ""); s != "abcde" {
			t.Errorf("got %s", s)
		}
		f.Push(text(make([]byte, 1000))) // larger than the limit, but alone
		synctest.Wait()
		if len(got) != 6 {
			t.Error("a message larger than the limit never passes")
		}
		release = make(chan struct{})
		f.Push("x")
		f.Push("y")
		synctest.Wait()
		f.Close()
		close(release)
		synctest.Wait()
		f.Push("z")
		synctest.Wait()
		if got[len(got)-1] != "x" {
			t.Errorf("a closed feed handed %q over", got[len(got)-1])
		}
	})
}
