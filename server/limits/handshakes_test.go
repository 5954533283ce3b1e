package limits_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/servertest"
)

func expectRefusal(t testing.TB, got *servertest.CloseError, status int) {
	t.Helper()
	if got == nil || got.Status != status {
		t.Errorf("got %v, want a refusal with %d", got, status)
	}
}

// A client that opens sessions too fast is told when to come back; others at other addresses do not notice.
func TestHandshakesPerAddress(t *testing.T) {
	for _, transport := range []string{engine.TransportPolling, engine.TransportWebSocket} {
		t.Run(transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := start(t, &limits.Options{HandshakesPerAddress: limits.Rate{PerSecond: 1, Burst: 3}}, nil)
				abuser := from("192.0.2.1:1000")
				abuser.Transport = transport
				for i := range 10 {
					if got := n.refused(t, abuser); (got != nil) != (i >= 3) {
						t.Errorf("handshake %d: %v", i, got)
					}
				}
				expectRefusal(t, n.refused(t, abuser), http.StatusTooManyRequests)
				good := n.connect(t, "192.0.2.2:1000")
				echo(t, good)
				n.expectHits(t, map[string]uint64{"address_handshakes": 8})
				time.Sleep(time.Second)
				if got := n.refused(t, abuser); got != nil {
					t.Errorf("a second later: %v", got)
				}
				expectRefusal(t, n.refused(t, abuser), http.StatusTooManyRequests)
			})
		})
	}
}

// The refusal says in words and in a header what the client is to do.
func TestRefusedHandshakeSaysWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{HandshakesPerAddress: limits.Rate{PerSecond: 0.1}}, nil)
		get := func() *http.Response {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://test/socket.io/?EIO=4&transport=polling", nil)
			r.Header.Set(fromHeader, "192.0.2.1:1000")
			answer, err := n.web.HTTPClient().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		first := get()
		first.Body.Close()
		second := get()
		defer second.Body.Close()
		body, _ := io.ReadAll(second.Body)
		if got := fmt.Sprint(second.StatusCode, " ", second.Header.Get("Retry-After"), " ", string(body)); got !=
			`429 10 {"code":4,"message":"Too many requests"}` {
			t.Error(got)
		}
	})
}

// A host that takes another IPv6 address for each session is still one, and one that takes other networks is bound by theirs.
func TestHandshakesPerNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{
			HandshakesPerAddress: limits.Rate{PerSecond: 1, Burst: 5},
			HandshakesPerNetwork: limits.Rate{PerSecond: 1, Burst: 20},
		}, nil)
		accepted := 0
		for i := range 10 {
			if n.refused(t, from(fmt.Sprintf("[2001:db8:1:1::%x]:1000", i))) == nil {
				accepted++
			}
		}
		if accepted != 5 {
			t.Errorf("%d handshakes of one host", accepted)
		}
		for i := range 100 {
			if n.refused(t, from(fmt.Sprintf("[2001:db8:1:%x::1]:1000", 100+i))) == nil {
				accepted++
			}
		}
		if accepted != 20 {
			t.Errorf("%d handshakes of one network", accepted)
		}
		echo(t, n.connect(t, "[2001:db8:2:1::1]:1000"))
		echo(t, n.connect(t, "192.0.2.1:1000"))
		if hits := n.limits.Stats(); hits["address_handshakes"] != 5 || hits["network_handshakes"] != 85 {
			t.Errorf("hits %v", hits)
		}
	})
}

// The node as a whole takes no more than it can. Who is beyond the limit of its own address takes nothing from that.
func TestHandshakesPerNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{
			HandshakesPerAddress: limits.Rate{PerSecond: 1, Burst: 1},
			HandshakesPerNode:    limits.Rate{PerSecond: 10, Burst: 20},
		}, nil)
		for range 1000 {
			n.refused(t, from("192.0.2.1:1000"))
		}
		good := n.connect(t, "192.0.2.2:1000")
		accepted := 2
		for i := range 200 {
			got := n.refused(t, from(fmt.Sprintf("198.51.%d.1:1000", i)))
			if got == nil {
				accepted++
			} else {
				expectRefusal(t, got, http.StatusServiceUnavailable)
			}
		}
		if accepted != 20 {
			t.Errorf("%d handshakes", accepted)
		}
		echo(t, good)
		time.Sleep(time.Second)
		echo(t, n.connect(t, "192.0.2.3:1000"))
	})
}

// Connections are counted as long as they live, by address and by network.
func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{ConnectionsPerAddress: 2, ConnectionsPerNetwork: 3}, nil)
		first, second := n.connect(t, "192.0.2.1:1"), n.connect(t, "192.0.2.1:2")
		expectRefusal(t, n.refused(t, from("192.0.2.1:3")), http.StatusTooManyRequests)
		third := n.connect(t, "192.0.2.2:1")
		expectRefusal(t, n.refused(t, from("192.0.2.3:1")), http.StatusTooManyRequests)
		echo(t, n.connect(t, "192.0.3.1:1"))
		n.expectHits(t, map[string]uint64{"address_connections": 1, "network_connections": 1})
		third.Client().Close()
		synctest.Wait()
		echo(t, n.connect(t, "192.0.2.3:1"))
		first.Client().Cut()
		synctest.Wait()
		fourth := n.connect(t, "192.0.2.1:4")
		expectRefusal(t, n.refused(t, from("192.0.2.1:5")), http.StatusTooManyRequests)
		echo(t, second)
		echo(t, fourth)
	})
}

// Connections that never join are bounded, and those that have joined do not count.
func TestUnjoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{Unjoined: 3}, nil)
		good := n.connect(t, "192.0.2.2:1")
		synctest.Wait() // the limit is told of a socket behind the client's answer
		for i := range 3 {
			n.web.Dial(t, from(fmt.Sprintf("192.0.2.1:%d", 1+i)))
		}
		expectRefusal(t, n.refused(t, from("192.0.2.1:9")), http.StatusServiceUnavailable)
		echo(t, good)
		time.Sleep(50 * time.Second) // the server's ConnectTimeout ends them
		echo(t, good)
		echo(t, n.connect(t, "192.0.2.2:2"))
		n.expectHits(t, map[string]uint64{"unjoined": 1})
	})
}

// The address is that of the client whom a trusted proxy names; what others say counts for nothing.
func TestAddressBehindProxies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxies, err := server.ParseTrustedProxies("10.0.0.0/8")
		if err != nil {
			t.Fatal(err)
		}
		n := start(t, &limits.Options{ConnectionsPerAddress: 1}, &server.Options{Engine: server.EngineOptions{TrustedProxies: proxies}})
		through := func(proxy, client string) *servertest.DialOptions {
			o := from(proxy)
			o.Header.Set("X-Forwarded-For", client)
			return o
		}
		n.web.Dial(t, through("10.0.0.1:1", "192.0.2.1"))
		n.web.Dial(t, through("10.0.0.1:2", "192.0.2.2"))
		expectRefusal(t, n.refused(t, through("10.0.0.2:1", "192.0.2.1")), http.StatusTooManyRequests)
		// A client that names others is still itself, behind a proxy and without.
		expectRefusal(t, n.refused(t, through("10.0.0.1:3", "203.0.113.9, 192.0.2.1")), http.StatusTooManyRequests)
		n.web.Dial(t, through("198.51.100.1:1", "192.0.2.7"))
		expectRefusal(t, n.refused(t, through("198.51.100.1:2", "192.0.2.8")), http.StatusTooManyRequests)
		n.web.Dial(t, through("10.0.0.1:4", "192.0.2.8"))
	})
}

// The server's own AllowRequest and Observe are asked as before.
func TestInstallKeepsOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &seen{}
		asked, refuse := 0, false
		n := start(t, limits.Public(), &server.Options{Engine: server.EngineOptions{
			AllowRequest: func(*http.Request) error {
				if asked++; refuse {
					return &server.Refusal{Message: "not today"}
				}
				return nil
			},
			Observe: func(*engine.Session) engine.Observer { return o },
		}})
		s := n.connect(t, "192.0.2.1:1")
		echo(t, s)
		s.Client().Close()
		synctest.Wait()
		refuse = true
		expectRefusal(t, n.refused(t, from("192.0.2.1:1")), http.StatusBadRequest)
		if got := o.String(); got != "received 2, sent 3, held true, closed 1" || asked != 2 {
			t.Errorf("observed: %s; asked %d times", got, asked)
		}
	})
}

// The preset for the open internet refuses pages of other origins; a policy that the options have stays.
func TestSameOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		foreign := &servertest.DialOptions{Header: http.Header{"Origin": {"https://evil.example"}, "Cookie": {"session=secret"}}}
		n := start(t, limits.Public(), nil)
		expectRefusal(t, n.refused(t, foreign), http.StatusBadRequest)
		foreign.Transport = engine.TransportPolling
		expectRefusal(t, n.refused(t, foreign), http.StatusForbidden)
		echo(t, n.connect(t, "192.0.2.1:1"))
		open := start(t, limits.Public(), &server.Options{Engine: server.EngineOptions{CORS: &server.CORS{Origins: []string{"https://evil.example"}}}})
		if got := open.refused(t, foreign); got != nil {
			t.Error(got)
		}
	})
}
