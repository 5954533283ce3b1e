package server_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// kinds of clients for TestShedOrder, in the order in which they should go.
var shedOrder = []string{"late", "early", "rooms", "data", "event", "ack"}

// TestShedOrder: who is in the middle of something goes last, before that who has much, among equals who has come last first.
func TestShedOrder(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		release := make(chan struct{})
		names := make(map[string]string)
		main := d.srv.Of("/")
		main.Handle("slow", server.Func(func(context.Context, *server.Socket, server.None) error { <-release; return nil }))
		for _, kind := range []string{"data", "ack", "early", "event", "late", "rooms"} {
			s := d.Connect(t, "/", nil)
			names[s.ID()] = kind
			own := socket(t, main, s.ID())
			switch kind {
			case "rooms":
				if err := own.Join(t.Context(), "a", "b"); err != nil {
					t.Fatal(err)
				}
			case "data":
				if err := own.Data().Set("x", make([]int, 1000)); err != nil {
					t.Fatal(err)
				}
			case "event":
				s.Emit("slow")
			case "ack":
				go func() { _, _ = server.EmitWithAck[int](context.Background(), own, "question") }()
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		n, err := d.srv.Shed(t.Context(), 5, &server.ShedOptions{Rate: 10})
		if err != nil || n != 5 {
			t.Errorf("closed %d, %v", n, err)
		}
		close(release)
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		var order []string
		for _, id := range d.order {
			order = append(order, names[id])
		}
		// The handler of "event" is still at work when its connection goes: its disconnect is told when it has returned.
		if want := shedOrder[:5]; !slices.Equal(order, want) || d.reasons[server.ReasonForcedClose] != 5 {
			t.Errorf("went %v, want %v; reasons %v", order, want, d.reasons)
		}
		if d.srv.Draining() || d.sessions() != 1 {
			t.Errorf("%d sessions, draining %v", d.sessions(), d.srv.Draining())
		}
	})
}

func socket(t *testing.T, n *server.Namespace, id string) *server.Socket {
	t.Helper()
	for _, s := range n.Sockets() {
		if s.ID() == id {
			return s
		}
	}
	t.Fatalf("there is no socket %s", id)
	return nil
}

// TestShedPutsOff: a client that begins something when it has been chosen goes behind the others.
func TestShedPutsOff(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		release := make(chan struct{})
		d.srv.Of("/").Handle("slow", server.Func(func(context.Context, *server.Socket, server.None) error { <-release; return nil }))
		early := d.Connect(t, "/", nil)
		time.Sleep(time.Millisecond)
		late := d.Connect(t, "/", nil)
		time.Sleep(time.Millisecond)
		d.Connect(t, "/", nil) // goes first
		synctest.Wait()
		done := make(chan int, 1)
		go func() {
			n, _ := d.srv.Shed(context.Background(), 3, &server.ShedOptions{Rate: 1})
			done <- n
		}()
		synctest.Wait()
		late.Emit("slow")
		if n := <-done; n != 3 {
			t.Errorf("closed %d", n)
		}
		close(release)
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if want := []string{early.ID(), late.ID()}; !slices.Equal(d.order[1:], want) {
			t.Errorf("went %v, want %v", d.order[1:], want)
		}
	})
}

// TestShedTwice: calls at the same time choose different clients, and one whose context ends leaves the rest alone.
func TestShedTwice(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		d.clients(t, 30)
		if n, err := d.srv.Shed(t.Context(), -1, nil); n != 0 || err == nil {
			t.Errorf("minus one: %d, %v", n, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 450*time.Millisecond)
		defer cancel()
		n, err := d.srv.Shed(ctx, 30, &server.ShedOptions{Rate: 10})
		if n != 5 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closed %d in less than half a second at 10 a second, %v", n, err)
		}
		done := make(chan int, 2)
		for range 2 {
			go func() {
				n, _ := d.srv.Shed(context.Background(), 10, nil)
				done <- n
			}()
		}
		if a, b := <-done, <-done; a != 10 || b != 10 || d.sessions() != 5 {
			t.Errorf("closed %d and %d, %d sessions are left", a, b, d.sessions())
		}
		if n, err := d.srv.Shed(t.Context(), 100, nil); n != 5 || err != nil {
			t.Errorf("closed %d of 5, %v", n, err)
		}
	})
}
