// Command scenario is the counterpart of reference/scenario.mjs: a Socket.IO server that is told what to do by
// commands, one JSON object a line on stdin, answers each on stdout and logs there what happens. It ends when stdin
// closes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	opts := &server.Options{Engine: server.EngineOptions{AllowRequest: allowRequest}}
	var transports string
	var nodes clusterFlags
	flag.DurationVar(&opts.Engine.PingInterval, "ping-interval", 0, "time between two heartbeats")
	flag.DurationVar(&opts.Engine.PingTimeout, "ping-timeout", 0, "how long to wait for a pong")
	flag.DurationVar(&opts.Engine.UpgradeTimeout, "upgrade-timeout", 0, "how long an upgrade may take")
	flag.DurationVar(&opts.ConnectTimeout, "connect-timeout", 0, "how long a client may stay without a namespace")
	recovery := flag.Duration("connection-state-recovery", 0, "how long clients may go on after their connection was lost")
	flag.Int64Var(&opts.Engine.MaxHTTPBufferSize, "max-http-buffer-size", 0, "largest message in bytes")
	flag.BoolVar(&opts.CleanupEmptyChildNamespaces, "cleanup-empty-child-namespaces", false, "remove empty dynamic namespaces")
	flag.StringVar(&transports, "transports", "", "transports to offer")
	nodes.register()
	flag.Parse()
	if transports != "" {
		opts.Engine.Transports = strings.Split(transports, ",")
	}
	if *recovery > 0 {
		opts.Recovery = &server.RecoveryOptions{MaxDisconnectionDuration: *recovery}
	}
	builder, emitter, err := nodes.connect()
	if err != nil {
		return err
	}
	opts.Adapter = builder
	srv, err := server.New(opts)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: srv}
	go web.Serve(listener)
	fmt.Printf("listening %s\n", listener.Addr())

	s := &scenario{srv: srv, web: web, emitter: emitter, out: json.NewEncoder(os.Stdout)}
	s.out.SetEscapeHTML(false)
	s.serve(srv.Of("/"), setup{})
	return s.readCommands()
}

// allowRequest refuses handshakes that ask for it, with the message they ask for.
func allowRequest(r *http.Request) error {
	messages, ok := r.Header["X-Refuse"]
	switch {
	case !ok:
		return nil
	case messages[0] == "":
		return errors.New("no reason to tell")
	default:
		return &server.Refusal{Message: messages[0]}
	}
}

// scenario is the server under test and the line protocol around it.
type scenario struct {
	srv     *server.Server
	web     *http.Server
	emitter *redisadapter.Emitter // nil without Redis

	parents []*server.ParentNamespace // owned by readCommands

	mu  sync.Mutex // guards out
	out *json.Encoder
}

// answer is one line on stdout.
type answer struct {
	ID     int    `json:"id,omitempty"`
	Result any    `json:"result"`
	Error  string `json:"error,omitempty"`
}

// fields of a log entry, next to nsp, sid and event.
type fields map[string]any

func (s *scenario) write(line any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.out.Encode(line); err != nil {
		log.Printf("write: %v", err)
	}
}

func (s *scenario) log(nsp, sid, event string, more fields) {
	entry := map[string]any{"nsp": nsp, "event": event}
	if sid != "" {
		entry["sid"] = sid
	}
	for k, v := range more {
		entry[k] = v
	}
	s.write(map[string]any{"log": entry})
}

// readCommands starts each command in the order of the lines; a command that waits does not hold up the next.
func (s *scenario) readCommands() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("command: %w", err)
		}
		do, ok := commands[c.Do]
		switch {
		case !ok:
			s.write(answer{ID: c.ID, Error: "unknown command " + c.Do})
		case waiting[c.Do]:
			go s.execute(&c, do)
		default:
			s.execute(&c, do)
		}
	}
	return lines.Err()
}

func (s *scenario) execute(c *command, do commandFunc) {
	result, err := do(context.Background(), s, c)
	if err != nil {
		s.write(answer{ID: c.ID, Error: err.Error()})
		return
	}
	s.write(answer{ID: c.ID, Result: result})
}
