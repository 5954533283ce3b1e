package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

var streamsVariants = map[string]StreamsOptions{"plain": {}, "sharded": {UseShardedPubSub: true, StreamCount: 3}}

func streamed(opts StreamsOptions) func(prefix string) func(rdb redis.UniversalClient) adapter.Builder {
	return func(prefix string) func(rdb redis.UniversalClient) adapter.Builder {
		opts.StreamName, opts.ChannelPrefix = prefix, prefix
		return func(rdb redis.UniversalClient) adapter.Builder { return NewStreams(rdb, &opts) }
	}
}

func TestStreams(t *testing.T) {
	server := redistest.Single(t)
	for name, opts := range streamsVariants {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, 3, everyNode(func() redis.UniversalClient { return server.Client() }, streamed(opts)))
		})
	}
}

func TestStreamsCluster(t *testing.T) {
	servers := redistest.Cluster(t)
	for name, opts := range streamsVariants {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, 3, everyNode(func() redis.UniversalClient { return servers.Client() }, streamed(opts)))
		})
	}
}

// TestStreamOf has the streams that npm computes.
func TestStreamOf(t *testing.T) {
	for namespace, want := range map[string]string{
		"/": "s-3", "/chat": "s-3", "/admin": "s-0", "/messages": "s-3", "/notifications": "s--3", "/presence": "s--2",
	} {
		if got := streamOf(namespace, "s", 4); got != want {
			t.Errorf("%s: stream %s, want %s", namespace, got, want)
		}
		if got := streamOf(namespace, "s", 1); got != "s" {
			t.Errorf("%s: stream %s", namespace, got)
		}
	}
}

// gate is a dialer that can be closed.
type gate struct{ closed atomic.Bool }

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if g.closed.Load() {
		return nil, errors.New("the gate is closed")
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// reader is a node whose connection to the stream can be cut.
type reader struct {
	*member
	gate
	server *redistest.Server
}

func newReader(t testing.TB, server *redistest.Server, opts StreamsOptions) *reader {
	r := &reader{server: server}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Dialer: r.dial, ClientName: "reader"})
	t.Cleanup(func() { rdb.Close() })
	r.member = join(t, NewStreams(rdb, &opts), "/chat")
	r.connect(t, "s")
	return r
}

// cut ends the connection that waits for entries.
func (r *reader) cut(t testing.TB) {
	t.Helper()
	redistest.Eventually(t, "the stream is read", func() bool {
		clients, _ := r.server.Do("CLIENT", "LIST").(string)
		for line := range strings.Lines(clients) {
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			if strings.Contains(line, "name=reader ") && strings.Contains(line, "cmd=xread ") {
				r.server.Do("CLIENT", "KILL", "ID", id)
				return true
			}
		}
		return false
	})
}

// TestStreamsResume: what is written while a node has no connection arrives when it has one again, once and in order.
func TestStreamsResume(t *testing.T) {
	server := redistest.Single(t)
	from := join(t, NewStreams(clientOf(t, server), nil), "/chat")
	to := newReader(t, server, StreamsOptions{ReadCount: 7})
	var want []string
	for round := range 10 {
		to.closed.Store(true)
		to.cut(t)
		restarts := to.builder.Stats().StreamRestarts
		redistest.Eventually(t, "the end is noticed", func() bool {
			return to.builder.Stats().StreamRestarts > restarts || to.builder.Stats().StreamRestarts > uint64(round)
		})
		for i := range 50 {
			name := fmt.Sprint(round, "-", i)
			send(t, from, name)
			want = append(want, `2/chat,["`+name+`"]`)
		}
		redistest.Eventually(t, "everything is written", func() bool { return server.Do("XLEN", "socket.io") == int64(len(want)) })
		to.closed.Store(false)
		if got := to.hears(t, len(want)); !slices.Equal(got, want) {
			t.Fatalf("round %d: delivered %q, want %q", round, got, want)
		}
	}
	if s := to.builder.Stats(); s.StreamLost != 0 || s.StreamRestarts < 10 {
		t.Errorf("lost %d, %d restarts", s.StreamLost, s.StreamRestarts)
	}
}

// TestStreamsComplainOnce: the reader tries again and again, and tells once that it cannot read.
func TestStreamsComplainOnce(t *testing.T) {
	server := redistest.Single(t)
	from := join(t, NewStreams(clientOf(t, server), nil), "/chat")
	var log logtest.Log
	to := newReader(t, server, StreamsOptions{Options: Options{Logger: log.Logger()}})
	for outage := range 2 {
		send(t, from, "between")
		to.hears(t, outage+1)
		restarts := to.builder.Stats().StreamRestarts
		server.Do("ACL", "SETUSER", "default", "-xread")
		to.cut(t)
		redistest.Eventually(t, "the reader has tried again", func() bool { return to.builder.Stats().StreamRestarts >= restarts+4 })
		if n := log.Count("redis stream cannot be read"); n != outage+1 {
			t.Errorf("told %d times in %d outages", n, outage+1)
		}
		server.Do("ACL", "SETUSER", "default", "+xread")
	}
}

// TestStreamsTrimmed: what was removed before it was read is counted, and the rest arrives.
func TestStreamsTrimmed(t *testing.T) {
	server := redistest.Single(t)
	from := join(t, NewStreams(clientOf(t, server), nil), "/chat")
	to := newReader(t, server, StreamsOptions{})
	send(t, from, "before")
	to.hears(t, 1)
	to.closed.Store(true)
	to.cut(t)
	for i := range 50 {
		send(t, from, fmt.Sprint(i))
	}
	redistest.Eventually(t, "everything is written", func() bool { return server.Do("XLEN", "socket.io") == int64(51) })
	server.Do("XTRIM", "socket.io", "MAXLEN", "10")
	to.closed.Store(false)
	if got := to.hears(t, 11); len(got) != 11 || got[1] != `2/chat,["40"]` {
		t.Errorf("delivered %q", got)
	}
	if s := to.builder.Stats(); s.StreamLost != 40 {
		t.Errorf("%d entries are said to be lost", s.StreamLost)
	}

	// All of it is gone.
	to.closed.Store(true)
	to.cut(t)
	send(t, from, "gone")
	redistest.Eventually(t, "it is written", func() bool { return server.Do("XLEN", "socket.io") == int64(11) })
	server.Do("XTRIM", "socket.io", "MAXLEN", "0")
	to.closed.Store(false)
	redistest.Eventually(t, "the loss is noticed", func() bool { return to.builder.Stats().StreamLost == 41 })
	send(t, from, "after")
	if got := to.hears(t, 12); got[11] != `2/chat,["after"]` {
		t.Errorf("delivered %q", got)
	}
}

// TestStreamsEmptied: a Redis that comes back without its data is no reason to wait for ever.
func TestStreamsEmptied(t *testing.T) {
	server := redistest.Single(t)
	from := join(t, NewStreams(clientOf(t, server), nil), "/chat")
	to := newReader(t, server, StreamsOptions{})
	// An entry of the future, as from a clock that was ahead.
	server.Do("XADD", "socket.io", "99999999999999-0", "uid", "emitter", "nsp", "/chat", "type", "3",
		"data", `{"packet":{"type":2,"data":["future"]},"opts":{"rooms":[],"except":[],"flags":{}}}`)
	to.hears(t, 1)
	to.closed.Store(true)
	to.cut(t)
	server.Do("DEL", "socket.io")
	send(t, from, "present")
	redistest.Eventually(t, "it is written", func() bool { return server.Do("XLEN", "socket.io") == int64(1) })
	to.closed.Store(false)
	redistest.Eventually(t, "the reader is back", func() bool {
		send(t, from, "again")
		return slices.Contains(to.got(), `2/chat,["again"]`)
	})
}

// TestStreamsEntries: entries that are no messages are counted and passed over; those of other namespaces are not looked at.
func TestStreamsEntries(t *testing.T) {
	server := redistest.Single(t)
	m := newReader(t, server, StreamsOptions{})
	add := func(fields ...any) { server.Do(append([]any{"XADD", "socket.io", "*"}, fields...)...) }
	add("some", "thing")
	add("uid", "u", "nsp", "/chat", "type", "3")
	add("uid", "u", "nsp", "/chat", "type", "3", "data", "{")
	add("uid", "u", "nsp", "/chat", "type", "x", "data", "{}")
	add("uid", "u", "nsp", "/other", "type", "3", "data", "{")
	add("uid", "u", "nsp", "/chat", "type", "2")
	add("uid", "u", "nsp", "/chat", "type", "3", "data", `{"packet":{"type":2,"data":["good"]},"opts":{"rooms":[],"except":[]}}`)
	if got := m.hears(t, 1); !slices.Equal(got, []string{`2/chat,["good"]`}) {
		t.Errorf("delivered %q", got)
	}
	if s := m.builder.Stats(); s.BadFrames != 3 || s.Foreign != 1 {
		t.Errorf("%d bad, %d foreign", s.BadFrames, s.Foreign)
	}
}

// TestStreamsMaxLen: the stream is kept short by those who write, even if others are too slow for it.
func TestStreamsMaxLen(t *testing.T) {
	server := redistest.Single(t)
	opts := StreamsOptions{MaxLen: 100, ReadCount: 50}
	from, to := join(t, NewStreams(clientOf(t, server), &opts), "/chat"), join(t, NewStreams(clientOf(t, server), &opts), "/chat")
	to.connect(t, "s")
	for i := range 1000 {
		send(t, from, fmt.Sprint(i))
	}
	// A reader may be overtaken, and then knows of how many entries.
	redistest.Eventually(t, "all are read or known to be lost", func() bool {
		return len(to.got())+int(to.builder.Stats().StreamLost) == 1000
	})
	if n := server.Do("XLEN", "socket.io").(int64); n < 100 || n > 300 {
		t.Errorf("the stream has %d entries", n)
	}
}

// TestStreamsNamespaces: namespaces come and go, the readers with them; goleak is the judge of the end.
func TestStreamsNamespaces(t *testing.T) {
	server := redistest.Single(t)
	a := NewStreams(clientOf(t, server), &StreamsOptions{StreamCount: 4})
	b := NewStreams(clientOf(t, server), &StreamsOptions{StreamCount: 4})
	for round := range 3 {
		for _, namespace := range []string{"/", "/presence", "/chat"} {
			from, to := join(t, a, namespace), join(t, b, namespace)
			to.connect(t, "s")
			send(t, from, fmt.Sprint(round))
			to.hears(t, 1)
			for _, m := range []*member{from, to} {
				if err := m.adapter.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// stopper ends something with the first packet.
type stopper struct {
	*witness
	stop func()
}

func (l stopper) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	l.witness.Deliver(p, sel, flags)
	l.stop()
}

// TestStreamsEnd ends a reader in the middle of what it has read at once: nothing of it is delivered afterwards.
func TestStreamsEnd(t *testing.T) {
	server := redistest.Single(t)
	s := NewStreams(clientOf(t, server), nil)
	ctx, stop := context.WithCancel(within(t))
	defer stop()
	local := stopper{newWitness("/chat"), stop}
	adapterOf(t, s, local)
	local.Connect("s")
	r := newStreamReader(ctx, streamsOf(s), "other")
	ended := make(chan error, 1)
	go func() { ended <- r.read(ctx) }()
	redistest.Eventually(t, "the end of the stream is known", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.located
	})
	server.Do("EVAL", `for i = 1, 3 do redis.call("XADD", KEYS[1], "*", "uid", "u", "nsp", "/chat", "type", "3", "data", ARGV[1]) end return 3`,
		1, "other", `{"packet":{"type":2,"data":["once"]},"opts":{"rooms":[],"except":[]}}`)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("reading ended with %v", err)
	}
	if got := local.got(); len(got) != 1 {
		t.Errorf("delivered %q, want the first of three", got)
	}
}

// TestStreamsNotReached opens and closes a namespace while Redis cannot be reached: nothing of it stays.
func TestStreamsNotReached(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Dialer: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no network")
	}})
	t.Cleanup(func() { rdb.Close() })
	s := NewStreams(rdb, nil)
	var adapters []adapter.Adapter
	for _, namespace := range []string{"/", "/passing"} {
		adapters = append(adapters, adapterOf(t, s, newWitness(namespace)))
	}
	waiting := func() int {
		r := streamsOf(s).reading.readers["socket.io"]
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.waiting)
	}
	if n := waiting(); n != 2 {
		t.Fatalf("%d namespaces wait for the stream, want 2", n)
	}
	if err := adapters[1].Close(); err != nil {
		t.Fatal(err)
	}
	if n := waiting(); n != 1 {
		t.Errorf("%d namespaces wait for the stream, want 1", n)
	}
}

func TestStreamsOptions(t *testing.T) {
	for _, opts := range []StreamsOptions{{StreamCount: -1}, {MaxLen: -1}, {ReadCount: -1}, {BlockTime: time.Microsecond}} {
		if c, err := NewStreams(idle(t), &opts).Open(adapter.Node{ID: "a", Name: "a"}, nil); err == nil {
			c.Close()
			t.Errorf("%+v are taken", opts)
		}
	}
	if err := NewStreamsEmitter(idle(t), &StreamsEmitterOptions{StreamCount: -1}).Emit(context.Background(), "x"); err == nil {
		t.Error("an emitter takes a negative number of streams")
	}
}

func TestSessions(t *testing.T) {
	server := redistest.Single(t)
	store := NewStreams(clientOf(t, server), &StreamsOptions{SessionKeyPrefix: "p:"}).Sessions()
	ctx := within(t)
	s := &adapter.Session{SocketID: idLike, PID: "secret", Rooms: []string{idLike, "room"}, Data: parser.Payload{JSON: []byte(`{"n":1}`)}}
	if got, err := store.Load(ctx, "secret"); err != nil || got != nil {
		t.Fatalf("loaded %+v, %v", got, err)
	}
	for range 2 {
		if err := store.Save(ctx, s, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if ttl, ok := server.Do("PTTL", "p:secret").(int64); !ok || ttl <= 0 || ttl > 60_000 {
		t.Errorf("time to live %v", ttl)
	}
	for range 2 {
		if got, err := store.Load(ctx, "secret"); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("loaded %+v, %v, want %+v", got, err, s)
		}
	}
	for _, want := range []bool{true, false} {
		if got, err := store.Delete(ctx, "secret"); err != nil || got != want {
			t.Errorf("deleted %v, %v, want %v", got, err, want)
		}
	}
	server.Do("SET", "p:bad", "!")
	if got, err := store.Load(ctx, "bad"); err == nil {
		t.Errorf("loaded %+v", got)
	}
	server.Kill()
	if _, err := store.Load(ctx, "secret"); err == nil {
		t.Error("loaded without a server")
	}
	if store.Save(ctx, s, time.Minute) == nil {
		t.Error("saved without a server")
	}
	if _, err := store.Delete(ctx, "secret"); err == nil {
		t.Error("deleted without a server")
	}
}

// streamsOf returns what the only server of a builder reads.
func streamsOf(s *Streams) *streams { return s.builder.servers.Open()[0].streams }
