// Command session has a login with a cookie, as express-session gives it in Node: the session is looked up once when a client
// connects, whatever the transport, its sockets know it, and a logout disconnects all of them.
package main

import (
	"context"
	"crypto/rand"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// account is a login.
type account struct {
	ID   string
	User string
}

type accountKey struct{}

// accounts are those that are logged in, by the value of their cookie. A real program would have them in a database.
type accounts struct {
	mu   sync.Mutex
	open map[string]account
}

const cookieName = "session"

func (a *accounts) login(user string) *http.Cookie {
	id := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[id] = account{id, user}
	return &http.Cookie{Name: cookieName, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// of finds who sends a request.
func (a *accounts) of(r *http.Request) (account, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return account{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.open[cookie.Value]
	return found, ok
}

func (a *accounts) logout(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, id)
}

// room is where all sockets of a login are.
func (a account) room() string { return "session:" + a.ID }

func newHandler() (http.Handler, *server.Server, error) {
	all := &accounts{open: make(map[string]account)}
	srv, err := server.New(&server.Options{Engine: server.EngineOptions{
		SessionContext: func(ctx context.Context, r *http.Request) (context.Context, error) {
			found, ok := all.of(r)
			if !ok {
				return nil, &server.Refusal{Message: "not logged in"}
			}
			return context.WithValue(ctx, accountKey{}, found), nil
		},
	}})
	if err != nil {
		return nil, nil, err
	}
	main := srv.Of("/")
	main.Use(func(ctx context.Context, s *server.Socket) error {
		return s.Join(ctx, ctx.Value(accountKey{}).(account).room())
	})
	main.Handle("whoami", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (string, error) {
		return ctx.Value(accountKey{}).(account).User, nil
	}))

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "open sesame" {
			http.Error(w, "wrong password", http.StatusForbidden)
			return
		}
		http.SetCookie(w, all.login(r.FormValue("user")))
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		found, ok := all.of(r)
		if !ok {
			return
		}
		all.logout(found.ID)
		if err := main.To(found.room()).DisconnectClients(); err != nil { // on all nodes
			log.Print(err)
		}
	})
	return mux, srv, nil
}

func main() {
	handler, _, err := newHandler()
	if err != nil {
		log.Fatal(err)
	}
	web := &http.Server{Addr: "127.0.0.1:3000", Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(web.ListenAndServe())
}
