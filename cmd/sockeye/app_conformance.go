package main

import (
	"context"

	"github.com/sockeye-io/sockeye/server"
)

// registerConformance registers what the protocol's conformance suites expect of a server.
func registerConformance(srv *server.Server) {
	main := srv.Of("/")
	main.OnConnection(emitAuth)
	main.Handle("message", server.Func(messageBack))
	main.Handle("message-with-ack", server.FuncAck(
		func(_ context.Context, _ *server.Socket, args server.Args) (server.Args, error) { return args, nil }))
	srv.Of("/custom").OnConnection(emitAuth)
}

// emitAuth sends the auth payload of the handshake back. A socket that has left meanwhile needs no answer.
func emitAuth(_ context.Context, s *server.Socket) { _ = s.Emit("auth", s.Auth()) }

func messageBack(_ context.Context, s *server.Socket, args server.Args) error {
	return s.Emit("message-back", args)
}
