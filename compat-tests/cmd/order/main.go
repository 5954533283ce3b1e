// Command order is a Socket.IO server for one client at a time, which it sends numbered events from many goroutines: the
// first quarter before it lets the client's websocket in, the last when the client says that it has upgraded. It checks
// the numbers of what the client sends back. It ends when stdin closes.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server"
)

var (
	emitters = flag.Int("emitters", 16, "goroutines that emit")
	events   = flag.Int("events", 400, "events that each of them emits")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	srv, err := server.New(nil)
	if err != nil {
		return err
	}
	o := &order{latest: make(chan *client, 1)}
	srv.Engine().Use(o.holdWebSocket)
	nsp := srv.Of("/")
	nsp.Use(func(_ context.Context, s *server.Socket) error {
		c := &client{upgraded: make(chan struct{})}
		c.begun.Add(*emitters)
		o.clients.Store(s.ID(), c)
		o.latest <- c
		return nil
	})
	nsp.OnConnection(o.emitAll)
	nsp.OnDisconnect(func(_ context.Context, s *server.Socket, _ server.Reason) { o.clients.Delete(s.ID()) })
	nsp.Handle("upgraded", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
		close(o.client(s).upgraded)
		return nil
	}))
	nsp.Handle("up", server.FuncAck(o.check))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: srv}
	go web.Serve(listener)
	fmt.Printf("listening %s\n", listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return srv.Close()
}

// order is what the server knows of its clients.
type order struct {
	clients sync.Map     // socket id -> *client
	latest  chan *client // from its CONNECT to its websocket
}

type client struct {
	begun    sync.WaitGroup // by the emitters
	upgraded chan struct{}
	received atomic.Int64
}

func (o *order) client(s *server.Socket) *client {
	c, _ := o.clients.Load(s.ID())
	return c.(*client)
}

// holdWebSocket keeps a websocket waiting until its client has been sent a part of the events.
func (o *order) holdWebSocket(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			(<-o.latest).begun.Wait()
		}
		next.ServeHTTP(w, r)
	})
}

func (o *order) emitAll(ctx context.Context, s *server.Socket) {
	emit := s.Emit
	if bytes.Contains(s.Auth(), []byte("broadcast")) {
		emit = s.Namespace().Emit
	}
	for g := range *emitters {
		go func() {
			for i := range *events {
				switch i {
				case *events / 4:
					o.client(s).begun.Done()
				case *events * 3 / 4:
					select {
					case <-o.client(s).upgraded:
					case <-ctx.Done():
						return
					}
				}
				args := []any{g, i}
				if i%3 != 0 {
					args = append(args, payload(g, i))
				}
				if err := emit("n", args...); err != nil {
					log.Print(err)
				}
			}
		}()
	}
}

// check acknowledges the client's event with how many there have been.
func (o *order) check(_ context.Context, s *server.Socket, a server.Args2[int, []byte]) (int64, error) {
	n := o.client(s).received.Add(1)
	if int64(a.First) != n-1 {
		return 0, fmt.Errorf("number %d came in place %d", a.First, n)
	}
	if a.Second != nil && !bytes.Equal(a.Second, payload(0, a.First)) {
		return 0, fmt.Errorf("number %d came with an attachment that is not its own", a.First)
	}
	return n, nil
}

func payload(sender, number int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(sender))
	b = binary.BigEndian.AppendUint32(b, uint32(number))
	return append(b, strings.Repeat("x", number*7%2000)...)
}
