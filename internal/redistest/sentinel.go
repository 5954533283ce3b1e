package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is what the sentinels call their master.
const MasterName = "main"

// SentinelServers is a master with two replicas, watched by three sentinels.
type SentinelServers struct {
	t testing.TB
	// Servers are the master at the start and its replicas.
	Servers   []*Server
	Sentinels []*Server
}

// Sentinel starts a master, two replicas and three sentinels. A master that is silent for a second is replaced.
func Sentinel(t testing.TB) *SentinelServers {
	t.Helper()
	g := &SentinelServers{t: t}
	var host, port string
	for i := range 3 {
		args := []string{"--repl-diskless-sync-delay", "0"}
		if i > 0 {
			args = append(args, "--replicaof", host+" "+port)
		}
		s := Single(t, args...)
		if i == 0 {
			host, port, _ = net.SplitHostPort(s.Addr)
		}
		g.Servers = append(g.Servers, s)
	}
	for range 3 {
		s := newServer(t)
		s.sentinel = true
		_, own, _ := net.SplitHostPort(s.Addr)
		config := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nsentinel monitor %s %s %s 2\n"+
			"sentinel down-after-milliseconds %[3]s 1000\nsentinel failover-timeout %[3]s 5000\n", own, s.dir, MasterName, host, port)
		if err := os.WriteFile(filepath.Join(s.dir, "sentinel.conf"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Start()
		g.Sentinels = append(g.Sentinels, s)
	}
	for _, s := range g.Sentinels {
		Eventually(t, "the sentinels know each other and the replicas", func() bool {
			return len(s.Do("SENTINEL", "SENTINELS", MasterName).([]any)) == 2 && len(s.Do("SENTINEL", "REPLICAS", MasterName).([]any)) == 2
		})
	}
	return g
}

// Client returns a new client that finds the master through the sentinels. The caller closes it.
func (g *SentinelServers) Client() *redis.Client {
	addrs := make([]string, len(g.Sentinels))
	for i, s := range g.Sentinels {
		addrs[i] = s.Addr
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: MasterName, SentinelAddrs: addrs, MaxRetries: -1})
}

// Master returns the server that the sentinels call the master.
func (g *SentinelServers) Master() *Server {
	g.t.Helper()
	addr := g.Sentinels[0].Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName).([]any)
	for _, s := range g.Servers {
		if s.Addr == net.JoinHostPort(addr[0].(string), addr[1].(string)) {
			return s
		}
	}
	g.t.Fatalf("the master %v is none of ours", addr)
	return nil
}

// Failover makes the sentinels choose another master, and waits until it is one.
func (g *SentinelServers) Failover() {
	g.t.Helper()
	old := g.Master()
	g.Sentinels[0].Do("SENTINEL", "FAILOVER", MasterName)
	g.AwaitFailover(old)
}

// AwaitFailover waits until another server than old is the master.
func (g *SentinelServers) AwaitFailover(old *Server) {
	g.t.Helper()
	Eventually(g.t, "the sentinels have chosen another master", func() bool {
		now := g.Master()
		return now != old && now.Role() == "master"
	})
}
