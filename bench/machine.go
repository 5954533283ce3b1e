package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// description of the machine and the programs, for whoever reads the results.
type description struct {
	Date     string  `json:"date"`
	CPU      string  `json:"cpu"`
	Cores    int     `json:"cores"`
	MemoryGB float64 `json:"memory_gb"`
	Kernel   string  `json:"kernel"`
	Load     float64 `json:"load_average"` // before the run
	Go       string  `json:"go"`
	Node     string  `json:"node"`
	Sockeye  string  `json:"sockeye"` // commit of the source
	Socketio string  `json:"socket_io"`
	Bun      string  `json:"bun"`
	// Versions of its engine, and of the crate.
	BunEngine string `json:"bun_engine"`
	Rust      string `json:"socketioxide"`
	Zishang   string `json:"zishang520"`
}

func machine(ctx context.Context, sockeye string) description {
	say := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	file := func(name string) string {
		data, _ := os.ReadFile(name) // an empty text is unknown
		return string(data)
	}
	kb, _ := strconv.ParseFloat(match(file("/proc/meminfo"), `MemTotal:\s+(\d+)`), 64)
	load, _ := strconv.ParseFloat(match(file("/proc/loadavg"), `^(\S+)`), 64)
	return description{
		Date: time.Now().UTC().Format("2006-01-02 15:04 MST"), CPU: match(file("/proc/cpuinfo"), `model name\s*: (.*)`),
		Cores: runtime.NumCPU(), MemoryGB: kb / 1e6, Kernel: say("uname", "-sr"), Load: load, Go: runtime.Version(),
		Node: say("node", "--version"), Sockeye: say("git", "describe", "--always", "--dirty"),
		Socketio: match(file("node_modules/socket.io/package.json"), `"version": "([^"]+)"`) + ", ws " +
			match(file("node_modules/ws/package.json"), `"version": "([^"]+)"`),
		Bun: match(file("node_modules/bun/package.json"), `"version": "([^"]+)"`), BunEngine: match(file("node_modules/@socket.io/bun-engine/package.json"), `"version": "([^"]+)"`),
		Rust:    match(file("peers/socketioxide/Cargo.toml"), `socketioxide = "=([^"]+)"`),
		Zishang: match(file("go.mod"), `servers/socket/v3 (v\S+)`),
	}
}

func match(text, pattern string) string {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return "unknown"
	}
	return m[1]
}

// warnings say what makes the figures doubtful.
func (d description) warnings() []string {
	var list []string
	if d.Load > 0.5 {
		list = append(list, fmt.Sprintf("the load average was %.2f at the start: other programs were running", d.Load))
	}
	return list
}
