package redisadapter

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
)

// documentedACL returns the rule that docs/cluster.md has under a comment.
func documentedACL(t *testing.T, comment string) (words []any) {
	t.Helper()
	text, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n# "+comment)
	if !ok {
		t.Fatalf("the docs have no rule for %s", comment)
	}
	_, rest, _ = strings.Cut(rest, "\n")
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "```") {
			break
		}
		for _, word := range strings.Fields(line) {
			words = append(words, word)
		}
	}
	return words
}

// TestRecoveryACL has clients come back, or not in time, with the rights for Redis that the docs name.
func TestRecoveryACL(t *testing.T) {
	for name, rules := range map[string][]string{
		"pubsub":  {"pubsub.", "clients that come back"},
		"dynamic": {"sharded", "clients that come back"},
		"streams": {"streams;", "the same, in addition to streams"},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Single(t)
			for _, rule := range rules {
				s.Do(documentedACL(t, rule)...)
			}
			client := func() redis.UniversalClient {
				return redis.NewClient(&redis.Options{Addr: s.Addr, Username: "sockeye", Password: "secret", MaxRetries: -1})
			}
			told := make(chan string, 10)
			expired := func(_ *server.Namespace, e server.ExpiredSession) { told <- e.SocketID }
			nodes := recoveryNodesOf(t, client, recoveryFlavours()[name], 2, server.RecoveryOptions{Expired: expired})
			r := returning.NewCounting(t)
			r.Come(nodes[0])
			for i := range 3 {
				if err := nodes[1].Of("/").Emit("n", i); err != nil {
					t.Fatal(err)
				}
				if i == 1 {
					r.Until("n", 1)
					r.Conn.Cut()
				}
			}
			if !r.Come(nodes[1]) {
				t.Errorf("the client has not come back: %v, %v", nodes[1].Stats().Recovery, s.Do("ACL", "LOG"))
			}
			hasty := recoveryNodesOf(t, client, recoveryFlavours()[name], 1, server.RecoveryOptions{MaxDisconnectionDuration: 100 * time.Millisecond, Expired: expired})
			late := returning.NewCounting(t)
			late.Come(hasty[0])
			late.Conn.Cut()
			redistest.Eventually(t, "the end of a session is told", func() bool {
				select {
				case id := <-told:
					return id == late.SID
				default:
					return len(s.Do("ACL", "LOG").([]any)) > 0
				}
			})
			if log := s.Do("ACL", "LOG").([]any); len(log) > 0 {
				t.Errorf("Redis has refused %v", log)
			}
		})
	}
}
