package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/sockeye-io/sockeye/server"
	webdemo "github.com/sockeye-io/sockeye/web-demo"
)

// socketApp runs one of the Socket.IO apps with the demo page in front of it.
func (c *serveCommand) socketApp(log *slog.Logger, register func(*server.Server)) (*app, error) {
	opts := server.Options{
		Engine:                      c.engineOptions(log, "/socket.io"),
		ConnectTimeout:              c.ConnectTimeout,
		AckTimeout:                  c.AckTimeout,
		CleanupEmptyChildNamespaces: c.CleanupEmptyChildNamespaces,
		DisableClientFiles:          !c.ServeClient,
		Logger:                      log,
	}
	if files, ok := webdemo.Client(); ok {
		opts.ClientFiles = files
	}
	srv, err := server.New(&opts)
	if err != nil {
		return nil, err
	}
	register(srv)
	page := pageHandler()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if srv.Engine().Matches(r) {
			srv.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
	return &app{
		handler: handler,
		shutdown: func(ctx context.Context) error {
			return srv.Shutdown(ctx)
		},
	}, nil
}

// pageHandler serves the demo page, or says how to get it.
func pageHandler() http.Handler {
	files, ok := webdemo.Page()
	if !ok {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "The demo page is not part of this binary: `make build` puts it in.", http.StatusNotFound)
		})
	}
	return http.FileServerFS(files)
}
