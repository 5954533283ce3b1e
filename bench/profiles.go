package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// profiled is what runs while a node is profiled. It is repeated until the profiles are done.
type profiled struct {
	name    string
	flags   []string // of `sockeye bench`
	serve   []string // of `sockeye serve`
	cluster bool     // the profiled node receives what another one publishes
	settle  time.Duration
	inUse   bool // the memory that is in use is of interest too
}

// profiledScenarios are those of the table, made to last.
func profiledScenarios(s settings) []profiled {
	clients := "--clients=" + strconv.Itoa(s.clients)
	hold := "--hold=" + (s.profileTime + time.Minute).String()
	return []profiled{
		// Short intervals, so that the heartbeats show. The first seconds are the connects, which have a profile of their own.
		{name: "idle", flags: []string{"--scenario=idle", "--steps=" + strconv.Itoa(s.clients), hold},
			serve: []string{"--ping-interval=1s"}, settle: 3 * time.Second, inUse: true},
		{name: "connect", flags: []string{"--scenario=connect", clients}},
		{name: "echo", flags: []string{"--scenario=echo", "--clients=50", "--messages=10000000"}, settle: time.Second},
		{name: "burst", flags: []string{"--scenario=burst", clients, "--copies=100", "--rounds=100000"}, settle: 2 * time.Second},
		{name: "single", flags: []string{"--scenario=single", clients, "--rounds=1000000"}, settle: 2 * time.Second},
		{name: "targeted", flags: []string{"--scenario=targeted", clients, "--messages=10000000"}, settle: 2 * time.Second},
		{name: "churn", flags: []string{"--scenario=churn", "--clients=200", "--messages=10000000"}, settle: time.Second},
		{name: "polling-echo", flags: []string{"--transport=polling", "--scenario=echo", "--clients=50", "--messages=10000000"}, settle: time.Second},
		{name: "cluster-burst", flags: []string{"--scenario=burst", clients, "--copies=100", "--rounds=100000"}, settle: 2 * time.Second, cluster: true},
	}
}

// runProfiles writes a file for each scenario into the folder s.profiles.
func runProfiles(ctx context.Context, s settings) error {
	if err := os.MkdirAll(s.profiles, 0o755); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "sockeye-profiles-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	for _, sc := range profiledScenarios(s) {
		if !wanted(s.only, sc.name) {
			continue
		}
		log.Print("profiles of ", sc.name)
		text, err := profileScenario(ctx, s, sc, folder)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		if err := os.WriteFile(filepath.Join(s.profiles, sc.name+".txt"), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// profileScenario starts a node, keeps it busy and returns the tables of its profiles.
func profileScenario(ctx context.Context, s settings, sc profiled, folder string) ([]byte, error) {
	kind := ""
	if sc.cluster {
		kind = redisPubSub
	}
	between, err := startBroker(ctx, kind, 2, &tools{folder: folder})
	if err != nil {
		return nil, err
	}
	defer between.end()
	where := between.place(0, place{})
	if where.pprof, err = freePort(); err != nil {
		return nil, err
	}
	srv := servers(programs{sockeye: s.sockeye, redis: true})[0]
	srv.extra = sc.serve
	node, err := startServer(ctx, srv, where, folder)
	if err != nil {
		return nil, err
	}
	defer node.stop()
	flags := append([]string{"bench", "http://" + node.address(), "--quiet"}, sc.flags...)
	if sc.cluster {
		other, err := startServer(ctx, srv, between.place(1, place{}), folder)
		if err != nil {
			return nil, err
		}
		defer other.stop()
		flags = append(flags, "--via=http://"+other.address())
	}

	busy, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- keepBusy(busy, s.sockeye, flags) }()
	tables, err := takeProfiles(ctx, s, sc, where.pprof, folder)
	cancel()
	if err := errors.Join(err, <-ended); err != nil {
		return nil, err
	}
	head := strings.Join(append([]string{"sockeye serve --app bench"}, sc.serve...), " ") + "\nsockeye bench " + strings.Join(sc.flags, " ") + "\n"
	return append([]byte(head), tables...), nil
}

// keepBusy repeats a run of the generator until ctx ends.
func keepBusy(ctx context.Context, sockeye string, flags []string) error {
	for {
		cmd := exec.CommandContext(ctx, sockeye, flags...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its processes, too
		cmd.WaitDelay = stopTime
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sockeye %s: %w\n%s", strings.Join(flags, " "), err, out)
		}
	}
}

// takeProfiles takes the profiles at the same time, over s.profileTime, and returns the top of each.
func takeProfiles(ctx context.Context, s settings, sc profiled, port int, folder string) ([]byte, error) {
	select {
	case <-time.After(sc.settle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	seconds := "?seconds=" + strconv.Itoa(int(s.profileTime.Seconds()))
	files := map[string]string{}
	failed := make(chan error)
	for _, what := range []string{"profile", "allocs"} {
		files[what] = filepath.Join(folder, sc.name+"-"+what)
		go func() { failed <- fetch(ctx, port, what+seconds, files[what]) }()
	}
	if err := errors.Join(<-failed, <-failed); err != nil {
		return nil, err
	}
	tables := []table{
		{"CPU", files["profile"], nil},
		{"CPU with what it calls, functions of Sockeye alone", files["profile"], []string{"-cum", "-show=sockeye-io/sockeye/(server|adapter|internal)"}},
		{"allocated bytes", files["allocs"], []string{"-sample_index=alloc_space"}},
	}
	if sc.inUse {
		heap := filepath.Join(folder, sc.name+"-heap")
		if err := fetch(ctx, port, "heap?gc=1", heap); err != nil {
			return nil, err
		}
		tables = append(tables, table{"bytes in use after a collection", heap, []string{"-sample_index=inuse_space"}})
	}
	var out bytes.Buffer
	for _, t := range tables {
		if err := t.write(ctx, &out); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func fetch(ctx context.Context, port int, what, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/%s", port, what), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", what, resp.Status, body)
	}
	return os.WriteFile(file, body, 0o644)
}

var (
	// pprofHead is what a table says of the program.
	pprofHead = regexp.MustCompile(`(?m)^(File|Build ID|Type|Time|Active filters|   show=|Dropped|Showing).*\n`)
	// typeArguments are written out, and long.
	typeArguments = regexp.MustCompile(`\[go\.shape\..*\]`)
)

// table is one view of a profile.
type table struct {
	title string
	file  string
	flags []string // of `go tool pprof`
}

func (t table) write(ctx context.Context, out *bytes.Buffer) error {
	args := append([]string{"tool", "pprof", "-top", "-nodecount=10"}, t.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, t.file)...)
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	fmt.Fprintf(out, "\n%s\n", t.title)
	out.Write(shorten(text))
	return nil
}

// shorten leaves out what differs from build to build or only widens a table.
func shorten(text []byte) []byte {
	return typeArguments.ReplaceAll(pprofHead.ReplaceAll(text, nil), []byte("[...]"))
}
