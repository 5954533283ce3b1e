package main

import (
	"bytes"
	"context"
	"errors"
	"html"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/admin"
	"github.com/sockeye-io/sockeye/server/users"
	webdemo "github.com/sockeye-io/sockeye/web-demo"
)

// socketApp runs one of the Socket.IO apps with the demo page in front of it.
//
// login tells the page how one logs in. register prepares the server; the directory that it returns, or nil, is closed after the server
// was shut down.
func (c *serveCommand) socketApp(log *slog.Logger, login string, register func(*server.Server, *cluster) (*users.Directory, error)) (*app, error) {
	opts := c.options(log)
	if files, ok := webdemo.Client(); ok {
		opts.ClientFiles = files
	}
	others, err := c.openCluster(log, &opts)
	if err != nil {
		return nil, err
	}
	limited, err := c.limitFlags.install(&opts)
	if err != nil {
		if others != nil {
			err = errors.Join(err, others.close())
		}
		return nil, err
	}
	collected := c.metrics(&opts)
	srv, err := server.New(&opts)
	if err != nil {
		if others != nil {
			err = errors.Join(err, others.close())
		}
		return nil, err
	}
	dir, err := register(srv, others)
	if err != nil {
		return nil, errors.Join(err, closeApp(context.Background(), srv, nil, nil, others))
	}
	ui, err := c.startAdminUI(srv, others, log)
	if err != nil {
		return nil, errors.Join(err, closeApp(context.Background(), srv, nil, dir, others))
	}
	if dir != nil {
		limited.Follow(dir)
	}
	collected.watch(srv, limited, dir, others)
	path := opts.Engine.Path
	if c.AddTrailingSlash {
		path = strings.TrimSuffix(path, "/") + "/"
	}
	page := pageHandler(path, login)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if srv.Engine().Matches(r) {
			srv.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
	return &app{
		handler:   handler,
		engine:    srv.Engine(),
		server:    srv,
		directory: dir,
		limits:    limited,
		cluster:   others,
		metrics:   collected,
		shutdown:  func(ctx context.Context) error { return closeApp(ctx, srv, ui, dir, others) },
	}, nil
}

// closeApp ends what an app is made of, in this order. All but the server may be missing.
func closeApp(ctx context.Context, srv *server.Server, ui *admin.Admin, dir *users.Directory, others *cluster) error {
	var err error
	if ui != nil {
		err = ui.Close()
	}
	err = errors.Join(err, srv.Shutdown(ctx))
	if dir != nil {
		err = errors.Join(err, dir.Close())
	}
	if others != nil {
		err = errors.Join(err, others.close())
	}
	return err
}

// openCluster makes what connects this node with the others; nil if there are none.
func (c *serveCommand) openCluster(log *slog.Logger, opts *server.Options) (*cluster, error) {
	if c.kind() == "" {
		return nil, nil
	}
	files, err := c.peerFiles()
	if err != nil {
		return nil, err
	}
	way, err := c.openBroker(c.brokerUser(files), log)
	if err != nil {
		return nil, err
	}
	others := &cluster{broker: way, peerTLS: files}
	opts.Adapter = others.builder()
	if others.forwarder, err = c.listenPeer(c.brokerAddress(), others.peerTLS, log); err != nil {
		return nil, errors.Join(err, others.close())
	}
	if others.forwarder != nil {
		opts.Forwarder = others.forwarder
	}
	return others, nil
}

// without is for apps that have no directory and need no cluster.
func without(register func(*server.Server)) func(*server.Server, *cluster) (*users.Directory, error) {
	return func(srv *server.Server, _ *cluster) (*users.Directory, error) {
		register(srv)
		return nil, nil
	}
}

// chatApp makes the chat with its directory of users, which the broker keeps if there are other nodes.
func (c *serveCommand) chatApp(log *slog.Logger) (*app, error) {
	g, err := c.openGuard(log)
	if err != nil {
		return nil, err
	}
	node, err := c.socketApp(log, g.mode(), func(srv *server.Server, others *cluster) (*users.Directory, error) {
		opts := users.Options{Store: users.NewMemoryStore(), Mixed: users.MixedOff, MaxUser: maxName, Logger: log}
		if others != nil {
			opts.Store, opts.Mixed, opts.OverAfter = others.users(), users.MixedAuto, c.NodeOverAfter
		}
		dir, err := users.New(srv, opts)
		if err != nil {
			return nil, err
		}
		if err := g.protect(srv, dir, others); err != nil {
			return nil, errors.Join(err, dir.Close())
		}
		newChat(srv, dir, g != nil)
		return dir, nil
	})
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	end := node.shutdown
	node.guard, node.handler = g, g.demo(node.handler)
	if g != nil {
		node.metrics.watchTokens(g.Auth)
	}
	node.shutdown = func(ctx context.Context) error { return errors.Join(end(ctx), g.close()) }
	return node, nil
}

// options turns the flags into the server's options.
func (c *serveCommand) options(log *slog.Logger) server.Options {
	opts := server.Options{
		NodeName:                    c.nodeName(),
		Engine:                      c.engineOptions(log, "/socket.io"),
		ConnectTimeout:              c.ConnectTimeout,
		AckTimeout:                  c.AckTimeout,
		CleanupEmptyChildNamespaces: c.CleanupEmptyChildNamespaces,
		DisableClientFiles:          !c.ServeClient,
		Logger:                      log,
	}
	if c.Recovery > 0 {
		opts.Recovery = &server.RecoveryOptions{MaxDisconnectionDuration: c.Recovery}
	}
	c.boundFlags.server(&opts)
	return opts
}

// Where the page looks for the path of the protocol, and for how one logs in: none, jwt or demo.
const (
	pathInPage  = `<meta name="socket-path" content="/socket.io/"`
	loginInPage = `<meta name="login" content="none"`
)

// pageHandler serves the demo page, which connects to path, or says how to get it.
func pageHandler(path, login string) http.Handler {
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
	index = bytes.Replace(index, []byte(loginInPage), []byte(strings.Replace(loginInPage, "none", login, 1)), 1)
	rest := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.ServeContent(w, r, "index.html", time.Time{}, bytes.NewReader(index))
			return
		}
		rest.ServeHTTP(w, r)
	})
}
