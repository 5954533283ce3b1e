package main

import (
	"context"
	"runtime/debug"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	benchRoom = "room"
	// benchMax bounds what one bcast may ask for.
	benchMax = 100_000
)

// registerBench registers the events that load generators drive.
func registerBench(srv *server.Server) {
	main := srv.Of("/")
	main.Handle("join", server.FuncAck(func(ctx context.Context, s *server.Socket, room string) (server.None, error) {
		return server.None{}, s.Join(ctx, room)
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
