package main

import (
	"os"
	"strings"
	"testing"
)

// TestReadme holds that the program in README.md is this one, which compiles, and that it stays short.
func TestReadme(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(program)+"```\n") {
		t.Error("the program in README.md is not examples/hello/main.go")
	}
	if lines := strings.Count(string(program), "\n"); lines >= 25 {
		t.Errorf("the program has %d lines, which is not short", lines)
	}
}
