// Command editor lets several people write one text. The page uses y-socket.io, the connector of Yjs for Socket.IO, as npm
// publishes it; this is the server for it. In Node that server is a replica of each document; this one relays what clients
// say in Yjs's binary form, keeps it for those who come later, and needs no Yjs for it.
//
//	(cd examples/ported/editor/front && npm ci --ignore-scripts && npm run build)
//	go run ./examples/ported/editor
package main

import (
	"context"
	"flag"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/sockeye-io/sockeye/server"
)

// newHandler serves the page from the files and the documents. Each is a namespace of its own, as y-socket.io calls them.
func newHandler(front fs.FS) (http.Handler, error) {
	srv, err := server.New(&server.Options{
		CleanupEmptyChildNamespaces: true,
		Engine:                      server.EngineOptions{MaxHTTPBufferSize: 2 * maxDocument}, // a document comes in one message
	})
	if err != nil {
		return nil, err
	}
	r := &relay{open: make(map[string]*document)}
	documents := srv.OfPattern(regexp.MustCompile(`^/yjs\|.+$`))
	documents.OnConnection(r.enter)
	documents.Handle("sync-step-1", server.FuncReply(r.synchronize))
	documents.Handle("sync-update", server.Func(r.update))
	documents.Handle("awareness-update", server.Func(r.awareness))
	documents.OnDisconnect(r.leave)

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/", http.FileServerFS(front))
	return mux, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	front := flag.String("front", "examples/ported/editor/front/dist", "directory with the built page")
	flag.Parse()
	handler, err := newHandler(os.DirFS(*front))
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.ListenAndServe(ctx, *addr, handler); err != nil {
		log.Fatal(err)
	}
}
