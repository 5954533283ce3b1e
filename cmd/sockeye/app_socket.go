package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"html"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
	webdemo "github.com/sockeye-io/sockeye/web-demo"
)

// socketApp runs one of the Socket.IO apps with the demo page in front of it.
//
// register prepares the server; what it returns is closed after the server was shut down.
func (c *serveCommand) socketApp(log *slog.Logger, register func(*server.Server, *cluster) (io.Closer, error)) (*app, error) {
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
	more, err := register(srv, others)
	if err != nil {
		err = errors.Join(err, srv.Close())
		if others != nil {
			err = errors.Join(err, others.close())
		}
		return nil, err
	}
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
		shutdown: func(ctx context.Context) error {
			err := srv.Shutdown(ctx)
			if more != nil {
				err = errors.Join(err, more.Close())
			}
			if others != nil {
				err = errors.Join(err, others.close())
			}
			return err
		},
	}, nil
}

// without is for apps that have nothing to close and need no cluster.
func without(register func(*server.Server)) func(*server.Server, *cluster) (io.Closer, error) {
	return func(srv *server.Server, _ *cluster) (io.Closer, error) {
		register(srv)
		return nil, nil
	}
}

// chatApp makes the chat with its directory of users, which is in Redis if there are other nodes.
func (c *serveCommand) chatApp(log *slog.Logger) (*app, error) {
	return c.socketApp(log, func(srv *server.Server, others *cluster) (io.Closer, error) {
		opts := users.Options{Store: users.NewMemoryStore(), Mixed: users.MixedOff, MaxUser: maxName, Logger: log}
		if others != nil {
			opts.Store, opts.Mixed, opts.OverAfter = c.nodeFlags.users(others), users.MixedAuto, c.NodeOverAfter
		}
		dir, err := users.New(srv, opts)
		if err != nil {
			return nil, err
		}
		newChat(srv, dir)
		return dir, nil
	})
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
