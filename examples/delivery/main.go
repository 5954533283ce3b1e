// Command delivery is a board whose messages reach everybody exactly once, in one order, whatever happens to connections. docs/delivery.md
// has the client's part.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

type message struct {
	Number int    `json:"number"` // its place on the board, from 1
	ID     string `json:"id"`     // which the sender has made
	Text   string `json:"text"`
}

// board is in memory here. Elsewhere it is a table with a unique key on the ids, and add is one transaction: a message that is
// acknowledged has been stored.
type board struct {
	mu       sync.Mutex
	messages []message
	numbers  map[string]int // by id
}

// add returns the message's number. A message that is there already is not added again, and nobody is told.
func (b *board) add(id, text string, tell func(message)) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if number, known := b.numbers[id]; known {
		return number
	}
	m := message{len(b.messages) + 1, id, text}
	b.messages = append(b.messages, m)
	b.numbers[id] = m.Number
	tell(m) // with the lock, so that messages are told of in their order
	return m.Number
}

// after returns the messages behind a number.
func (b *board) after(number int) []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.messages[min(max(number, 0), len(b.messages)):])
}

func newServer() (*server.Server, error) {
	srv, err := server.New(&server.Options{Recovery: &server.RecoveryOptions{MaxDisconnectionDuration: 2 * time.Minute}})
	if err != nil {
		return nil, err
	}
	b := &board{numbers: make(map[string]int)}
	main := srv.Of("/")
	main.Handle("post", server.FuncAck(func(_ context.Context, _ *server.Socket, post server.Args2[string, string]) (int, error) {
		return b.add(post.First, post.Second, func(m message) {
			_ = main.Emit("message", m) // whom it does not reach sees so by the number of the next one
		}), nil
	}))
	main.Handle("after", server.FuncAck(func(_ context.Context, _ *server.Socket, number int) ([]message, error) {
		return b.after(number), nil
	}))
	return srv, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "where to listen")
	flag.Parse()
	srv, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.ListenAndServe(ctx, *addr, srv); err != nil {
		log.Fatal(err)
	}
}
