package server_test

import (
	"context"
	"errors"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// startCluster runs three servers in one cluster, named a, b and c.
func startCluster(t *testing.T, opts server.Options) (nodes [3]*node, cluster *adaptertest.Cluster) {
	t.Helper()
	cluster = new(adaptertest.Cluster)
	for i := range nodes {
		o := opts
		o.Adapter = cluster.Node(adapter.NodeID(rune('a' + i)))
		nodes[i] = start(t, &o)
	}
	for _, n := range nodes {
		acquaint(t, n, len(nodes)-1)
	}
	return nodes, cluster
}

// acquaint waits until a node knows that as many others serve the main namespace.
func acquaint(t *testing.T, n *node, others int) {
	t.Helper()
	known := make(chan string, 64)
	defer n.OnNodeChange(func(c adapter.NodeChange) {
		if slices.Contains(c.Served, "/") {
			known <- c.Node.Name
		}
	})()
	for range others {
		await(t, known)
	}
}

func TestServerSideEmit(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	log := make(chan string, 16)
	for i, name := range []string{"a", "b", "c"} {
		main := nodes[i].Of("/")
		main.HandleServerSide("note", server.ServerSideFunc(func(_ context.Context, a server.Args2[string, []byte]) error {
			log <- name + " " + a.First + string(a.Second)
			return nil
		}))
		remove := main.HandleServerSide("note", server.ServerSideFunc(func(context.Context, server.None) error {
			log <- "removed"
			return nil
		}))
		remove()
		main.HandleServerSide("bad", server.ServerSideFunc(func(context.Context, int) error { log <- "bad"; return nil }))
		main.HandleServerSide("fails", server.ServerSideFunc(func(context.Context, server.None) error { return errors.New("no") }))
		main.HandleServerSide("panics", server.ServerSideFunc(func(context.Context, server.None) error { panic("no") }))
		main.HandleServerSide("exits", server.ServerSideFunc(func(context.Context, server.None) error { runtime.Goexit(); return nil }))
	}
	first := nodes[0].Of("/")
	for _, event := range []string{"fails", "panics", "exits", "unknown"} {
		if err := first.ServerSideEmit(event); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(first.ServerSideEmit("bad", "text"), first.ServerSideEmit("note", "x", []byte("y"))); err != nil {
		t.Fatal(err)
	}
	got := []string{await(t, log), await(t, log)}
	slices.Sort(got)
	if !slices.Equal(got, []string{"b xy", "c xy"}) {
		t.Errorf("handled: %v", got)
	}
	for _, n := range nodes[1:] {
		eventually(t, "the worker ends", func() bool { return n.Stats().Workers == 0 })
		if s := n.Stats(); s.Failures != 2 || s.Panics != 2 {
			t.Errorf("afterwards: %+v", s)
		}
	}
	for _, event := range []string{"connect", "connection", "new_namespace"} {
		if err := first.ServerSideEmit(event); !errors.Is(err, server.ErrReservedEvent) {
			t.Errorf("%s: %v", event, err)
		}
	}
}

// TestServerSideOrder sends faster than the handlers work.
func TestServerSideOrder(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	numbers := make(chan int, 1000)
	nodes[1].Of("/").HandleServerSide("n", server.ServerSideFunc(func(_ context.Context, n int) error {
		numbers <- n
		return nil
	}))
	for i := range 1000 {
		if err := nodes[0].Of("/").ServerSideEmit("n", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		if n := await(t, numbers); n != i {
			t.Fatalf("number %d, want %d", n, i)
		}
	}
}

// TestServerSideLate: what an adapter still hands on when it has been closed is not handled: Shutdown has waited for all workers.
func TestServerSideLate(t *testing.T) {
	var local adapter.Local
	srv, err := server.New(&server.Options{Logger: quiet(), Adapter: adapter.BuilderFunc(func(l adapter.Local) (adapter.Adapter, error) {
		local = l
		return adapter.NewMemory(l), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	handled := make(chan int, 2)
	srv.Of("/").HandleServerSide("n", server.ServerSideFunc(func(_ context.Context, n int) error {
		handled <- n
		return nil
	}))
	event := parser.Payload{JSON: []byte(`["n",1]`)}
	if over := local.OnServerSideEmit(event, nil); over == nil {
		t.Fatal("an event is not queued")
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(handled) != 1 {
		t.Errorf("%d events were handled when the server had ended, want 1", len(handled))
	}
	if over := local.OnServerSideEmit(event, nil); over != nil || srv.Stats().Workers != 0 {
		t.Errorf("an event that comes after the end is handled: %+v", srv.Stats())
	}
}

func TestServerSideEmitWithAck(t *testing.T) {
	nodes, cluster := startCluster(t, server.Options{})
	for i, n := range nodes {
		main := n.Of("/")
		main.HandleServerSide("double", server.ServerSideFuncAck(func(_ context.Context, v int) (int, error) { return v * 2, nil }))
		main.HandleServerSide("where", server.ServerSideFuncAck(func(context.Context, server.None) (int, error) { return i, nil }))
		main.HandleServerSide("fails on c", server.ServerSideFuncAck(func(context.Context, server.None) (int, error) {
			if i == 2 {
				return 0, errors.New("no")
			}
			return i, nil
		}))
		main.HandleServerSide("nothing", server.ServerSideFuncAck(func(context.Context, server.None) (server.None, error) { return server.None{}, nil }))
	}
	first := nodes[0].Of("/")
	r, err := server.ServerSideEmitWithAck[int](t.Context(), first, "double", 21)
	if err != nil || !slices.Equal(r.Values, []int{42, 42}) || !r.Complete() {
		t.Errorf("double: %+v, %v", r, err)
	}
	r, err = server.ServerSideEmitWithAck[int](t.Context(), first, "where")
	slices.Sort(r.Values)
	if err != nil || !slices.Equal(r.Values, []int{1, 2}) {
		t.Errorf("where: %+v, %v", r, err)
	}
	if r, err := server.ServerSideEmitWithAck[*int](t.Context(), first, "nothing"); err != nil || len(r.Values) != 2 || r.Values[0] != nil {
		t.Errorf("nothing: %+v, %v", r, err)
	}
	if r, err := server.ServerSideEmitWithAck[[]int](t.Context(), first, "where"); !errors.Is(err, server.ErrInvalidArguments) {
		t.Errorf("wrong type: %+v, %v", r, err)
	}
	if _, err := server.ServerSideEmitWithAck[int](t.Context(), first, "connection"); !errors.Is(err, server.ErrReservedEvent) {
		t.Errorf("reserved: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err = server.ServerSideEmitWithAck[int](short, first, "fails on c")
	if !errors.Is(err, server.ErrAckTimeout) || !slices.Equal(r.Values, []int{1}) || !slices.Equal(r.Missing, []adapter.NodeID{"c"}) {
		t.Errorf("one fails: %+v, %v", r, err)
	}
	cluster.Cut("b")
	short, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err = server.ServerSideEmitWithAck[int](short, first, "where")
	if !errors.Is(err, server.ErrAckTimeout) || !slices.Equal(r.Values, []int{2}) || !slices.Equal(r.Missing, []adapter.NodeID{"b"}) || r.Unanswered != 1 {
		t.Errorf("one is cut off: %+v, %v", r, err)
	}
	cluster.Heal("b")
}

// TestServerSideContext shuts down while a server-side handler waits for the end of its context.
func TestServerSideContext(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	nodes[1].Of("/").HandleServerSide("wait", server.ServerSideFunc(func(ctx context.Context, _ server.None) error {
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil
	}))
	if err := nodes[0].Of("/").ServerSideEmit("wait"); err != nil {
		t.Fatal(err)
	}
	await(t, began)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := nodes[1].Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := await(t, ended); err != context.Canceled {
		t.Error(err)
	}
}

// TestRemoteSocket does everything to a socket of another node.
func TestRemoteSocket(t *testing.T) {
	nodes, cluster := startCluster(t, server.Options{})
	p := nodes[1].websocket(t)
	s, _ := nodes[1].Of("/").Socket(p.join("/", `{"token":"t"}`))
	if err := s.Data().Set("name", "Bob"); err != nil {
		t.Fatal(err)
	}
	r, err := nodes[0].Of("/").FetchSockets(t.Context())
	if err != nil || len(r.Values) != 1 || !r.Complete() {
		t.Fatalf("%+v, %v", r, err)
	}
	remote := r.Values[0]
	if _, local := remote.Socket(); local {
		t.Error("a socket of another node is said to be local")
	}
	if h := remote.Handshake(); remote.ID() != s.ID() || !slices.Equal(remote.Rooms(), []string{s.ID()}) ||
		string(remote.Data()) != `{"name":"Bob"}` || string(h.Auth) != `{"token":"t"}` || h.Query["transport"] != "websocket" {
		t.Errorf("remote socket: %s %v %s %+v", remote.ID(), remote.Rooms(), remote.Data(), h)
	}
	if err := errors.Join(remote.Join("one", "two"), remote.Leave("two"), remote.Emit("hi", 1)); err != nil {
		t.Fatal(err)
	}
	p.expect(`2["hi",1]`)
	if got := s.Rooms(); !slices.Equal(got, []string{s.ID(), "one"}) {
		t.Errorf("rooms %v", got)
	}
	ask := func() <-chan error {
		result := make(chan error, 1)
		go func() {
			got, err := server.EmitWithAck[int](context.Background(), remote, "ask")
			if err == nil && got != 7 {
				err = errors.New("wrong answer")
			}
			result <- err
		}()
		p.expect(`20["ask"]`)
		return result
	}
	asked := ask()
	p.send(`30[7]`)
	if err := await(t, asked); err != nil {
		t.Error(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := server.EmitWithAck[int](context.Background(), remote, "ask")
		result <- err
	}()
	p.expect(`21["ask"]`)
	if err := remote.Disconnect(); err != nil {
		t.Fatal(err)
	}
	p.expect("1")
	if err := await(t, result); !errors.Is(err, server.ErrDisconnected) {
		t.Errorf("the socket goes before it answers: %v", err)
	}
	p.join("/", "")
	r, err = nodes[0].Of("/").FetchSockets(t.Context())
	if err != nil || len(r.Values) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := r.Values[0].DisconnectClient(); err != nil {
		t.Fatal(err)
	}
	p.expectClosed()
	cluster.Cut("a")
	if err := remote.Emit("hi"); !errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("cut off: %v", err)
	}
	cluster.Heal("a")
}

// TestClusterBroadcast reaches the clients of all nodes, with and without acknowledgements.
func TestClusterBroadcast(t *testing.T) {
	nodes, cluster := startCluster(t, server.Options{})
	var peers []*peer
	for _, n := range nodes {
		p, _ := n.connect(t)
		peers = append(peers, p)
	}
	main := nodes[0].Of("/")
	if err := errors.Join(main.SocketsJoin("room"), main.To("room").Emit("all"), main.Local().Emit("here")); err != nil {
		t.Fatal(err)
	}
	for i, p := range peers {
		p.expect(`2["all"]`)
		if i == 0 {
			p.expect(`2["here"]`)
		}
		go func() {
			p.expect(`20["ask"]`)
			p.send(`30["yes"]`)
		}()
	}
	replies, err := server.BroadcastWithAck[string](t.Context(), main.To("room"), "ask")
	if err != nil || replies.Expected != 3 || !slices.Equal(replies.Values, []string{"yes", "yes", "yes"}) {
		t.Errorf("%+v, %v", replies, err)
	}
	cluster.Cut("c")
	for _, p := range peers[:2] {
		go func() {
			p.expect(`21["ask"]`)
			p.send(`31["yes"]`)
		}()
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	replies, err = server.BroadcastWithAck[string](short, main, "ask")
	if !errors.Is(err, server.ErrAckTimeout) || len(replies.Values) != 2 || !slices.Equal(replies.Missing, []adapter.NodeID{"c"}) {
		t.Errorf("one is cut off: %+v, %v", replies, err)
	}
	cluster.Heal("c")
}

// TestParentBroadcast emits to the sockets of all children on all nodes that have them.
func TestParentBroadcast(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	var parents []*server.ParentNamespace
	var peers []*peer
	for _, n := range nodes {
		parents = append(parents, n.OfPattern(regexp.MustCompile(`^/dyn-\d$`)))
		p := n.websocket(t)
		p.join("/dyn-1", "")
		peers = append(peers, p)
	}
	peers[0].join("/dyn-2", "")
	parent := parents[0]
	if err := errors.Join(parent.Emit("all"), parent.To("nowhere").Emit("nobody"), parent.Local().Emit("here"), parent.Except("x").Compress(false).Emit("rest")); err != nil {
		t.Fatal(err)
	}
	got := []string{peers[0].next(), peers[0].next(), peers[0].next(), peers[0].next(), peers[0].next(), peers[0].next()}
	slices.Sort(got)
	if want := []string{
		`2/dyn-1,["all"]`, `2/dyn-1,["here"]`, `2/dyn-1,["rest"]`, `2/dyn-2,["all"]`, `2/dyn-2,["here"]`, `2/dyn-2,["rest"]`,
	}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for _, p := range peers[1:] {
		p.expect(`2/dyn-1,["all"]`, `2/dyn-1,["rest"]`)
	}
	if _, err := parent.To("x").FetchSockets(t.Context()); !errors.Is(err, server.ErrParentNamespace) {
		t.Error(err)
	}
	if _, err := server.BroadcastWithAck[int](t.Context(), parent, "ask"); !errors.Is(err, server.ErrParentNamespace) {
		t.Error(err)
	}
}
