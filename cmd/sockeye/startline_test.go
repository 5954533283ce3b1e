package main

import (
	"strings"
	"testing"
)

// TestStartLine has a node say what it is, in one line, and warn of heartbeats that proxies would not wait for.
func TestStartLine(t *testing.T) {
	n := startNode(t, "chat-1", []string{"--ping-interval", "50s"})
	line, rest, _ := strings.Cut(n.log.String(), "\n")
	for _, want := range []string{
		"msg=starting", "version=", "node=chat-1", "go=go", "pid=", "gomaxprocs=", "descriptors=", "memory=", "app=chat", "adapter=memory",
		"ping_interval=50s", "ping_timeout=20s", "limits=internal", "tls=false",
	} {
		if !strings.Contains(line, " "+want) {
			t.Errorf("no %s in %q", want, line)
		}
	}
	if !strings.Contains(rest, "--ping-interval is as long as proxies wait") {
		t.Errorf("no warning in %q", rest)
	}
	n = startNode(t, "chat-2", []string{"--ping-interval", "49s", "--ping-timeout", "1m"})
	if text := n.log.String(); strings.Contains(text, "level=WARN") {
		t.Errorf("warned: %q", text)
	}
}
