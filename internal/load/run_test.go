package load

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// stall is how long tests wait for a message that does not come; much longer than a busy machine needs for one that does.
const stall = 2 * time.Second

type bcast = server.Args2[int, parser.Payload]

// app is how a server answers some of the bench app's events; nil functions do as the app does.
type app struct {
	broadcast func(nsp *server.Namespace, payload parser.Payload) error // one of an event bcast
	echo      func(s *server.Socket, args server.Args) error
	tls       bool
	recovery  bool
}

// serve starts a server with the events of the bench app.
func serve(t *testing.T, a app) Target {
	t.Helper()
	if a.broadcast == nil {
		a.broadcast = toRoom
	}
	if a.echo == nil {
		a.echo = func(s *server.Socket, args server.Args) error { return s.Emit("message-back", args) }
	}
	var options server.Options
	if a.recovery {
		options.Recovery = new(server.RecoveryOptions)
	}
	srv, err := server.New(&options)
	if err != nil {
		t.Fatal(err)
	}
	nsp := srv.Of("/")
	nsp.Handle("join", server.FuncAck(func(ctx context.Context, s *server.Socket, room string) (server.None, error) {
		return server.None{}, s.Join(ctx, room)
	}))
	nsp.Handle("leave", server.FuncAck(func(_ context.Context, s *server.Socket, room string) (server.None, error) {
		s.Leave(room)
		return server.None{}, nil
	}))
	nsp.Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (server.None, error) {
		return server.None{}, s.Join(ctx, "the room of "+user)
	}))
	nsp.Handle("tell", server.Func(func(_ context.Context, _ *server.Socket, call server.Args2[string, parser.Payload]) error {
		return nsp.To("the room of "+call.First).Emit("msg", call.Second)
	}))
	nsp.Handle("message", server.Func(func(_ context.Context, s *server.Socket, args server.Args) error {
		return a.echo(s, args)
	}))
	nsp.Handle("direct", server.Func(func(_ context.Context, _ *server.Socket, call server.Args2[string, parser.Payload]) error {
		return nsp.To(call.First).Emit("msg", call.Second)
	}))
	nsp.Handle("bcast", server.FuncAck(func(_ context.Context, _ *server.Socket, call bcast) (server.None, error) {
		var err error
		for i := 0; i < call.First && err == nil; i++ {
			err = a.broadcast(nsp, call.Second)
		}
		return server.None{}, err
	}))
	nsp.Handle("compute", server.FuncAck(func(_ context.Context, _ *server.Socket, threads int) (int64, error) {
		return int64(1000 * (1 - threads)), nil // when it is told to stop
	}))
	nsp.Handle("gc", server.FuncAck(func(context.Context, *server.Socket, server.None) (server.None, error) {
		return server.None{}, nil
	}))
	web := httptest.NewUnstartedServer(srv)
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if a.tls {
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	target, err := ParseTarget(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func toRoom(nsp *server.Namespace, payload parser.Payload) error {
	return nsp.To(Room).Emit("msg", payload)
}

// TestScenarios runs each scenario over both transports and checks that every message is accounted for.
func TestScenarios(t *testing.T) {
	target := serve(t, app{})
	for _, transport := range []string{WebSocket, Polling} {
		for _, tc := range []struct {
			cfg      Config
			messages int64
			opened   int64
		}{
			{Config{Scenario: Idle, Steps: []int{5, 20}, Hold: time.Millisecond, Collect: true}, 0, 20},
			{Config{Scenario: Connects, Clients: 20, Rate: 1000}, 0, 20},
			{Config{Scenario: Echo, Clients: 10, Messages: 205, Warmup: 50}, 255, 10},
			{Config{Scenario: Burst, Clients: 20, Copies: 30, Rounds: 3, Warmup: 1}, 20 * 30 * 4, 20},
			{Config{Scenario: Single, Clients: 20, Rounds: 5}, 100, 20},
			{Config{Scenario: Targeted, Clients: 20, Messages: 300, InFlight: 7, Size: 500}, 300, 20},
			{Config{Scenario: Targeted, Clients: 20, Messages: 300, To: ToRoom, Rooms: 7}, 300, 20},
			{Config{Scenario: Targeted, Clients: 20, Messages: 300, To: ToUser}, 300, 20},
			{Config{Scenario: Joins, Clients: 20, Messages: 300, InFlight: 7, Rooms: 3, Warmup: 10}, 310, 20},
			{Config{Scenario: Sparse, Clients: 20, Senders: 7, Messages: 300, Warmup: 20, MessageRate: 3000}, 320, 20},
			{Config{Scenario: Busy, Clients: 20, Senders: 7, Duration: 100 * time.Millisecond, MessageRate: 1000}, 100, 20},
			{Config{Scenario: Churn, Clients: 10, Messages: 35, Concurrency: 4}, 35, 45},
		} {
			t.Run(tc.cfg.Scenario+tc.cfg.To+" "+transport, func(t *testing.T) {
				cfg := tc.cfg
				cfg.Target, cfg.Timeout, cfg.Server.PID = target, time.Minute, os.Getpid()
				cfg.Target.Transport = transport
				res, err := Run(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := res.Err(); err != nil {
					t.Errorf("%v; %v", err, res.Connections.Reasons)
				}
				m := res.Messages
				if m.Expected != tc.messages || m.Delivered != tc.messages || res.Connections.Opened != tc.opened {
					t.Errorf("%+v, %+v, want %d messages and %d connections", m, res.Connections, tc.messages, tc.opened)
				}
				checkMeasured(t, res, tc.messages)
			})
		}
	}
}

// checkMeasured looks at what differs from run to run.
func checkMeasured(t *testing.T, res *Result, messages int64) {
	t.Helper()
	if res.Scenario == Idle {
		if memory := res.Server.Memory; len(memory) != 2 || memory[1].Clients != 20 || memory[0].Resident == 0 || memory[1].AfterGC == 0 {
			t.Errorf("memory %+v", memory)
		}
		return
	}
	if res.Seconds <= 0 || res.PerSecond <= 0 || res.Server.Operations <= 0 || res.Server.ResidentLast == 0 {
		t.Errorf("result %+v, server %+v", res, res.Server)
	}
	if p := res.Latency; messages > 0 && (p == nil || p.Count <= 0 || p.Count > messages || p.P50 <= 0 || p.P50 > p.P99 || p.P99 > p.Max) {
		t.Errorf("latency %+v", p)
	}
	if open := res.Scenario == Sparse || res.Scenario == Busy; open != (res.Behind != nil) || open != strings.Contains(res.Text(), "sent late") {
		t.Errorf("sent late: %+v", res.Behind)
	}
	if busy := res.Scenario == Busy; busy != (res.Computed > 0) || busy != strings.Contains(res.Text(), "units of computing a second") {
		t.Errorf("%v units of computing", res.Computed)
	}
	if !strings.Contains(res.Text(), "server CPU") || !strings.Contains(res.Text(), res.Scenario+" over ") {
		t.Errorf("text\n%s", res.Text())
	}
}

// TestManyClients keeps the tool alive at a size that is still quick: 200 clients, all messages there.
func TestManyClients(t *testing.T) {
	target := serve(t, app{})
	res, err := Run(t.Context(), Config{Target: target, Scenario: Burst, Clients: 200, Copies: 50, Rounds: 2, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(200 * 50 * 2); res.Err() != nil || res.Messages.Delivered != want {
		t.Errorf("%+v, want %d delivered", res, want)
	}
}

// TestVia asks another address of the server for the broadcasts.
func TestVia(t *testing.T) {
	t.Parallel()
	target := serve(t, app{})
	res, err := Run(t.Context(), Config{Target: target, Scenario: Burst, Clients: 10, Copies: 10, Rounds: 2, Timeout: time.Minute,
		Via: &target, ViaServer: Process{PID: os.Getpid()}})
	if err != nil {
		t.Fatal(err)
	}
	if res.Err() != nil || res.Messages.Delivered != 200 || res.Via.Operations != 20 || !strings.Contains(res.Text(), "per broadcast") {
		t.Errorf("%+v, %+v", res, res.Via)
	}
	elsewhere := serve(t, app{}) // not of one cluster with the other
	res, err = Run(t.Context(), Config{Target: target, Scenario: Single, Clients: 3, Rounds: 2, Timeout: stall, Via: &elsewhere})
	if err != nil {
		t.Fatal(err)
	}
	if res.Messages.Lost != 6 || res.Err() == nil {
		t.Errorf("%+v, want 6 lost", res.Messages)
	}
}

// TestTLS reaches a server whose certificate nobody has signed, if it is told to.
func TestTLS(t *testing.T) {
	target := serve(t, app{tls: true})
	cfg := Config{Target: target, Scenario: Echo, Clients: 5, Messages: 50, Timeout: time.Minute}
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "TLS handshake failed") {
		t.Errorf("error %v, want one about the certificate", err)
	}
	for _, transport := range []string{WebSocket, Polling} {
		cfg.Target.Insecure, cfg.Target.Transport = true, transport
		res, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if res.Err() != nil || res.Messages.Delivered != 50 {
			t.Errorf("%s: %+v, %v", transport, res.Messages, res.Err())
		}
	}
}

// TestWrongDeliveries lets a server make mistakes, and holds that each is found.
func TestWrongDeliveries(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		timeout time.Duration // of a message; short where one does not come
		mangle  func(nsp *server.Namespace, victim *server.Socket, payload parser.Payload) error
		check   func(res *Result) bool
	}{
		{"drops one", stall, func(nsp *server.Namespace, victim *server.Socket, payload parser.Payload) error {
			return nsp.To(Room).Except(victim.ID()).Emit("msg", payload)
		}, func(res *Result) bool { return res.Messages.Lost == 1 && res.Messages.Duplicate == 0 }},
		{"sends one twice", time.Minute, func(nsp *server.Namespace, victim *server.Socket, payload parser.Payload) error {
			return errors.Join(toRoom(nsp, payload), victim.Emit("msg", payload))
		}, func(res *Result) bool { return res.Messages.Lost == 0 && res.Messages.Duplicate == 1 }},
		{"disconnects one", time.Minute, func(nsp *server.Namespace, victim *server.Socket, payload parser.Payload) error {
			defer victim.DisconnectClient()
			return toRoom(nsp, payload)
		}, func(res *Result) bool { return res.Connections.Lost == 1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			target := serve(t, app{broadcast: func(nsp *server.Namespace, payload parser.Payload) error {
				if calls.Add(1) != 8 {
					return toRoom(nsp, payload)
				}
				members := slices.DeleteFunc(nsp.Sockets(), func(s *server.Socket) bool { return !slices.Contains(s.Rooms(), Room) })
				return tc.mangle(nsp, members[0], payload)
			}})
			res, err := Run(t.Context(), Config{Target: target, Scenario: Burst, Clients: 10, Copies: 5, Rounds: 3, Timeout: tc.timeout})
			if err != nil {
				t.Fatal(err)
			}
			if err := res.Err(); !errors.As(err, new(*LossError)) || !tc.check(res) {
				t.Errorf("%v: %+v, %+v", err, res.Messages, res.Connections)
			}
		})
	}
}

// TestLostEcho has a server that leaves one message unanswered.
func TestLostEcho(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	target := serve(t, app{echo: func(s *server.Socket, args server.Args) error {
		if calls.Add(1) == 17 {
			return nil
		}
		return s.Emit("message-back", args)
	}})
	res, err := Run(t.Context(), Config{Target: target, Scenario: Echo, Clients: 5, Messages: 100, Timeout: stall})
	if err != nil {
		t.Fatal(err)
	}
	if res.Messages.Lost != 1 || res.Err() == nil {
		t.Errorf("%+v, %v", res.Messages, res.Err())
	}
}

// TestInterrupted stops a run that would take forever, and wants its results and no complaint.
func TestInterrupted(t *testing.T) {
	target := serve(t, app{})
	for _, scenario := range []string{Echo, Single, Sparse, Churn, Idle} {
		t.Run(scenario, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cfg := Config{Target: target, Scenario: scenario, Clients: 5, Messages: 1e9, Rounds: 1e9, Hold: time.Hour, Timeout: time.Minute}
			cfg.Progress = func(p Progress) {
				if p.Messages > 0 || p.Phase == "idle" {
					cancel()
				}
			}
			res, err := Run(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !res.Interrupted || res.Err() != nil || scenario != Idle && res.Messages.Delivered == 0 {
				t.Errorf("%+v, %v", res, res.Err())
			}
		})
	}
}

// TestProcesses spreads the clients over processes of their own.
func TestProcesses(t *testing.T) {
	target := serve(t, app{})
	start := func(int) (*Link, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workerVariable+"=1")
		cmd.Stderr = os.Stderr
		commands, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		events, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		return &Link{Commands: commands, Events: events, Wait: cmd.Wait}, cmd.Start()
	}
	for _, cfg := range []Config{
		{Scenario: Burst, Copies: 20, Rounds: 3}, {Scenario: Targeted, Messages: 100}, {Scenario: Sparse, Messages: 100}, {Scenario: Churn, Messages: 40},
	} {
		cfg.Target, cfg.Clients, cfg.Processes, cfg.Timeout, cfg.Start = target, 31, 3, time.Minute, start
		res, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{Burst: 31 * 20 * 3, Targeted: 100, Sparse: 100, Churn: 40}[cfg.Scenario]
		if res.Err() != nil || res.Messages.Delivered != want || res.Latency.Count == 0 {
			t.Errorf("%s: %+v, %v, want %d delivered", cfg.Scenario, res.Messages, res.Err(), want)
		}
	}
	dead := func(int) (*Link, error) { return nil, errors.New("no more processes") }
	if _, err := Run(t.Context(), Config{Target: target, Scenario: Burst, Processes: 2, Start: dead}); err == nil || !strings.Contains(err.Error(), "no more processes") {
		t.Errorf("error %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{Scenario: "swim"}, "unknown scenario"},
		{Config{Scenario: Echo, Via: &Target{}}, "broadcasts only"},
		{Config{Scenario: Echo, Steps: []int{1}}, "steps"},
		{Config{Scenario: Idle, Steps: []int{5, 2}}, "steps"},
		{Config{Scenario: Echo, Size: 3}, "size must be at least 48"},
		{Config{Scenario: Echo, Clients: -1}, "clients must be at least 1"},
		{Config{Scenario: Echo, Rate: -1}, "must not be negative"},
		{Config{Scenario: Churn, Binary: true}, "binary over WebSocket only"},
		{Config{Scenario: Echo, Binary: true, Target: Target{Transport: Polling}}, "binary over WebSocket only"},
		{Config{Scenario: Sparse, Clients: 5, Senders: 6}, "more senders than clients"},
		{Config{Scenario: Sparse, MessageRate: -1}, "there must be a room and messages"},
		{Config{Scenario: Echo, Processes: 2}, "no way to start them"},
		{Config{Scenario: Echo, Clients: 2, Processes: 3}, "more processes than clients"},
	} {
		_, err := Run(t.Context(), tc.cfg)
		if !errors.As(err, new(*ConfigError)) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.cfg, err, tc.want)
		}
	}
}
