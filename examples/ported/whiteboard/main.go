// Command whiteboard is the server of a shared drawing board, ported from Socket.IO's own example of that name: each stroke
// goes to everybody else as it came. Who comes later starts with an empty board, as there.
//
//	bin/sockeye client-files bin/client
//	go run ./examples/ported/whiteboard
package main

import (
	"context"
	"embed"
	"flag"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/sockeye-io/sockeye/server"
)

//go:embed public
var public embed.FS

// newHandler serves the page, the client bundle from the files, which may be nil, and the board.
func newHandler(clientFiles fs.FS) (http.Handler, error) {
	srv, err := server.New(&server.Options{ClientFiles: clientFiles})
	if err != nil {
		return nil, err
	}
	board := srv.Of("/")
	// drawing({x0, y0, x1, y1, color}): the server has no need to know what is in it.
	board.Handle("drawing", server.Func(func(_ context.Context, s *server.Socket, stroke server.Args) error {
		return s.Broadcast().Emit("drawing", stroke)
	}))

	page, err := fs.Sub(public, "public")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/", http.FileServerFS(page))
	return mux, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	client := flag.String("client", "bin/client", "directory that `sockeye client-files` has written")
	flag.Parse()
	handler, err := newHandler(os.DirFS(*client))
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.ListenAndServe(ctx, *addr, handler); err != nil {
		log.Fatal(err)
	}
}
