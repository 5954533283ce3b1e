package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names of what is measured, as the results show them.
const (
	sockeyePoller     = "sockeye"
	sockeyeGoroutines = "sockeye-goroutines"
	nodeReference     = "node"
	bunServer         = "bun"
	rustServer        = "socketioxide"
	rustThread        = "socketioxide-1"
	zishangServer     = "zishang520"
	gobwasLoop        = "gobwas"
	goroutineLoop     = "bare-go"
	floorName         = "floor"
)

const (
	startTime = 2 * time.Minute // Kafka takes half of one on a busy machine
	stopTime  = 30 * time.Second
	runTime   = 15 * time.Minute // of one scenario with one server
)

// server is a program to measure.
type server struct {
	name     string
	brokers  []string                         // that it has adapters for
	recovers bool                             // has connection state recovery
	plain    bool                             // has no TLS
	loop     bool                             // answers echoes only, and is no Socket.IO server
	missing  string                           // why it cannot be measured here; "" if it can
	command  func(place) ([]string, []string) // arguments, program first, and environment
	extra    []string                         // further arguments
}

// fits reports whether the server has what the scenario needs.
func (s *server) fits(sc scenario) bool {
	return s.has(sc.broker) && (!sc.cluster || s.has(redisPubSub)) && (s.recovers || !sc.drops) && (!s.plain || !sc.tls) && (!s.loop || sc.echoes)
}

// place is where and how a server is to run.
type place struct {
	port      int
	pprof     int      // port for operators, with profiles, 0 for none; Sockeye only
	redis     string   // URL, "" without Redis
	adapter   string   // of Redis; Node only
	broker    []string // flags for the broker; Sockeye only
	cert, key string   // files, "" for no TLS
	recover   bool     // sessions are kept for clients that come back
}

// programs are the paths of what is measured.
type programs struct {
	sockeye, zishang, floors string
	socketioxide, bun        program
	redis                    bool // sockeye knows Redis
}

// program is the path of one that need not be there.
type program struct {
	path    string
	missing string // why there is none
}

// brokersOf are those that a build of Sockeye has.
func brokersOf(p programs) []string {
	if !p.redis {
		return nil
	}
	return allBrokers
}

func servers(p programs) []server {
	own, rust := p, func(threads string) func(place) ([]string, []string) {
		return func(at place) ([]string, []string) {
			return []string{p.socketioxide.path}, []string{"PORT=" + strconv.Itoa(at.port), "THREADS=" + threads}
		}
	}
	loop := func(kind string) func(place) ([]string, []string) {
		return func(at place) ([]string, []string) {
			return []string{p.floors, "-serve=" + kind, "-port=" + strconv.Itoa(at.port)}, nil
		}
	}
	sockeye := func(mode string) func(place) ([]string, []string) {
		return func(p place) ([]string, []string) {
			args := []string{own.sockeye, "serve", "--app=bench", "--addr=127.0.0.1:" + strconv.Itoa(p.port), "--read-mode=" + mode, "--log-level=warn"}
			args = append(args, p.broker...)
			if p.recover {
				args = append(args, "--connection-state-recovery=2m")
			}
			if p.pprof != 0 {
				args = append(args, "--pprof", "--admin-addr=127.0.0.1:"+strconv.Itoa(p.pprof))
			}
			if p.cert != "" {
				args = append(args, "--tls-cert="+p.cert, "--tls-key="+p.key)
			}
			return args, nil
		}
	}
	environment := func(p place) []string {
		env := []string{"PORT=" + strconv.Itoa(p.port), "NODE_ENV=production", "REDIS=" + p.redis, "ADAPTER=" + p.adapter, "CERT=" + p.cert, "KEY=" + p.key}
		if p.recover {
			env = append(env, "RECOVERY=1")
		}
		return env
	}
	return []server{
		{name: sockeyePoller, brokers: brokersOf(p), recovers: true, command: sockeye("auto")},
		{name: sockeyeGoroutines, command: sockeye("goroutine")},
		{name: nodeReference, brokers: nodeBrokers, recovers: true, command: func(p place) ([]string, []string) {
			return []string{"node", "--expose-gc", "peers/node/server.mjs"}, environment(p)
		}},
		{name: bunServer, plain: true, missing: p.bun.missing, command: func(at place) ([]string, []string) {
			return []string{p.bun.path, "peers/bun/server.mjs"}, environment(at)
		}},
		{name: rustServer, plain: true, missing: p.socketioxide.missing, command: rust("")},
		{name: rustThread, plain: true, missing: p.socketioxide.missing, command: rust("1")},
		{name: zishangServer, command: func(at place) ([]string, []string) { return []string{p.zishang}, environment(at) }},
		{name: gobwasLoop, loop: true, command: loop("gobwas")},
		{name: goroutineLoop, loop: true, command: loop("goroutines")},
		{name: floorName, loop: true, command: loop("hot")},
	}
}

// process is a program that runs and listens.
type process struct {
	cmd  *exec.Cmd
	port int
	log  *os.File
}

// launch starts a program and returns when it listens.
func launch(ctx context.Context, args, env []string, port int, folder string) (*process, error) {
	logFile, err := os.CreateTemp(folder, filepath.Base(args[0])+"-*.log")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for this program alone
	if err := cmd.Start(); err != nil {
		logFile.Close()
		return nil, err
	}
	p := &process{cmd: cmd, port: port, log: logFile}
	for deadline := time.Now().Add(startTime); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", p.address())
		if err == nil {
			conn.Close()
			return p, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			said, _ := os.ReadFile(logFile.Name())
			p.stop()
			return nil, fmt.Errorf("%s does not listen: %w\n%s", args[0], err, said)
		}
	}
}

func (p *process) address() string { return "127.0.0.1:" + strconv.Itoa(p.port) }

// stop ends the program, with force if it does not go.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopTime, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // how it ends does not matter here
	_ = p.log.Close()
}

// freePort returns a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// measure runs a scenario against a fresh server and returns the figure of each row, followed by what was lost.
func measure(ctx context.Context, s settings, sc scenario, srv server, t *tools) ([]float64, error) {
	kind := sc.broker
	if sc.cluster {
		kind = redisPubSub
	}
	between, err := startBroker(ctx, kind, sc.nodes, t)
	if err != nil {
		return nil, err
	}
	defer between.end()
	where := place{recover: sc.recover}
	if sc.tls {
		where.cert, where.key = t.cert, t.key
	}
	nodes, err := startNodes(ctx, sc, srv, between, where, t.folder)
	if err != nil {
		return nil, err
	}
	defer func() { stopAll(nodes) }()
	flags := target(nodes)
	if sc.tls {
		flags[1] = "https://" + nodes[0].address()
	}
	flags = append(flags, "--insecure", "--quiet", "--json=-", "--pid="+pids(nodes))
	if sc.nodes > 1 {
		if err := cross(ctx, s, nodes); err != nil {
			return nil, err
		}
	}
	if sc.cluster {
		other, err := startServer(ctx, srv, between.place(1, where), t.folder)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, other)
		flags = append(flags, "--via=http://"+other.address(), "--via-pid="+strconv.Itoa(other.cmd.Process.Pid))
	}
	res, err := generate(ctx, s.sockeye, append(flags, sc.flags...))
	if err != nil {
		return nil, err
	}
	var figures []float64
	for _, row := range sc.rows {
		figures = append(figures, row.value(res))
	}
	return append(figures, float64(res.Connections.Lost+res.Connections.Failed), float64(res.Messages.Lost),
		float64(res.Messages.Duplicate+res.Messages.Late)), nil
}

// pids lists the processes of nodes.
func pids(nodes []*process) string {
	var list []string
	for _, node := range nodes {
		list = append(list, strconv.Itoa(node.cmd.Process.Pid))
	}
	return strings.Join(list, ",")
}

func startServer(ctx context.Context, srv server, where place, folder string) (*process, error) {
	var err error
	if where.port, err = freePort(); err != nil {
		return nil, err
	}
	args, env := srv.command(where)
	return launch(ctx, append(args, srv.extra...), env, where.port, folder)
}

// generate runs `sockeye bench`. It fails by its status when something is lost; what it prints tells that better.
func generate(ctx context.Context, sockeye string, flags []string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, sockeye, flags...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var res result
	err := cmd.Run()
	if e := json.Unmarshal(stdout.Bytes(), &res); e != nil {
		return res, errors.Join(err, errors.New(stderr.String()))
	}
	return res, nil
}
