package server_test

import (
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// TestOnDataChange is told of each value that is set or deleted, and of nothing that did not happen.
func TestOnDataChange(t *testing.T) {
	n := start(t, &server.Options{Adapter: adapter.Memory(), MaxData: 1000})
	told := make(chan string, 8)
	remove := n.Of("/").OnDataChange(func(s *server.Socket, key string) {
		raw, err := s.Data().MarshalJSON() // no lock is held
		if err != nil {
			t.Error(err)
		}
		told <- key + " " + string(raw)
	})
	_, s := n.connect(t)
	d := s.Data()
	if err := d.Set("name", "Ann"); err != nil {
		t.Fatal(err)
	}
	if d.Set("name", make(chan int)) == nil || d.Set("big", make([]byte, 2000)) == nil {
		t.Error("values were taken that have no JSON form, or are too big")
	}
	d.Delete("nothing")
	d.Delete("name")
	remove()
	if err := d.Set("name", "Bob"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`name {"name":"Ann"}`, "name {}"} {
		if got := await(t, told); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	if len(told) > 0 {
		t.Errorf("told more: %s", <-told)
	}
}

// TestNamespaces lists static and dynamic namespaces.
func TestNamespaces(t *testing.T) {
	n := start(t, nil)
	n.Of("/b")
	n.Of("/a")
	var names []string
	for _, nsp := range n.Namespaces() {
		names = append(names, nsp.Name())
	}
	if want := []string{"/", "/a", "/b"}; !slices.Equal(names, want) {
		t.Errorf("namespaces %v, want %v", names, want)
	}
}
