package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestPostTwice sends a message again, as a client does that has got no acknowledgement: it is told once, and acknowledged twice.
func TestPostTwice(t *testing.T) {
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	kit := servertest.New(t, srv, nil)
	sender, reader := kit.Connect(t, "/", nil).Client(), kit.Connect(t, "/", nil).Client()
	sender.Send(`420["post","a","hello"]`)
	if first := sender.Next().Data; !strings.HasPrefix(first, `42["message",{"number":1,"id":"a","text":"hello"}`) {
		t.Fatalf("got %s", first)
	}
	sender.Expect(`430[1]`)
	sender.Send(`421["post","a","hello"]`, `422["after",0]`, `423["after",1]`, `424["after",-5]`, `425["after",7]`)
	all := `{"number":1,"id":"a","text":"hello"}`
	sender.Expect(`431[1]`, `432[[`+all+`]]`, `433[[]]`, `434[[`+all+`]]`, `435[[]]`)
	sender.Send(`426["post","b","bye"]`)
	if told := reader.Next().Data + reader.Next().Data; !strings.Contains(told, `"number":1`) || !strings.Contains(told, `"number":2`) {
		t.Errorf("the reader was told %s", told)
	}
}

// TestPage holds that docs/delivery.md shows this program.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```go\n")
	if len(blocks) < 2 {
		t.Fatal("there is no Go on the page")
	}
	for _, block := range blocks[1:] {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(string(program), code) {
			t.Errorf("the program has no such part:\n%s", code)
		}
	}
}
