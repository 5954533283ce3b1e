package server_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

var mixed = flag.Duration("mixed", 3*time.Second, "how long TestEverythingAtOnce goes on")

// TestEverythingAtOnce lets 64 goroutines call every method on the same sockets and rooms while clients come, talk and
// go. The race detector, the leak checks of start and the deadline are the judges.
func TestEverythingAtOnce(t *testing.T) {
	n := start(t, &server.Options{AckTimeout: 20 * time.Millisecond, CleanupEmptyChildNamespaces: true})
	main := n.Of("/")
	main.Handle("echo", server.FuncAck(func(ctx context.Context, s *server.Socket, a server.Args) (server.Args, error) {
		return a, s.To("room1").Emit("said", a)
	}))
	main.Handle("boom", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error { panic("boom") }))
	main.OnConnection(func(ctx context.Context, s *server.Socket) { _ = s.Join(ctx, "room0") })
	main.OnDisconnecting(func(_ context.Context, s *server.Socket, reason server.Reason) {
		_ = s.To(s.Rooms()...).Emit("left", reason)
	})
	main.Use(func(ctx context.Context, s *server.Socket) error { return s.Data().Set("seen", true) })

	stop := make(chan struct{})
	var wg sync.WaitGroup
	run := func(f func(rng *rand.Rand)) {
		seed := rand.Uint64()
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for {
				select {
				case <-stop:
					return
				default:
					f(rng)
				}
			}
		})
	}
	for range 6 {
		run(func(rng *rand.Rand) { clientLife(t, n, rng) })
	}
	for range 58 {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		run(func(rng *rand.Rand) {
			mixedCalls(t, n, rng)
			<-tick.C // leaves the clients some of the processors
		})
	}
	timer := time.NewTimer(*mixed)
	<-timer.C
	close(stop)
	wg.Wait()
	eventually(t, "every socket has left its rooms", func() bool { s := n.Stats(); return s.Sockets+s.Rooms == 0 })
	if got := n.Stats(); got.Panics == 0 || got.PendingAcks != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}

// clientLife connects, talks for a while and leaves in one of several ways.
func clientLife(t *testing.T, n *node, rng *rand.Rand) {
	p := n.websocket(t)
	defer p.close()
	p.send("0")
	p.send(`0/none,`)
	<-p.in // CONNECT, or the end when a disconnect was faster
	for i := range rng.IntN(30) {
		switch rng.IntN(5) {
		case 0:
			p.send(`2["boom"]`)
		case 1:
			p.send(fmt.Sprintf(`3%d[%d]`, rng.IntN(2000), i))
		case 2:
			p.send(fmt.Sprintf(`51-2%d["echo",{"_placeholder":true,"num":0}]`, i))
			p.write(2, "binary")
		default:
			p.send(fmt.Sprintf(`2%d["echo",%d]`, i, i))
		}
	}
	switch rng.IntN(4) {
	case 0:
		p.send("1")
	case 1:
		p.send("9 is no packet type")
	}
}

func mixedCalls(t *testing.T, n *node, rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	main := n.Of("/")
	room := fmt.Sprint("room", rng.IntN(4))
	op := main.To(room).Except(fmt.Sprint("room", rng.IntN(4)))
	sockets := main.Sockets()
	if len(sockets) == 0 {
		return
	}
	s := sockets[rng.IntN(len(sockets))]
	// Sockets may go at any moment, so that errors are expected; what counts is that nothing breaks.
	call := rng.IntN(22)
	if call >= 11 && call <= 13 && rng.IntN(20) > 0 {
		call = 14 // disconnects are rarer than the rest
	}
	switch call {
	case 0:
		_ = s.Join(ctx, room, "extra")
	case 1:
		s.Leave(room)
	case 2:
		_ = s.Emit("x", room, []byte("binary"))
	case 3:
		_ = s.Volatile().Emit("x")
	case 4:
		_ = op.Emit("y", 1)
	case 5:
		_ = op.Volatile().Compress(false).Emit("y", []byte{1})
	case 6:
		_, _ = server.EmitWithAck[int](ctx, s, "q")
	case 7:
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		_, _ = server.BroadcastWithAck[int](short, op, "q")
	case 8:
		r, err := op.FetchSockets(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, remote := range r.Values {
			_ = remote.Emit("z")
		}
	case 9:
		_ = op.SocketsJoin(room + "b")
	case 10:
		_ = op.SocketsLeave(room+"b", room)
	case 11:
		s.Disconnect()
	case 12:
		s.DisconnectClient()
	case 13:
		_ = main.In(s.ID()).DisconnectSockets()
	case 14:
		_ = s.Data().Set("k", rng.IntN(10))
	case 15:
		_ = s.Handshake()
	case 16:
		remove := s.Handle("echo", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error { return ctx.Err() }))
		remove()
	case 17:
		remove := main.HandleAny(func(ctx context.Context, s *server.Socket, e *server.Event) {})
		defer remove()
		_ = s.Broadcast().Local().Emit("w")
	case 18:
		_ = n.Stats()
		_, _ = main.Rooms(ctx)
	case 19:
		_ = s.Context().Err()
		_ = context.Cause(s.Context())
	case 20:
		s.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) {})
		s.UseEvent(func(ctx context.Context, s *server.Socket, e *server.Event) error { return nil })
	case 21:
		_ = s.Conn().Queued()
		_ = s.Rooms()
		_ = main.ServerSideEmit("side", 1)
	}
}
