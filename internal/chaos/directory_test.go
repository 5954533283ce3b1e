package chaos

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

var nodeDirectory = flag.Bool("node-directory", false, "this node keeps the directory of users")

// registerDirectory has the node keep the directory, and lets the test ask it for a user: Values are the answers of the user's
// sockets, Changes the nodes that hold it.
func registerDirectory(mux *http.ServeMux, srv *server.Server) {
	dir, err := users.New(srv, users.Options{Store: redisadapter.NewUserStore(connectRedis(), nil)})
	if err != nil {
		panic(err) // the process cannot be what the test wants
	}
	srv.Of("/").OnConnection(func(ctx context.Context, s *server.Socket) {
		var auth struct{ User string }
		_ = json.Unmarshal(s.Auth(), &auth)
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = dir.Bind(ctx, s, auth.User, nil) // it holds while Redis is away
	})
	mux.HandleFunc("/user", reply(func(ctx context.Context, q url.Values) answer {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		u := dir.User(q.Get("user"))
		replies, err := users.EmitWithAck[string](ctx, u, "question")
		a := withNodes(replies.Missing, replies.Unanswered, err)
		a.Values = replies.Values
		nodes, err := u.Nodes(ctx)
		for _, n := range nodes {
			a.Changes = append(a.Changes, n.Name)
		}
		a.Error += textOf(err)
		return a
	}))
}

// documentedUser is the Redis user of docs/cluster.md for a flavour with a directory, as arguments of redis-server.
func documentedUser(t *testing.T, flavour string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--user", "sockeye"}
	for _, title := range []string{"\n# " + flavour, "\n# the user directory"} {
		_, rest, ok := strings.Cut(string(text), title)
		_, rest, found := strings.Cut(rest, "ACL SETUSER sockeye ")
		if !ok || !found {
			t.Fatalf("the docs have no rule %q", title)
		}
		rule, _, _ := strings.Cut(strings.Split(rest, "```")[0], "\n#")
		args = append(args, strings.Fields(rule)...)
	}
	return args
}

// reachable waits until each node reaches each user, where it is and nowhere else, and returns how long that was after since.
func (c *cluster) reachable(since time.Time) time.Duration {
	c.t.Helper()
	for _, n := range c.nodes {
		for _, u := range c.users {
			on, _ := u.on()
			if on == nil {
				continue
			}
			var last answer
			c.t.Cleanup(func() {
				if c.t.Failed() {
					c.t.Logf("node %s finds %s: %+v", n.name, u.name, last)
				}
			})
			redistest.Eventually(c.t, fmt.Sprintf("node %s finds %s", n.name, u.name), func() bool {
				last, _ = n.ask("/user?user=" + u.name)
				return slices.Equal(last.Values, []string{u.name}) && slices.Equal(last.Changes, []string{on.name})
			})
		}
	}
	return time.Since(since)
}

// TestDirectoryInTrouble empties and restarts Redis, cuts one node off while another one is frozen, and kills the third, with the rights
// at Redis that the docs name. Each time every user is found where it is, and messages are accounted for.
func TestDirectoryInTrouble(t *testing.T) {
	inAll(t, func(t *testing.T, flavour string) {
		c := &cluster{t: t, flavour: flavour, redis: redistest.Single(t, documentedUser(t, flavour)...), traffic: newTraffic(), begun: time.Now()}
		c.link = redistest.NewLink(t, c.redis.Addr)
		c.args = []string{"-node-directory", "-node-user", "sockeye:secret"}
		c.begin()
		t.Logf("everybody is found after %v", c.reachable(c.begun).Round(time.Millisecond))

		over := c.traffic.begin(trouble{what: "redis started empty"})
		c.redis.Do("FLUSHALL")
		c.redis.Restart()
		emptied := time.Now()
		t.Logf("redis started empty: everybody is found after %v", c.reachable(emptied).Round(time.Millisecond))
		c.crossed(emptied)
		over()

		cut, frozen := c.nodes[2], c.nodes[1]
		overCut, overFrozen := c.traffic.begin(trouble{what: "link of node c cut", node: "c", link: true}), c.traffic.begin(trouble{what: "node b frozen", node: "b"})
		begun := time.Now()
		c.link.Cut()
		frozen.freeze()
		for _, n := range []*node{cut, frozen} {
			u := c.usersOf(n)[0].name
			redistest.Eventually(t, u+" is away", func() bool {
				a, _ := c.nodes[0].ask("/user?user=" + u)
				return strings.Contains(a.Error, users.ErrAway.Error())
			})
		}
		t.Logf("the users of both are away after %v", time.Since(begun).Round(time.Millisecond))
		lasting(begun, frozenFor)
		c.link.Mend()
		frozen.thaw()
		mended := time.Now()
		t.Logf("cut and frozen: everybody is found after %v", c.reachable(mended).Round(time.Millisecond))
		c.crossed(mended)
		overCut()
		overFrozen()

		overKilled := c.traffic.begin(trouble{what: "node a killed", node: "a"})
		homeless := c.usersOf(c.nodes[0])
		for _, u := range homeless {
			u.expectEnd()
		}
		c.nodes[0].kill()
		for _, u := range homeless {
			u.leave()
			c.connect(u, c.nodes[1])
		}
		killed := time.Now()
		c.nodes = c.nodes[1:]
		t.Logf("killed: everybody is found after %v", c.reachable(killed).Round(time.Millisecond))
		c.crossed(killed)
		overKilled()
		c.finish()
	})
}
