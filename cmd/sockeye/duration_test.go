package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]string{
		"10":          "want 10s or 10000ms",
		"25000":       "want 25s or 25000ms",
		"1500":        "want 1.5s or 1500ms",
		"0.5":         "want 0.5s or 500ms",
		"-10":         "want -10s or -10000ms",
		"1e3":         "want 1s or 1000ms",
		"soon":        "is no duration",
		"10 s":        "is no duration",
		"10sec":       "is no duration",
		"":            "is no duration",
		"NaN":         "is no duration",
		"Inf":         "is no duration",
		"1e300":       "is no duration",
		"99999999999": "is no duration",
	} {
		if d, err := parseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
	for text, want := range map[string]time.Duration{"10s": 10 * time.Second, "10000ms": 10 * time.Second, "1m30s": 90 * time.Second, "0": 0} {
		if d, err := parseDuration(text); err != nil || d != want {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
}

// TestDurationFlags gives each flag of each command that is a duration a number without a unit.
func TestDurationFlags(t *testing.T) {
	parser, err := kong.New(new(commands), durations)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, command := range parser.Model.Leaves(false) {
		for _, flag := range command.Flags {
			if _, ok := flag.Target.Interface().(time.Duration); !ok {
				continue
			}
			found++
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), append(strings.Fields(command.Path()), "--"+flag.Name, "7"), &stdout, &stderr)
			if want := "--" + flag.Name + `: "7" has no unit, want 7s or 7000ms`; status != exitUsage || !strings.Contains(stderr.String(), want) {
				t.Errorf("%s --%s 7: status %d, printed %q", command.Name, flag.Name, status, stderr.String())
			}
		}
	}
	if found < 10 {
		t.Errorf("found only %d flags", found)
	}
	t.Setenv("SOCKEYE_PING_INTERVAL", "25000")
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"serve"}, &stdout, &stderr); status != exitUsage || !strings.Contains(stderr.String(), "want 25s or 25000ms") {
		t.Errorf("from the environment: status %d, printed %q", status, stderr.String())
	}
}
