package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"html"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/server"
	webdemo "github.com/sockeye-io/sockeye/web-demo"
)

// socketApp runs one of the Socket.IO apps with the demo page in front of it.
func (c *serveCommand) socketApp(log *slog.Logger, register func(*server.Server)) (*app, error) {
	opts := c.options(log)
	if files, ok := webdemo.Client(); ok {
		opts.ClientFiles = files
	}
	var others *cluster
	if len(c.Redis) > 0 {
		var err error
		if others, err = c.nodeFlags.open(log); err != nil {
			return nil, err
		}
		opts.Adapter = others.builder
	}
	srv, err := server.New(&opts)
	if err != nil {
		if others != nil {
			err = errors.Join(err, others.close())
		}
		return nil, err
	}
	register(srv)
	path := opts.Engine.Path
	if c.AddTrailingSlash {
		path = strings.TrimSuffix(path, "/") + "/"
	}
	page := pageHandler(path)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if srv.Engine().Matches(r) {
			srv.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
	return &app{
		handler: handler,
		engine:  srv.Engine(),
		cluster: others,
		// The sockets first, whose departure the adapters tell the other nodes, then the adapters, then their connections.
		shutdown: func(ctx context.Context) error {
			err := srv.Shutdown(ctx)
			if others != nil {
				err = errors.Join(err, others.close())
			}
			return err
		},
	}, nil
}

// options turns the flags into the server's options.
func (c *serveCommand) options(log *slog.Logger) server.Options {
	opts := server.Options{
		NodeName:                    cmp.Or(c.NodeName, defaultNodeName(c.Addr)),
		Engine:                      c.engineOptions(log, "/socket.io"),
		ConnectTimeout:              c.ConnectTimeout,
		AckTimeout:                  c.AckTimeout,
		CleanupEmptyChildNamespaces: c.CleanupEmptyChildNamespaces,
		DisableClientFiles:          !c.ServeClient,
		Logger:                      log,
	}
	c.boundFlags.server(&opts)
	return opts
}

// pathInPage is where the page looks for the path of the protocol.
const pathInPage = `<meta name="socket-path" content="/socket.io/"`

// pageHandler serves the demo page, which connects to path, or says how to get it.
func pageHandler(path string) http.Handler {
	files, ok := webdemo.Page()
	if !ok {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "The demo page is not part of this binary: `make build` puts it in.", http.StatusNotFound)
		})
	}
	index, err := fs.ReadFile(files, "index.html")
	if err != nil {
		panic(err) // embedded with the other files
	}
	own := strings.Replace(pathInPage, "/socket.io/", html.EscapeString(path), 1)
	index = bytes.Replace(index, []byte(pathInPage), []byte(own), 1)
	rest := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.ServeContent(w, r, "index.html", time.Time{}, bytes.NewReader(index))
			return
		}
		rest.ServeHTTP(w, r)
	})
}
