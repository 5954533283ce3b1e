package redistest

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// clusterNodeTimeout is how long a server of a cluster may be silent before its replica takes over.
const clusterNodeTimeout = "1000"

// ClusterServers is a Redis Cluster of three masters, each with one replica.
type ClusterServers struct {
	t testing.TB
	// Servers are the masters at the start and then, in the same order, their replicas.
	Servers []*Server
}

// Cluster starts a Redis Cluster. Further arguments are those of each redis-server.
func Cluster(t testing.TB, args ...string) *ClusterServers {
	t.Helper()
	c := &ClusterServers{t: t}
	for range 6 {
		_, busPort, _ := net.SplitHostPort(FreeAddr(t))
		s := newServer(t, append([]string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", busPort,
			"--cluster-node-timeout", clusterNodeTimeout, "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}, args...)...)
		s.busPort = busPort
		s.Start()
		c.Servers = append(c.Servers, s)
	}
	c.join()
	return c
}

// join makes one cluster of the servers.
func (c *ClusterServers) join() {
	c.t.Helper()
	first := c.Servers[0]
	for i, s := range c.Servers {
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i < 3 {
			s.Do("CLUSTER", "ADDSLOTSRANGE", i*16384/3, (i+1)*16384/3-1)
		}
	}
	for _, s := range c.Servers[1:] {
		host, port, _ := net.SplitHostPort(s.Addr)
		first.Do("CLUSTER", "MEET", host, port, s.busPort)
	}
	for _, s := range c.Servers {
		Eventually(c.t, "the servers of the cluster know each other", func() bool {
			return field(s.Do("CLUSTER", "INFO").(string), "cluster_known_nodes") == "6"
		})
	}
	for i, s := range c.Servers[3:] {
		s.Do("CLUSTER", "REPLICATE", c.Servers[i].ID())
	}
	c.AwaitReady()
}

// AwaitReady waits until every running server says that the cluster works, and every replica is connected.
func (c *ClusterServers) AwaitReady() {
	c.t.Helper()
	for _, s := range c.Servers {
		if !s.Running() {
			continue
		}
		Eventually(c.t, "the cluster works", func() bool {
			replication := s.Do("INFO", "replication").(string)
			return field(s.Do("CLUSTER", "INFO").(string), "cluster_state") == "ok" &&
				(field(replication, "role") == "master" || field(replication, "master_link_status") == "up")
		})
	}
}

// Client returns a new client for the cluster, which the caller closes.
func (c *ClusterServers) Client() *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), MaxRetries: -1})
}

// Addrs lists the addresses of all servers.
func (c *ClusterServers) Addrs() []string {
	addrs := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		addrs[i] = s.Addr
	}
	return addrs
}

// Server returns the server with an address.
func (c *ClusterServers) Server(addr string) *Server {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.Addr == addr {
			return s
		}
	}
	c.t.Fatalf("no server of the cluster has the address %s", addr)
	return nil
}

// Owner returns the master that serves a key.
func (c *ClusterServers) Owner(key string) *Server {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.Running() && s.Role() == "master" && s.owns(s.Do("CLUSTER", "KEYSLOT", key).(int64)) {
			return s
		}
	}
	c.t.Fatalf("no server owns the slot of %q", key)
	return nil
}

// OtherMaster returns a running master that is not this one.
func (c *ClusterServers) OtherMaster(than *Server) *Server {
	c.t.Helper()
	for _, s := range c.Servers {
		if s != than && s.Running() && s.Role() == "master" {
			return s
		}
	}
	c.t.Fatal("there is no other master")
	return nil
}

// Replica returns a running replica of a master.
func (c *ClusterServers) Replica(of *Server) *Server {
	c.t.Helper()
	_, port, _ := net.SplitHostPort(of.Addr)
	for _, s := range c.Servers {
		if s != of && s.Running() && field(s.Do("INFO", "replication").(string), "master_port") == port {
			return s
		}
	}
	c.t.Fatalf("%s has no replica", of.Addr)
	return nil
}

// Failover makes a replica the master of its slots, and waits until it is and its former master knows.
func (c *ClusterServers) Failover(replica *Server) {
	c.t.Helper()
	host, _, _ := net.SplitHostPort(replica.Addr)
	master := c.Server(net.JoinHostPort(host, field(replica.Do("INFO", "replication").(string), "master_port")))
	replica.Do("CLUSTER", "FAILOVER")
	Eventually(c.t, "the replica has taken over", func() bool {
		return replica.Role() == "master" && (!master.Running() || master.Role() != "master")
	})
}

// MoveSlot moves the slot of a key, with what is in it, to another master.
func (c *ClusterServers) MoveSlot(key string, to *Server) {
	c.t.Helper()
	from := c.Owner(key)
	if from == to {
		c.t.Fatalf("the slot of %q is at %s already", key, to.Addr)
	}
	slot := to.Do("CLUSTER", "KEYSLOT", key).(int64)
	host, port, _ := net.SplitHostPort(to.Addr)
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", from.ID())
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.ID())
	for {
		keys := from.Do("CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		from.Do(append([]any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}, keys...)...)
	}
	to.Do("CLUSTER", "SETSLOT", slot, "NODE", to.ID())
	for _, s := range c.Servers {
		if s != to && s.Running() && s.Role() == "master" {
			s.Do("CLUSTER", "SETSLOT", slot, "NODE", to.ID())
		}
	}
}

// ID returns the id of a server in its cluster.
func (s *Server) ID() string {
	s.t.Helper()
	return s.Do("CLUSTER", "MYID").(string)
}

// Role returns "master" or "slave".
func (s *Server) Role() string {
	s.t.Helper()
	return field(s.Do("INFO", "replication").(string), "role")
}

// owns reports whether the server says that a slot is its own.
func (s *Server) owns(slot int64) bool {
	s.t.Helper()
	for line := range strings.Lines(s.Do("CLUSTER", "NODES").(string)) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !strings.Contains(fields[2], "myself") {
			continue
		}
		for _, slots := range fields[8:] {
			low, high, found := strings.Cut(slots, "-")
			if !found {
				high = low
			}
			from, err1 := strconv.ParseInt(low, 10, 64)
			to, err2 := strconv.ParseInt(high, 10, 64)
			if err1 == nil && err2 == nil && from <= slot && slot <= to {
				return true
			}
		}
	}
	return false
}

// field returns a value of an answer to INFO.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}
