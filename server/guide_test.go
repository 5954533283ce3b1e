package server_test

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestGuide holds that the Go code of the guides is in this file, and therefore compiles, with no import but those above.
func TestGuide(t *testing.T) {
	compiled, err := os.ReadFile("guide_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, guide := range []string{"../docs/getting-started.md", "../docs/migrating-from-node.md", "../docs/recipes.md"} {
		text, err := os.ReadFile(guide)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(text), "```go\n")[1:]
		if len(blocks) == 0 {
			t.Errorf("%s has no Go code", guide)
		}
		for _, block := range blocks {
			block, _, _ = strings.Cut(block, "```")
			for line := range strings.Lines(block) {
				line, _, _ = strings.Cut(line, " // ") // gofmt aligns comments as it likes
				switch line = strings.TrimSpace(line); line {
				case "…", "package main", `"github.com/sockeye-io/sockeye/server"`, "//go:embed client": // there is no such folder here
					continue
				case "func main() {":
					line = "func migrated() {"
				}
				if !strings.Contains(string(compiled), line) {
					t.Errorf("%s: %q is not compiled", guide, line)
				}
			}
		}
	}
}

type Send struct {
	To      string `json:"to"`
	Message string `json:"message"`
}

type (
	Point struct{ X, Y int }
	Board [8][8]string
)

// The code of the guides is compiled and not run.
var _ = []any{migrated, handlers, connections, sending, bundled, mounting, origins, nodes, testingIt, ending, quickPort, closureState, relay, countRoom, users}

func migrated() {
	srv, err := server.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	chat := srv.Of("/")
	chat.Handle("login", server.Func(func(ctx context.Context, s *server.Socket, userID string) error {
		return s.Join(ctx, userID)
	}))
	chat.Handle("send", server.Func(func(_ context.Context, _ *server.Socket, m Send) error {
		return chat.To(m.To).Emit("receive", m.Message)
	}))
	log.Fatal(server.ListenAndServe(context.Background(), ":3000", srv))
}

func handlers(chat *server.Namespace) {
	chat.Handle("move", server.FuncAck(func(ctx context.Context, s *server.Socket, m server.Args2[string, Point]) (Board, error) {
		return Board{}, nil
	}))
}

func connections(srv *server.Server, chat *server.Namespace) {
	chat.Use(func(ctx context.Context, s *server.Socket) error { // before a socket is let in
		var auth struct{ Token string }
		if err := json.Unmarshal(s.Auth(), &auth); err != nil || auth.Token == "" {
			return &server.ClientError{Message: "not authorized"} // connect_error at the client
		}
		return s.Data().Set("token", auth.Token)
	})
	chat.OnConnection(func(ctx context.Context, s *server.Socket) { log.Print(s.Handshake().Address) })
	chat.OnDisconnect(func(ctx context.Context, s *server.Socket, reason server.Reason) { log.Print(reason, s.Rooms()) })
	chat.UseEvent(func(ctx context.Context, s *server.Socket, e *server.Event) error { return nil }) // before each event
	srv.OfPattern(regexp.MustCompile(`^/tenant-\d+$`))                                               // namespaces that come into being when a client asks for them
}

func sending(ctx context.Context, chat *server.Namespace, s *server.Socket, story string, x, y, q int) {
	s.Emit("news", story)                                // to this client
	s.Broadcast().Emit("news", story)                    // to everybody else in the namespace
	s.To("room1", "room2").Emit("news", story)           // to rooms, except this socket, each socket once
	chat.To("room1").Except("room2").Emit("news", story) // from anywhere, no socket at hand
	chat.Volatile().Emit("position", x, y)               // may be dropped for clients that are not ready
	answer, err := server.EmitWithAck[string](ctx, s, "question", q)
	log.Print(answer, err)
	replies, err := server.BroadcastWithAck[string](ctx, chat.To("room1"), "question", q)
	log.Print(replies, err)
	for reply, err := range server.BroadcastWithAckSeq[string](ctx, chat.To("room1"), "question", q) { // as they come
		log.Print(reply.SocketID, reply.Value, err)
	}
}

func bundled() *server.Server {
	var bundle embed.FS
	files, err := fs.Sub(bundle, "client")
	if err != nil {
		log.Fatal(err)
	}
	srv, err := server.New(&server.Options{ClientFiles: files})
	if err != nil {
		log.Fatal(err)
	}
	return srv
}

func mounting(srv *server.Server) {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/", http.FileServer(http.Dir("public")))
	log.Fatal(server.ListenAndServe(context.Background(), ":3000", mux))
}

func origins() *server.Options {
	opts := server.Options{Engine: server.EngineOptions{
		CORS: &server.CORS{Origins: []string{"https://app.example"}, Credentials: true},
	}}
	opts.Hooks = []server.Hooks{{
		BeforeJoin: func(s *server.Socket, rooms []string) error {
			if len(s.Rooms())+len(rooms) > 100 {
				return &server.ClientError{Message: "too many rooms"}
			}
			return nil
		},
		AfterEvent: func(s *server.Socket, r server.EventResult) {
			log.Print(s.Namespace().Name(), r.Name, r.Outcome, r.Took)
		},
	}}
	return &opts
}

func nodes(ctx context.Context, srv *server.Server) {
	nodes, err := srv.Nodes(ctx)
	for _, n := range nodes { // this one first, then by name
		log.Print(n.Name, " at ", n.Address, " is ", n.State, " and runs ", n.Version)
	}
	remove := srv.OnNodeChange(func(c server.NodeChange) {
		log.Print(c.Node.Name, " was ", c.Was, " and is ", c.Node.State, ": ", c.Reason)
	})
	defer remove()
	log.Print(err)
}

func testingIt(t *testing.T, srv *server.Server) {
	kit := servertest.New(t, srv, nil)
	alice := kit.Connect(t, "/", nil)
	alice.Emit("hello", "Alice")
	alice.Expect("greeting", "Hello Alice")
}

func ending(srv *server.Server) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.ListenAndServe(ctx, ":3000", srv); err != nil {
		log.Fatal(err)
	}
}

func quickPort(io *server.Namespace) {
	io.OnConnection(func(_ context.Context, s *server.Socket) {
		moves := 0 // handlers of one socket run one after the other
		s.Handle("move", server.Func(func(_ context.Context, s *server.Socket, at server.Args2[float64, float64]) error {
			moves++
			return s.Broadcast().Emit("moved", s.ID(), at.First, at.Second, moves)
		}))
		s.OnDisconnect(func(context.Context, *server.Socket, server.Reason) { io.Emit("left", s.ID()) })
	})
}

func closureState(io *server.Namespace) {
	var moves server.State[int] // on the sockets of this node, of any type

	io.Handle("move", server.Func(func(_ context.Context, s *server.Socket, at server.Args2[float64, float64]) error {
		n, _ := moves.Load(s)
		moves.Set(s, n+1)
		return s.Broadcast().Emit("moved", s.ID(), at.First, at.Second, n+1)
	}))
}

func relay(io *server.Namespace) {
	io.Handle("relay", server.Func(func(_ context.Context, s *server.Socket, all server.Args) error {
		var room string
		if err := all.Unmarshal(0, &room); err != nil {
			return &server.ClientError{Message: "the first argument is a room"}
		}
		return s.To(room).Emit("relay", all.Slice(1, all.Len()))
	}))
	io.Handle("draw", server.Func(func(_ context.Context, s *server.Socket, all server.Args) error {
		var line struct {
			X0, Y0, X1, Y1 float64
			Color          string
		}
		for i, field := range []any{&line.X0, &line.Y0, &line.X1, &line.Y1, &line.Color} {
			if err := all.Unmarshal(i, field); err != nil {
				return err
			}
		}
		return s.Broadcast().Emit("draw", line.X0, line.Y0, line.X1, line.Y1, line.Color)
	}))
}

func countRoom(ctx context.Context, io *server.Namespace) {
	here := io.To("room").LocalCount()          // adapter.rooms.get("room")?.size: on this node
	everywhere, err := io.To("room").Count(ctx) // (await io.in("room").fetchSockets()).length: in the cluster
	log.Print(here, everywhere.Sockets, everywhere.Missing, err)
	ids, err := io.To("room").IDs(ctx)
	log.Print(ids.Values, err)
}

func users(opts *server.Options, io *server.Namespace, verify func(string) (string, error)) {
	type userKey struct{}

	opts.Engine.SessionContext = server.KeepValues(userKey{}) // what a middleware has left

	opts.Engine.SessionContext = func(ctx context.Context, r *http.Request) (context.Context, error) {
		user, err := verify(r.Header.Get("Authorization")) // or verified right here
		if err != nil {
			return nil, &server.Refusal{Message: "not authorized"} // connect_error at the client
		}
		return context.WithValue(ctx, userKey{}, user), nil
	}

	io.Handle("whoami", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (string, error) {
		user, _ := ctx.Value(userKey{}).(string)
		return user, nil
	}))
}

// optionRows are the rows of the migration guide's table of options.
func optionRows(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/migrating-from-node.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Options\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") {
			rows = append(rows, line)
		}
	}
	if len(rows) < 20 {
		t.Fatalf("the table of options has %d rows", len(rows))
	}
	return rows
}

// TestGuideOptions holds that each option is in the guide's table, and that each option named there exists.
func TestGuideOptions(t *testing.T) {
	table := strings.Join(optionRows(t), "")
	for _, options := range []struct {
		prefix string
		of     reflect.Type
	}{{"", reflect.TypeFor[server.Options]()}, {"Engine.", reflect.TypeFor[server.EngineOptions]()}} {
		for field := range options.of.Fields() {
			if name := options.prefix + field.Name; name != "Engine" && !regexp.MustCompile("`"+regexp.QuoteMeta(name)+"[`:]").MatchString(table) {
				t.Errorf("option %s is not in the table", name)
			}
		}
	}
	for field := range reflect.TypeFor[server.CORS]().Fields() {
		if field.Name != "Origin" && !strings.Contains(table, field.Name) {
			t.Errorf("option %s of CORS is not in the table", field.Name)
		}
	}
	for _, m := range regexp.MustCompile("`Engine\\.(\\w+)").FindAllStringSubmatch(table, -1) {
		if _, ok := reflect.TypeFor[server.EngineOptions]().FieldByName(m[1]); !ok {
			t.Errorf("Engine.%s in the table is no option", m[1])
		}
	}
}
