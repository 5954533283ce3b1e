package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// broken is the toy with faults.
type broken struct {
	toy
	decode     func(data []byte) (*parser.Packet, error) // nil means the toy's
	incomplete func() (string, int64)
	append     func(p *parser.Packet) (parser.Form, error) // nil means the toy's
	panics     bool                                        // of what New and Recognizes do
}

func (b broken) Recognizes(first []byte, binary bool) bool {
	if b.panics {
		panic("Recognizes")
	}
	return b.toy.Recognizes(first, binary)
}

func (b broken) NewDecoder() parser.Decoder {
	if b.panics {
		panic("NewDecoder")
	}
	return brokenDecoder{codec: b}
}

func (b broken) Append(dst []byte, p parser.Packet) ([]byte, parser.Form, error) {
	if b.append != nil {
		if form, err := b.append(&p); form != parser.BinaryAlone || err != nil {
			return dst, form, err
		}
	}
	return b.toy.Append(dst, p)
}

type brokenDecoder struct {
	toyDecoder
	codec broken
}

func (d brokenDecoder) Binary(lim *parser.Limits, data []byte) (*parser.Packet, error) {
	if p, err := d.toyDecoder.Binary(lim, data); d.codec.decode == nil || err == nil && p.Type == parser.Connect {
		return p, err
	}
	return d.codec.decode(data)
}

func (d brokenDecoder) Incomplete() (string, int64) { return d.codec.incomplete() }

// TestBrokenDecoder has codecs that break their contract. The connection ends as for a packet that breaks the protocol.
func TestBrokenDecoder(t *testing.T) {
	more := func([]byte) (*parser.Packet, error) { return nil, nil }
	for name, codec := range map[string]broken{
		"panic":                   {decode: func([]byte) (*parser.Packet, error) { panic("Binary") }},
		"packet beside an error":  {decode: func([]byte) (*parser.Packet, error) { return new(parser.Packet), errors.New("no") }},
		"waits for no namespace":  {decode: more, incomplete: func() (string, int64) { return "", 0 }},
		"waits for an unknown":    {decode: more, incomplete: func() (string, int64) { return "/other", 1 }},
		"holds less than nothing": {decode: more, incomplete: func() (string, int64) { return "/", -1 }},
		"holds too much":          {decode: more, incomplete: func() (string, int64) { return "/", 11_000_001 }},
		"panic about the rest":    {decode: more, incomplete: func() (string, int64) { panic("Incomplete") }},
	} {
		t.Run(name, func(t *testing.T) {
			srv, ts := codecServer(t, parser.JSON{}, codec)
			s := ts.Dial(t, &servertest.DialOptions{Codec: toy{}}).Connect("/", nil)
			s.Emit("anything")
			s.Client().ExpectClosed()
			stats := srv.Stats()
			if want := strings.HasPrefix(name, "panic"); stats.Panics > 0 != want || stats.Engine.InputBytes != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
	t.Run("panic at once", func(t *testing.T) {
		srv, ts := codecServer(t, broken{panics: true}, parser.JSON{})
		ts.Connect(t, "/", nil) // the other codec works
		c := ts.Dial(t, nil)
		c.Send("4?")
		c.ExpectClosed()
		if n := srv.Stats().Panics; n != 4 { // two first messages, the decoder, its use
			t.Errorf("%d panics", n)
		}
	})
}

// TestIncompleteToy has a codec whose packets come in two messages. What it holds is charged, and not for ever.
func TestIncompleteToy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits atomic.Bool
		codec := broken{
			decode: func(data []byte) (*parser.Packet, error) {
				if waits.Swap(!waits.Load()) {
					return &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["whole"]`)}}, nil
				}
				return nil, nil
			},
			incomplete: func() (string, int64) { return "/", 100 },
		}
		srv, ts := codecServer(t, parser.JSON{}, codec)
		heard := make(chan struct{}, 1)
		srv.Of("/").Handle("whole", server.Func(func(context.Context, *server.Socket, server.None) error {
			heard <- struct{}{}
			return nil
		}))
		c := ts.Dial(t, &servertest.DialOptions{Codec: toy{}})
		c.Connect("/", nil)
		c.SendBinary([]byte("first"))
		synctest.Wait()
		if n := srv.Stats().Engine.InputBytes; n != 100 {
			t.Errorf("%d bytes are charged", n)
		}
		c.SendBinary([]byte("second"))
		<-heard
		synctest.Wait()
		if n := srv.Stats().Engine.InputBytes; n != 0 {
			t.Errorf("%d bytes are charged for a complete packet", n)
		}
		c.SendBinary([]byte("first, and no second"))
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		c.ExpectClosed()
		if s := srv.Stats(); s.Incomplete != 1 || s.Engine.InputBytes != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestBrokenAppend has a codec that cannot encode some packets. Its clients miss them, nobody else does, and whoever sends
// to one of them alone or waits for an acknowledgement is told.
func TestBrokenAppend(t *testing.T) {
	fails := errors.New("cannot")
	for name, fault := range map[string]func() (parser.Form, error){
		"error":        func() (parser.Form, error) { return 0, fails },
		"panic":        func() (parser.Form, error) { panic("Append") },
		"unknown form": func() (parser.Form, error) { return 77, nil },
	} {
		t.Run(name, func(t *testing.T) {
			codec := broken{append: func(p *parser.Packet) (parser.Form, error) {
				if strings.Contains(string(p.JSON), "bad") {
					return fault()
				}
				return parser.BinaryAlone, nil
			}}
			srv, ts := codecServer(t, parser.JSON{}, codec)
			main := srv.Of("/")
			healthy := ts.Connect(t, "/", nil)
			sick := ts.Dial(t, &servertest.DialOptions{Codec: toy{}}).Connect("/", nil)
			there, _ := main.Socket(sick.ID())
			if err := there.Emit("bad"); err == nil || name == "error" && !errors.Is(err, fails) {
				t.Errorf("emit: %v", err)
			}
			if _, err := server.EmitWithAck[server.None](t.Context(), there, "bad"); err == nil {
				t.Error("EmitWithAck found nothing wrong")
			}
			if err := main.Emit("bad"); err != nil {
				t.Errorf("broadcast: %v", err)
			}
			healthy.Expect("bad")
			answered := make(chan error, 1)
			go func() {
				replies, err := server.BroadcastWithAck[int](t.Context(), main, "bad")
				if len(replies.Values) != 1 || len(replies.Failed) != 1 || replies.Failed[0] != sick.ID() {
					t.Errorf("replies %+v", replies)
				}
				answered <- err
			}()
			healthy.Expect("bad").Ack(1)
			if err := await(t, answered); !errors.Is(err, server.ErrAckMissing) {
				t.Errorf("broadcast with acknowledgement: %v", err)
			}
			if err := main.Emit("good"); err != nil {
				t.Error(err)
			}
			sick.Expect("good")
			if n := srv.Stats().EncodeFailures; n != 4 {
				t.Errorf("%d failures", n)
			}
		})
	}
}

// TestBrokenControl has a codec that cannot tell a client of its own connect, refusal or disconnect: the client would take
// itself for something that it is not, so that it must go.
func TestBrokenControl(t *testing.T) {
	for _, kind := range []parser.Type{parser.Connect, parser.ConnectError, parser.Disconnect} {
		for _, middleware := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, middleware %v", kind, middleware), func(t *testing.T) {
				srv, ts := codecServer(t, parser.JSON{}, broken{append: func(p *parser.Packet) (parser.Form, error) {
					if p.Type == kind {
						return 0, errors.New("cannot")
					}
					return parser.BinaryAlone, nil
				}})
				main := srv.Of("/")
				if middleware {
					main.Use(func(context.Context, *server.Socket) error { return nil })
				}
				c := ts.Dial(t, &servertest.DialOptions{Codec: toy{}})
				switch kind {
				case parser.Connect:
					main.OnConnection(func(context.Context, *server.Socket) { t.Error("connected") })
					c.SendBinary([]byte("4:toy0,1:/,0:,0:,"))
				case parser.ConnectError:
					c.SendBinary([]byte("4:toy0,2:/x,0:,0:,"))
				case parser.Disconnect:
					s, _ := main.Socket(c.Connect("/", nil).ID())
					s.Disconnect()
				}
				c.ExpectClosed()
				eventually(t, "gone", func() bool { return len(main.Sockets()) == 0 })
				if n := srv.Stats().EncodeFailures; n != 1 {
					t.Errorf("%d failures", n)
				}
			})
		}
	}
}

func TestCodecOptions(t *testing.T) {
	for want, list := range map[string][]parser.Codec{
		"options: no codec in Codecs[1]":                   {toy{}, nil},
		"options: too many Codecs, 9 instead of at most 8": make([]parser.Codec, 9),
	} {
		if _, err := server.New(&server.Options{Codecs: list}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	list := []parser.Codec{toy{}}
	srv, err := server.New(&server.Options{Codecs: list, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	list[0] = nil // the server has a copy
	servertest.New(t, srv, nil).Dial(t, &servertest.DialOptions{Codec: toy{}}).Connect("/", nil)
}
