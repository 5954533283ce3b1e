package forward

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server/engine"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func testPass() *pass {
	return &pass{
		Kind: passRequest, From: "a1", To: "b2", Number: 7, Hop: 1, SID: "AAAAbbbbccccddddeeee",
		Client: engine.Peer{Address: "fe80::1%eth 0", Host: "example.org:8443 %", Secure: true},
	}
}

func TestPass(t *testing.T) {
	p := testPass()
	value := p.sign(testKey, "GET", "/socket.io/?sid=x")
	got, err := checkPass(testKey, value, "GET", "/socket.io/?sid=x")
	if err != nil || *got != *p {
		t.Fatalf("got %+v, %v, want %+v", got, err, p)
	}
	for what, err := range map[string]error{
		"another key":       second(checkPass([]byte("another"), value, "GET", "/socket.io/?sid=x")),
		"another method":    second(checkPass(testKey, value, "POST", "/socket.io/?sid=x")),
		"another target":    second(checkPass(testKey, value, "GET", "/socket.io/?sid=y")),
		"another number":    second(checkPass(testKey, strings.Replace(value, " 7 ", " 8 ", 1), "GET", "/socket.io/?sid=x")),
		"another client":    second(checkPass(testKey, strings.Replace(value, "true", "false", 1), "GET", "/socket.io/?sid=x")),
		"a field moved":     second(checkPass(testKey, strings.Replace(value, "GET", "GE", 1)+" ", "TGET", "/socket.io/?sid=x")),
		"a shorter MAC":     second(checkPass(testKey, value[:len(value)-2], "GET", "/socket.io/?sid=x")),
		"nothing":           second(checkPass(testKey, "", "GET", "/")),
		"only a MAC":        second(checkPass(testKey, value[strings.LastIndexByte(value, ' '):], "GET", "/socket.io/?sid=x")),
		"more than allowed": second(checkPass(testKey, strings.Repeat("x", maxPass)+" ab", "GET", "/")),
	} {
		if !errors.Is(err, errSignature) && !errors.Is(err, errMalformed) {
			t.Errorf("%s: got %v, want a refusal", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestPassFields: what is signed and still makes no sense is refused.
func TestPassFields(t *testing.T) {
	for what, change := range map[string]func(*pass){
		"kind":      func(p *pass) { p.Kind = "other" },
		"number 0":  func(p *pass) { p.Number = 0 },
		"no hop":    func(p *pass) { p.Hop = 0 },
		"many hops": func(p *pass) { p.Hop = maxHops + 1 },
		"short id":  func(p *pass) { p.SID = "short" },
		"odd id":    func(p *pass) { p.SID = "AAAAbbbbccccddddee.e" },
	} {
		p := testPass()
		change(p)
		if _, err := checkPass(testKey, p.sign(testKey, "GET", "/"), "GET", "/"); !errors.Is(err, errMalformed) {
			t.Errorf("%s: got %v, want %v", what, err, errMalformed)
		}
	}
}

// TestWindow: each number is taken once, in whatever order they come.
func TestWindow(t *testing.T) {
	var w window
	for start := uint64(1); start < 10*windowSize; start += 1000 {
		numbers := rand.Perm(1000)
		for _, n := range numbers {
			if !w.take(start + uint64(n)) {
				t.Fatalf("%d is refused", start+uint64(n))
			}
		}
		for _, n := range numbers {
			if w.take(start + uint64(n)) {
				t.Fatalf("%d is taken twice", start+uint64(n))
			}
		}
	}
	top := w.top
	if w.take(top-windowSize) || w.take(1) {
		t.Error("an old number is taken")
	}
	if !w.take(top+3*windowSize) || w.take(top+3*windowSize) || !w.take(top+2*windowSize+1) || w.take(top+2*windowSize) {
		t.Error("a leap is not taken well")
	}
}

// TestWindowRest: a sender that was taken for gone goes on where it was, and nothing of before is taken.
func TestWindowRest(t *testing.T) {
	var w windows
	for n := uint64(1); n <= 100; n += 2 {
		w.take("a", n)
	}
	w.rest("a")
	for n := range uint64(100) {
		if w.take("a", n) {
			t.Errorf("%d is taken", n)
		}
	}
	if !w.take("a", 100) || w.take("a", 100) || !w.take("b", 1) {
		t.Error("what comes next is not taken once")
	}
}

func FuzzPass(f *testing.F) {
	value := testPass().sign(testKey, "GET", "/")
	f.Add(value[:strings.LastIndexByte(value, ' ')])
	f.Add("1 release  b 1 1 AAAAbbbbccccddddeeee  true h")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := checkPass(testKey, text, "GET", "/"); err == nil {
			t.Fatalf("%q is taken without the key", text)
		}
		p, err := parsePass(text)
		if err != nil || len(p.Client.Host) > maxHost || len(text)-len(p.Client.Host) > 1<<10 {
			return
		}
		again, err := checkPass(testKey, p.sign(testKey, "GET", "/"), "GET", "/")
		if err != nil || *again != *p {
			t.Fatalf("%q: %+v is not read again: %+v, %v", text, p, again, err)
		}
	})
}
