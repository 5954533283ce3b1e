package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// Run prints what this program was built from.
func (versionCommand) Run(out *streams) error {
	_, err := fmt.Fprintln(out.stdout, versionText())
	return err
}

// versionText names the version, the commit as far as the build knew it, the Go release and the system.
func versionText() string {
	return "sockeye " + buildText() + ", " + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH
}

// buildText names the version and, where the build knew it, the commit.
func buildText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{Main: debug.Module{Version: "unknown"}}
	}
	return builtFrom(info)
}

// builtFrom is buildText for what is known of a build.
func builtFrom(info *debug.BuildInfo) string {
	text := info.Main.Version
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := settings["vcs.revision"]
	if commit == "" {
		return text
	}
	text += ", commit " + commit[:min(len(commit), 12)]
	if at := settings["vcs.time"]; at != "" {
		text += " of " + at
	}
	if settings["vcs.modified"] == "true" {
		text += " with changes"
	}
	return text
}
