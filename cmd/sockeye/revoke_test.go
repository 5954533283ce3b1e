package main

import (
	"io"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestRevokeWithoutRedis revokes tokens at one node and by the command: they are refused at a second node, at a third that starts later,
// and at a fourth that starts after the broker was started anew. Others are taken.
func TestRevokeWithoutRedis(t *testing.T) {
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		nats := natstest.Single(t)
		testRevoke(t, "nats", []string{"--nats", nats.URL}, func(old []*runningNode) {
			nats.Kill()
			nats.Start()
			const keeps = "this node keeps the users of the cluster"
			redistest.Eventually(t, "the nodes have chosen anew", func() bool {
				times := 0
				for _, n := range old {
					times += strings.Count(n.log.String(), keeps)
				}
				return times >= 2
			})
		})
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		kafka := kafkatest.Single(t, nil)
		testRevoke(t, "kafka", []string{"--kafka", kafka.Addr}, func([]*runningNode) { kafka.Restart() })
	})
}

func testRevoke(t *testing.T, broker string, cluster []string, restart func(old []*runningNode)) {
	key := keyFile(t)
	flags := append([]string{"--auth", "jwt", "--jwt-key", key, "--admin-addr", "127.0.0.1:0", "--admin-token-file", tokenFile(t, "operator-0123456789")}, cluster...)
	one, two := startNode(t, "n1", flags), startNode(t, "n2", flags)
	one.waitFor(broker + " adapter is up")
	two.waitFor(broker + " adapter is up")
	token := func(user string) string { return printed(t, "token", "--jwt-key", key, "--user", user) }
	enter := func(n *runningNode, token, answer string) *polling {
		t.Helper()
		c := openPolling(t, n.addr)
		redistest.Eventually(t, "the node knows which tokens are revoked", func() bool {
			c = openPolling(t, n.addr)
			c.send(withToken(token))
			return !strings.Contains(c.await("4"), "unavailable")
		})
		c = openPolling(t, n.addr)
		c.send(withToken(token))
		c.await(answer)
		return c
	}
	const revoked = `44{"message":"token was revoked","data":{"code":"revoked"}}`
	stolen, late := token("ann"), token("dan")
	ann, dan := enter(two, stolen, "40{"), enter(two, late, "40{")
	printed(t, append([]string{"revoke", "ann"}, cluster...)...)
	newOperator(one, "--token-file", tokenFile(t, "operator-0123456789")).does("revoke dan --ahead 1s", `tokens of "dan" that were issued before `)
	for _, c := range []*polling{ann, dan} {
		c.await(`42["auth:revoked",{"code":"revoked"}]`)
		c.await("41")
	}
	refuses := func(nodes ...*runningNode) {
		t.Helper()
		for _, n := range nodes {
			enter(n, stolen, revoked)
			enter(n, late, revoked)
			enter(n, token("bob"), "40{")
		}
	}
	for _, n := range []*runningNode{one, two} { // one of them was told, the other one hears of it
		for _, token := range []string{stolen, late} {
			redistest.Eventually(t, "a node hears that a token was revoked", func() bool {
				c := openPolling(t, n.addr)
				c.send(withToken(token))
				return strings.HasPrefix(c.await("4"), revoked)
			})
		}
	}
	refuses(one, two)
	three := startNode(t, "n3", flags)
	refuses(three)
	old := []*runningNode{one, two, three}
	restart(old)
	refuses(append(old, startNode(t, "n4", flags))...)
}

// TestRevokeNowhere: without a node, or without the broker, nothing keeps a revocation, and the command says so.
func TestRevokeNowhere(t *testing.T) {
	nats := natstest.Single(t)
	var stderr strings.Builder
	if status := run(t.Context(), []string{"revoke", "ann", "--nats", nats.URL, "--timeout", "1s"}, io.Discard, &stderr); status == 0 || !strings.Contains(stderr.String(), "find out who keeps") {
		t.Errorf("without a node: status %d, %s", status, stderr.String())
	}
	stderr.Reset()
	if status := run(t.Context(), []string{"revoke", "ann", "--kafka", "127.0.0.1:1", "--timeout", "1s"}, io.Discard, &stderr); status == 0 || !strings.Contains(stderr.String(), "revoke tokens") {
		t.Errorf("without a broker: status %d, %s", status, stderr.String())
	}
}
