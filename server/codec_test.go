package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// toy is a codec for tests. A packet is one binary message of netstrings (https://cr.yp.to/proto/netstrings.txt): "toy"
// with the type, the namespace, the acknowledgement id, the JSON, and then each attachment.
type toy struct{}

func (toy) NewDecoder() parser.Decoder { return toyDecoder{} }

func (toy) Recognizes(first []byte, binary bool) bool {
	return binary && bytes.HasPrefix(first, []byte("4:toy0,"))
}

func (toy) Append(dst []byte, p parser.Packet) ([]byte, parser.Form, error) {
	id := ""
	if p.ID >= 0 {
		id = strconv.FormatInt(p.ID, 10)
	}
	parts := append([][]byte{[]byte("toy" + strconv.Itoa(int(p.Type))), []byte(p.Namespace), []byte(id), p.JSON}, p.Attachments...)
	for _, part := range parts {
		dst = fmt.Appendf(dst, "%d:%s,", len(part), part)
	}
	return dst, parser.BinaryAlone, nil
}

// toyDecoder leaves everything that Packet.Check looks at to those who call it.
type toyDecoder struct{}

func (toyDecoder) Text(*parser.Limits, []byte) (*parser.Packet, error) {
	return nil, parser.ErrUnexpectedText
}

func (toyDecoder) Binary(lim *parser.Limits, data []byte) (*parser.Packet, error) {
	var parts [][]byte
	for rest := bytes.Clone(data); len(rest) > 0; {
		size, after, _ := bytes.Cut(rest, []byte(":"))
		n, err := strconv.ParseUint(string(size), 10, 31)
		if err != nil || n >= uint64(len(after)) || after[n] != ',' {
			return nil, errors.New("toy: no netstring")
		}
		parts, rest = append(parts, after[:n:n]), after[n+1:]
	}
	if len(parts) < 4 || len(parts) > 4+lim.MaxAttachments || len(parts[0]) != 4 || !bytes.HasPrefix(parts[0], []byte("toy")) {
		return nil, errors.New("toy: not the parts of a packet")
	}
	p := parser.NewPacket()
	p.Type, p.Namespace, p.ID = parser.Type(parts[0][3]-'0'), string(parts[1]), parser.NoID
	if id, err := strconv.ParseInt(string(parts[2]), 10, 64); err == nil {
		p.ID = id
	}
	p.Payload = parser.Payload{JSON: parts[3], Attachments: parts[4:]}
	return p, nil
}

func (toyDecoder) Incomplete() (string, int64) { return "", 0 }

func FuzzToyDecoder(f *testing.F) {
	for _, p := range []parser.Packet{
		{Type: parser.Connect, Namespace: "/", ID: parser.NoID},
		{Type: parser.Event, Namespace: "/a", ID: 7, Payload: parser.Payload{JSON: []byte(`["e",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1, 2}}}},
	} {
		data, _, _ := toy{}.Append(nil, p)
		f.Add(data)
	}
	f.Add([]byte("4:toy2,1:/,0:,99999999999999999999:,"))
	lim := parser.Limits{}.WithDefaults()
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := toyDecoder{}.Binary(&lim, data)
		if err != nil || p.Check(&lim) != nil {
			return
		}
		again, _, _ := toy{}.Append(nil, *p)
		q, err := toyDecoder{}.Binary(&lim, again)
		if err != nil || q.Check(&lim) != nil || q.Type != p.Type || q.Namespace != p.Namespace || max(q.ID, -1) != max(p.ID, -1) ||
			!bytes.Equal(q.JSON, p.JSON) || !slices.EqualFunc(q.Attachments, p.Attachments, bytes.Equal) {
			t.Fatalf("got %+v, %v\nwant %+v", q, err, p)
		}
	})
}

// codecServer is a server for JSON and a second codec.
func codecServer(t testing.TB, codecs ...parser.Codec) (*server.Server, *servertest.Server) {
	t.Helper()
	srv, err := server.New(&server.Options{Codecs: codecs, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return srv, servertest.New(t, srv, nil)
}

// TestCodecs lets clients of two encodings do everything there is to do, with each other, over both transports.
func TestCodecs(t *testing.T) {
	for _, transport := range []string{engine.TransportWebSocket, engine.TransportPolling} {
		t.Run(transport, func(t *testing.T) {
			srv, ts := codecServer(t, parser.JSON{}, toy{})
			main := srv.Of("/")
			reasons := make(chan string, 4)
			main.OnDisconnect(func(_ context.Context, _ *server.Socket, reason server.Reason) { reasons <- string(reason) })
			main.OnConnection(func(ctx context.Context, s *server.Socket) {
				_ = s.Join(ctx, "room")
				_ = s.Emit("joined")
			})
			main.Handle("relay", server.Func(func(_ context.Context, _ *server.Socket, args server.Args) error {
				return main.To("room").Emit("relayed", args)
			}))
			main.Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, args server.Args) (server.Args, error) { return args, nil }))
			srv.Of("/guarded").Use(func(_ context.Context, s *server.Socket) error {
				return &server.ClientError{Message: "no", Data: json.RawMessage(s.Auth())}
			})
			clients := []*servertest.Client{
				ts.Dial(t, &servertest.DialOptions{Transport: transport}),
				ts.Dial(t, &servertest.DialOptions{Transport: transport, Codec: toy{}}),
			}
			var sockets []*servertest.Socket
			for _, c := range clients {
				sockets = append(sockets, c.Connect("/", nil))
			}
			for _, s := range sockets {
				s.Expect("joined")
			}
			binary := []any{"é\U0001f600", []byte{0, 1, 255}, map[string]any{"deep": []any{[]byte("x"), 1.5, nil}}, json.RawMessage(`[1.50,9007199254740993,"\ud800"]`)}
			for _, s := range sockets {
				if got := s.EmitWithAck("echo", binary...); got.Len() != len(binary) || string(got.At(3).JSON) != `[1.50,9007199254740993,"\ud800"]` {
					t.Errorf("echo: %d arguments, the last %s", got.Len(), got.At(3).JSON)
				}
				s.Emit("relay", binary...)
				for _, to := range sockets {
					to.Expect("relayed", binary...)
				}
			}
			askBoth(t, main, sockets)
			for i, c := range clients {
				refusal := c.ConnectRefused("/guarded", map[string]int{"client": i})
				if data, _ := refusal.Data.(map[string]any); refusal.Message != "no" || data["client"] != float64(i) {
					t.Errorf("refused with %+v", refusal)
				}
				if refusal = c.ConnectRefused("/nowhere", nil); refusal.Message != "Invalid namespace" {
					t.Errorf("refused with %+v", refusal)
				}
			}
			for _, s := range sockets {
				s.Disconnect()
				if got := await(t, reasons); got != string(server.ReasonClientDisconnect) {
					t.Errorf("reason %q", got)
				}
				again := s.Client().Connect("/", nil)
				there, _ := main.Socket(again.ID())
				there.Disconnect()
				again.ExpectDisconnect()
				if got := await(t, reasons); got != string(server.ReasonServerDisconnect) {
					t.Errorf("reason %q", got)
				}
			}
			if s := srv.Stats(); s.ParseErrors+s.EncodeFailures+s.Panics+s.UnknownAcks != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// askBoth waits for acknowledgements of clients of both encodings, of each by itself and of both together.
func askBoth(t *testing.T, main *server.Namespace, sockets []*servertest.Socket) {
	t.Helper()
	answers := make(chan error, 1)
	for _, s := range sockets {
		there, _ := main.Socket(s.ID())
		go func() {
			got, err := server.EmitWithAck[[]byte](t.Context(), there, "one", []byte("?"))
			if err == nil && string(got) != s.ID() {
				err = fmt.Errorf("answer %q", got)
			}
			answers <- err
		}()
		s.Expect("one", []byte("?")).Ack([]byte(s.ID()))
		if err := await(t, answers); err != nil {
			t.Error(err)
		}
	}
	go func() {
		replies, err := server.BroadcastWithAck[string](t.Context(), main.To("room"), "all", []byte("?"))
		if err == nil && (len(replies.Values) != 2 || len(replies.Failed) != 0) {
			err = fmt.Errorf("replies %+v", replies)
		}
		answers <- err
	}()
	for _, s := range sockets {
		s.Expect("all", []byte("?")).Ack(s.ID())
	}
	if err := await(t, answers); err != nil {
		t.Error(err)
	}
}

// counting counts what a codec is asked to encode.
type counting struct {
	parser.Codec
	appended *atomic.Int32
}

func (c counting) Append(dst []byte, p parser.Packet) ([]byte, parser.Form, error) {
	c.appended.Add(1)
	return c.Codec.Append(dst, p)
}

// TestEncodeOncePerCodec broadcasts to many clients of some codecs. One that nobody in the room speaks has nothing to do.
func TestEncodeOncePerCodec(t *testing.T) {
	var texts, toys, idle atomic.Int32
	srv, ts := codecServer(t, counting{parser.JSON{}, &texts}, counting{toy{}, &toys}, counting{plain{}, &idle})
	srv.Of("/").OnConnection(func(ctx context.Context, s *server.Socket) {
		_ = s.Join(ctx, "room")
		_ = s.Emit("joined")
	})
	var sockets []*servertest.Socket
	for i := range 10 {
		s := ts.Dial(t, &servertest.DialOptions{Codec: []parser.Codec{parser.JSON{}, toy{}}[i%2]}).Connect("/", nil)
		s.Expect("joined")
		sockets = append(sockets, s)
	}
	for _, c := range []*atomic.Int32{&texts, &toys, &idle} {
		c.Store(0)
	}
	if err := srv.Of("/").To("room").Emit("news", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		s.Expect("news", []byte("x"))
	}
	if a, b, c := texts.Load(), toys.Load(), idle.Load(); a != 1 || b != 1 || c != 0 {
		t.Errorf("encoded %d, %d and %d times", a, b, c)
	}
}

// plain is a codec of texts without attachments, such as the documentation of Node has for an example.
type plain struct{}

type plainPacket struct {
	Type      parser.Type     `json:"type"`
	Namespace string          `json:"nsp"`
	ID        *int64          `json:"id,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

func (plain) NewDecoder() parser.Decoder { return plainDecoder{} }

func (plain) Recognizes(first []byte, binary bool) bool {
	return !binary && len(first) > 0 && first[0] == '{'
}

func (plain) Append(dst []byte, p parser.Packet) ([]byte, parser.Form, error) {
	data, err := p.Inline()
	if err != nil {
		return nil, 0, err
	}
	out := plainPacket{p.Type, p.Namespace, nil, data.JSON}
	if p.ID >= 0 {
		out.ID = &p.ID
	}
	text, err := json.Marshal(out)
	return append(dst, text...), parser.TextAlone, err
}

type plainDecoder struct{ toyDecoder }

func (plainDecoder) Text(_ *parser.Limits, data []byte) (*parser.Packet, error) {
	var in plainPacket
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, err
	}
	p := &parser.Packet{Type: in.Type, Namespace: in.Namespace, ID: parser.NoID, Payload: parser.Payload{JSON: in.Data}}
	if in.ID != nil {
		p.ID = *in.ID
	}
	return p, nil
}

// TestTextAlone has the third form, and a packet with binary data that the other side reads as JSON.
func TestTextAlone(t *testing.T) {
	srv, ts := codecServer(t, toy{}, plain{}, parser.JSON{})
	srv.Of("/").Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, args server.Args) (server.Args, error) { return args, nil }))
	s := ts.Dial(t, &servertest.DialOptions{Codec: plain{}}).Connect("/", nil)
	if got := s.EmitWithAck("echo", 1, "two"); got.Len() != 2 || string(got.At(1).JSON) != `"two"` {
		t.Errorf("got %v", got)
	}
	if err := srv.Of("/").Emit("bytes", []byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	s.Expect("bytes", json.RawMessage(`{"type":"Buffer","data":[1,2]}`))
	// The default takes what nobody recognizes, and refuses it.
	for _, first := range []string{`42["a"]`, "4x"} {
		c := ts.Dial(t, nil)
		c.Send(first)
		c.ExpectClosed()
	}
	if n := srv.Stats().ParseErrors; n != 2 {
		t.Errorf("%d parse errors", n)
	}
	// The others are served as before.
	ts.Connect(t, "/", nil)
	ts.Dial(t, &servertest.DialOptions{Codec: toy{}}).Connect("/", nil)
}

// unasked is a codec that must not be asked what it recognizes.
type unasked struct {
	toy
	t *testing.T
}

func (u unasked) Recognizes([]byte, bool) bool {
	u.t.Error("asked")
	return false
}

// TestSingleCodec serves one codec alone, as Node does with its option parser: it is not asked what it recognizes.
func TestSingleCodec(t *testing.T) {
	srv, ts := codecServer(t, unasked{t: t})
	c := ts.Dial(t, nil)
	c.Send("40")
	c.ExpectClosed()
	if n := srv.Stats().ParseErrors; n != 1 {
		t.Errorf("%d parse errors", n)
	}
	ts.Dial(t, &servertest.DialOptions{Codec: toy{}}).Connect("/", nil)
}

// TestHostileToy sends what the toy's decoder lets pass, or chokes on. The connection must end, and nobody else hear of it.
func TestHostileToy(t *testing.T) {
	const connect = "4:toy0,1:/,0:,0:,"
	srv, ts := codecServer(t, parser.JSON{}, toy{})
	main := srv.Of("/")
	main.HandleAny(func(_ context.Context, _ *server.Socket, e *server.Event) { _ = main.Emit("heard", e.Name, e.Args) })
	witness := ts.Connect(t, "/", nil)
	packet := func(kind parser.Type, namespace string, id int64, text string, attachments ...[]byte) string {
		data, _, _ := toy{}.Append(nil, parser.Packet{Type: kind, Namespace: namespace, ID: id, Payload: parser.Payload{JSON: []byte(text), Attachments: attachments}})
		return string(data)
	}
	event := func(text string) string { return packet(parser.Event, "/", parser.NoID, text) }
	const slot = `{"_placeholder":true,"num":0}`
	messages := []string{
		"", ":", "4:toy2", "4:toy2,", "9999999999:,", "-1:,", "4:toy2,1:/,0:,", "3:toy,1:/,0:,0:,",
		event("["), event("[]"), event("{}"), event("[null]"), event(`["connect"]`), event(` ["a"]`), event("[\"\xff\"]"), event(`["a"]x`),
		event("[\"a\"," + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "]"),
		packet(parser.Event, "/", 1<<53, `["a"]`), packet(parser.Event, "/other", 1, `["a"]`),
		packet(parser.Event, "/", 1, `["a",`+slot+`,{"_placeholder":true,"num":1}]`, []byte("x")),
		event(`["a"]`) + strings.Repeat("0:,", 11), // too many attachments
		packet(parser.BinaryEvent, "/", 1, `["a"]`), packet(parser.Disconnect, "/", 1, "{}"), packet(parser.ConnectError, "/", 1, "{}"),
		packet(parser.Connect, "/", 1, ""), packet(parser.Connect, "/a,b", 1, ""), packet(parser.Connect, "a", 1, ""),
		packet(parser.Connect, "/\xff", 1, ""), packet(parser.Connect, "/b", 1, "[]"), packet(parser.Connect, "/b", 1, slot, []byte("x")),
	}
	for _, m := range messages {
		c := ts.Dial(t, nil)
		c.SendBinary([]byte(connect))
		if got := c.Next(); !got.Binary || !strings.HasPrefix(got.Data, connect[:len("4:toy0,1:/,0:,")]) {
			t.Fatalf("answer to CONNECT: %v", got)
		}
		c.SendBinary([]byte(m))
		c.ExpectClosed()
	}
	text := ts.Dial(t, nil)
	text.SendBinary([]byte(connect))
	text.Next()
	text.Send(`42["a"]`) // the other codec in the middle
	text.ExpectClosed()
	last := ts.Dial(t, &servertest.DialOptions{Codec: toy{}}).Connect("/", nil)
	last.Emit("fence", 1)
	witness.Expect("heard", "fence", 1)
	if s := srv.Stats(); s.Panics != 0 || s.Engine.InputBytes != 0 {
		t.Errorf("stats %+v", s)
	}
}
