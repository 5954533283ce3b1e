package brokerstate

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/adapter"
)

// TestHook blocks in the hook: the state goes on changing, and the hook hears of the changes in order afterwards.
func TestHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var heard []string
		s := New(Options{OnChange: func(state adapter.BrokerState, reason error) {
			<-release
			heard = append(heard, fmt.Sprint(state, " ", reason))
		}, Logger: slog.New(slog.DiscardHandler)})
		m := new(int)
		s.Own(m)
		s.Set(m, adapter.BrokerUp, nil)
		s.Set(m, adapter.BrokerDown, io.EOF)
		s.Set(m, adapter.BrokerDown, io.ErrUnexpectedEOF) // no change
		s.Set(new(int), adapter.BrokerUp, nil)
		s.Set(m, adapter.BrokerUp, nil)
		if state, reason := s.Current(); state != adapter.BrokerUp || reason != nil || s.changes != 3 {
			t.Errorf("%v %v after %d changes", state, reason, s.changes)
		}
		close(release)
		synctest.Wait()
		if got := strings.Join(heard, ", "); got != "up <nil>, down EOF, up <nil>" {
			t.Errorf("the hook heard %s", got)
		}
		release = make(chan struct{})
		for range 100 {
			s.Set(m, adapter.BrokerDown, io.EOF)
			s.Set(m, adapter.BrokerUp, nil)
		}
		heard = nil
		close(release)
		synctest.Wait()
		if len(heard) > 66 || heard[len(heard)-1] != "up <nil>" {
			t.Errorf("the hook heard of %d changes, the last %s", len(heard), heard[len(heard)-1])
		}
	})
}
