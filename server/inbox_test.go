package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// blocked makes a node whose event "wait" blocks in ten namespaces until the returned function is called.
func blocked(t *testing.T, opts *server.Options) (n *node, namespaces []string, release, stop func()) {
	t.Helper()
	n, stop = startInMemory(t, opts)
	open := make(chan struct{})
	for i := range 10 {
		name := fmt.Sprintf("/%d", i)
		namespaces = append(namespaces, name)
		n.Of(name).Handle("wait", server.Func(func(context.Context, *server.Socket, server.Args) error {
			<-open
			return nil
		}))
	}
	return n, namespaces, func() { close(open) }, stop
}

// TestInboxLimitOfClient spreads events over the namespaces of one client: all of them together are bounded.
func TestInboxLimitOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, size = 20_000, 1000
		n, namespaces, release, stop := blocked(t, &server.Options{InboxLimit: limit})
		p := n.websocket(t)
		for _, name := range namespaces {
			p.join(name, "")
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range 10 {
				for _, name := range namespaces {
					p.send("2" + name + `,["wait","` + strings.Repeat("x", size) + `"]`)
				}
			}
		}()
		synctest.Wait()
		st := n.Stats()
		if got := st.Engine.InputBytes; got < limit/2 || got > limit+2*size || st.InboxPauses == 0 {
			t.Errorf("%d bytes wait for their handlers, %d pauses", got, st.InboxPauses)
		}
		release()
		<-sent
		synctest.Wait()
		if st := n.Stats(); st.Engine.InputBytes != 0 || st.Workers != 0 || st.Engine.Sessions != 1 {
			t.Errorf("at the end: %+v", st)
		}
		stop()
	})
}

// TestInputShare lets the events of one client fill the server's budget. Another client then pauses early, with nothing
// lost, and one that hoards attachments beyond its share is cut off.
func TestInputShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, namespaces, release, stop := blocked(t, &server.Options{
			Engine: engine.Options{MaxHTTPBufferSize: 100_000, InputTotal: 800_000}, InboxLimit: 300_000,
		})
		greedy, modest, hoarder := n.websocket(t), n.websocket(t), n.websocket(t)
		for _, p := range []*peer{greedy, modest, hoarder} {
			p.join(namespaces[0], "")
		}
		var writing sync.WaitGroup
		fill := func(p *peer, size, times int) {
			writing.Go(func() {
				for range times {
					p.send("2" + namespaces[0] + `,["wait","` + strings.Repeat("x", size) + `"]`)
				}
			})
			synctest.Wait()
		}
		fill(greedy, 1, 1) // the worker holds this one
		fill(greedy, 9900, 30)
		fill(modest, 1, 1)
		fill(modest, 5000, 100)
		if st := n.Stats(); st.Engine.InputBytes > 400_000 || st.InboxPauses != 2 || st.Engine.Sessions != 3 {
			t.Errorf("%d bytes are held: %+v", st.Engine.InputBytes, st)
		}
		hoarder.send(`510-` + namespaces[0] + `,["x"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, 10) + `]`)
		for range 9 {
			hoarder.write(2, strings.Repeat("x", 70_000))
		}
		hoarder.expectClosed()
		synctest.Wait()
		if st := n.Stats(); st.Engine.Limits["input_total"] != 1 || st.Engine.Sessions != 2 {
			t.Errorf("%d sessions: %+v", st.Engine.Sessions, st.Engine.Limits)
		}
		release()
		writing.Wait()
		synctest.Wait()
		if st := n.Stats(); st.Engine.InputBytes != 0 || st.Engine.Sessions != 2 || st.Workers != 0 {
			t.Errorf("at the end: %+v", st)
		}
		stop()
	})
}
