// Command messaging is the server of private messages between users who come back to their session, ported from the guide
// "Private messaging" of Socket.IO: the same events, so that a front end that was written for it works unchanged.
//
//	bin/sockeye client-files bin/client
//	go run ./examples/ported/messaging
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/sockeye-io/sockeye/server"
)

//go:embed public
var public embed.FS

// newHandler serves the page, the client bundle from the files, which may be nil, and the messages.
func newHandler(clientFiles fs.FS) (http.Handler, error) {
	srv, err := server.New(&server.Options{ClientFiles: clientFiles})
	if err != nil {
		return nil, err
	}
	a := &app{main: srv.Of("/"), store: newStore()}
	a.main.Use(a.admit)
	a.main.OnConnection(a.greet)
	a.main.Handle("private message", server.Func(a.forward))
	a.main.OnDisconnect(a.leave)

	page, err := fs.Sub(public, "public")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/", http.FileServerFS(page))
	return mux, nil
}

// app is what the callbacks share.
type app struct {
	main *server.Namespace
	who  server.State[session] // whose session a socket belongs to

	// mu is held from a change until it is told, so that clients hear of changes in their order, and of none before the list
	// that lacks it. Nothing below it blocks.
	mu    sync.Mutex
	store *store
}

// admit finds the session that the client names, or begins one for the user name that it gives.
func (a *app) admit(_ context.Context, s *server.Socket) error {
	var auth struct {
		SessionID string `json:"sessionID"`
		Username  string `json:"username"`
	}
	if err := json.Unmarshal(s.Auth(), &auth); err != nil {
		return &server.ClientError{Message: "invalid username"}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.store.session(auth.SessionID)
	if !ok {
		var err error
		if found, err = a.store.begin(auth.Username); err != nil {
			return err
		}
	}
	a.who.Set(s, found)
	return nil
}

// greet tells a socket who it is and who is there, and the others that its user is there. The user's sockets are the room of
// the user's id.
func (a *app) greet(ctx context.Context, s *server.Socket) {
	mine, _ := a.who.Load(s)
	joined := s.Join(ctx, mine.UserID)
	a.mu.Lock()
	defer a.mu.Unlock()
	first := a.store.enter(mine.UserID) // also if the socket is gone already: leave will count it off
	if joined != nil {
		log.Print(joined)
		return
	}
	err := s.Emit("session", mine)
	if err == nil {
		err = s.Emit("users", a.store.users(mine.UserID))
	}
	if err == nil && first {
		arrival := user{ID: mine.UserID, Name: mine.name, Connected: true, Messages: []message{}}
		err = s.Broadcast().Emit("user connected", arrival)
	}
	if err != nil {
		log.Print(err)
	}
}

// forward sends a message to the sockets of its addressee and to the author's other ones.
func (a *app) forward(_ context.Context, s *server.Socket, m struct{ Content, To string }) error {
	mine, _ := a.who.Load(s)
	sent := message{Content: m.Content, From: mine.UserID, To: m.To}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.store.keep(sent); err != nil {
		return err
	}
	return s.To(m.To, mine.UserID).Emit("private message", sent)
}

func (a *app) leave(_ context.Context, s *server.Socket, _ server.Reason) {
	mine, _ := a.who.Load(s)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.store.leave(mine.UserID) {
		return // another socket of the user is still there
	}
	if err := a.main.Emit("user disconnected", mine.UserID); err != nil && !errors.Is(err, server.ErrClosed) {
		log.Print(err)
	}
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
