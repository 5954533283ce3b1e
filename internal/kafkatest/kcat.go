package kafkatest

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// Kcat runs kcat, a client that is none of ours, on the broker and returns what it prints. It is installed where it is missing.
func (b *Broker) Kcat(stdin string, args ...string) string {
	b.t.Helper()
	return kcat(b.t, stdin, append([]string{"-b", b.Addr}, args...))
}

func kcat(t testing.TB, stdin string, args []string) string {
	t.Helper()
	if err := install("kcat", "kcat"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("kcat", args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("kcat %q: %v\n%s", args, err, &errs)
	}
	return out.String()
}
