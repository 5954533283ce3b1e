package main

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
	"github.com/sockeye-io/sockeye/server/users"
)

const (
	benchRoom = "room"
	// benchMax bounds what one bcast may ask for.
	benchMax = 100_000
	// computeMax bounds how many goroutines compute may ask for, and computeBytes is what they allocate and hash at a time.
	computeMax   = 64
	computeBytes = 4 << 10
)

// benchApp makes what load generators drive. The nodes of a cluster have a directory of users; a node alone needs none, and does not pay
// for it either.
func (c *serveCommand) benchApp(log *slog.Logger) (*app, error) {
	return c.socketApp(log, "none", func(srv *server.Server, others *cluster) (*users.Directory, error) {
		registerBench(srv)
		if others == nil {
			registerBenchRooms(srv.Of("/"))
			return nil, nil
		}
		dir, err := users.New(srv, users.Options{Store: others.users(), Mixed: users.MixedAuto, OverAfter: c.NodeOverAfter, Logger: log})
		if err != nil {
			return nil, err
		}
		registerBenchUsers(srv.Of("/"), dir)
		return dir, nil
	})
}

// registerBenchUsers registers messages to users, whom the directory finds.
func registerBenchUsers(main *server.Namespace, dir *users.Directory) {
	main.Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (server.None, error) {
		return server.None{}, dir.Bind(ctx, s, user, nil)
	}))
	main.Handle("tell", server.Func(func(ctx context.Context, _ *server.Socket, call server.Args2[string, parser.Payload]) error {
		return dir.User(call.First).Emit(ctx, "msg", call.Second)
	}))
}

// registerBenchRooms registers the same with a room for each user, as the programs in bench/peers do it.
func registerBenchRooms(main *server.Namespace) {
	main.Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (server.None, error) {
		return server.None{}, s.Join(ctx, user)
	}))
	main.Handle("tell", server.Func(func(_ context.Context, _ *server.Socket, call server.Args2[string, parser.Payload]) error {
		return main.To(call.First).Emit("msg", call.Second)
	}))
}

// registerBench registers the other events.
func registerBench(srv *server.Server) {
	main := srv.Of("/")
	main.Handle("join", server.FuncAck(func(ctx context.Context, s *server.Socket, room string) (server.None, error) {
		return server.None{}, s.Join(ctx, room)
	}))
	main.Handle("leave", server.FuncAck(func(_ context.Context, s *server.Socket, room string) (server.None, error) {
		s.Leave(room)
		return server.None{}, nil
	}))
	main.Handle("message", server.Func(messageBack))
	main.Handle("direct", server.Func(
		func(_ context.Context, _ *server.Socket, call server.Args2[string, parser.Payload]) error {
			return main.To(call.First).Emit("msg", call.Second)
		}))
	main.Handle("gc", server.FuncAck(func(context.Context, *server.Socket, server.None) (server.None, error) {
		debug.FreeOSMemory()
		return server.None{}, nil
	}))
	var work computing
	main.Handle("compute", server.FuncAck(func(_ context.Context, s *server.Socket, n int) (int64, error) {
		if n < 0 || n > computeMax {
			return 0, &server.ClientError{Message: "compute takes a number from 0 to 64"}
		}
		return work.set(s.Context(), n), nil
	}))
	main.Handle("bcast", server.FuncAck(
		func(_ context.Context, _ *server.Socket, call server.Args2[int, parser.Payload]) (server.None, error) {
			if call.First < 0 || call.First > benchMax {
				return server.None{}, &server.ClientError{Message: "bcast takes a count from 0 to 100000"}
			}
			for range call.First {
				if err := main.To(benchRoom).Emit("msg", call.Second); err != nil {
					return server.None{}, err
				}
			}
			return server.None{}, nil
		}))
}

// computing is work of the server beside its clients, as an application may have it: goroutines that compute and allocate.
type computing struct {
	mu   sync.Mutex
	stop func() // guarded by mu; nil while nothing computes
	done atomic.Int64
}

// set has so many goroutines compute from now on, until the next call or the end of ctx, and returns what those before have done since
// the last call, in units of computeBytes.
func (c *computing) set(ctx context.Context, n int) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
	if n > 0 {
		ctx, cancel := context.WithCancel(ctx)
		var goroutines sync.WaitGroup
		for range n {
			goroutines.Go(func() { c.compute(ctx) })
		}
		c.stop = func() {
			cancel()
			goroutines.Wait()
		}
	}
	return c.done.Swap(0)
}

func (c *computing) compute(ctx context.Context) {
	var sum [sha256.Size]byte
	for ctx.Err() == nil {
		data := make([]byte, computeBytes)
		copy(data, sum[:])
		sum = sha256.Sum256(data)
		c.done.Add(1)
	}
}
