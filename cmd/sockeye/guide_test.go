package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestGuideFlags holds that each flag of serve that is about connections is in the migration guide's table of options, the bounds and
// the cluster having tables of their own, and that each flag named there exists.
func TestGuideFlags(t *testing.T) {
	text, err := os.ReadFile("../../docs/migrating-from-node.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Options\n")
	table, _, _ = strings.Cut(table, "\n## ")
	parser, err := kong.New(new(commands), durations)
	if err != nil {
		t.Fatal(err)
	}
	exists := make(map[string]bool)
	for _, command := range parser.Model.Leaves(false) {
		if command.Name != "serve" {
			continue
		}
		for _, flag := range command.Flags {
			exists["--"+flag.Name], exists["--no-"+flag.Name] = true, true
			if flag.Group == nil {
				continue
			}
			switch flag.Group.Title {
			case "Connections", "Pages of other origins", "Proxies":
				if !strings.Contains(table, "`--"+flag.Name) && !strings.Contains(table, "`--no-"+flag.Name+"`") {
					t.Errorf("flag --%s is not in the table", flag.Name)
				}
			}
		}
	}
	if len(exists) < 60 {
		t.Errorf("serve has only %d flags", len(exists)/2)
	}
	for _, flag := range regexp.MustCompile("--[a-z][a-z-]+").FindAllString(table, -1) {
		if !exists[flag] {
			t.Errorf("%s in the table is no flag", flag)
		}
	}
}
