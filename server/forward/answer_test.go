package forward_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// certificates makes an authority and a certificate of a node that is valid for the loopback address.
func certificates(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: authorities, ClientCAs: authorities,
		ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// TestTLS: with mutual TLS polls, websockets and handovers work, and nobody without a certificate gets as far as a pass.
func TestTLS(t *testing.T) {
	config := certificates(t)
	for name, window := range map[string]time.Duration{"relayed": 0, "handed over": time.Second} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2, func(_ int, f *forward.Options, _ *server.Options) { f.TLS, f.HandoverWindow = config, window })
			c.byTurn(0)
			client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
			c.onlyUpgrades(1, 1)
			client.Upgrade()
			c.echo(client.Connect("/", nil), 0, 10)
			c.expectUnknown(0)
			if a := c.nodes[1].fwd.Stats(); a.Relayed+a.Arrived != 1 {
				t.Errorf("relayed %d, arrived %d", a.Relayed, a.Arrived)
			}
			conn, err := tls.Dial("tcp", c.nodes[0].fwd.Listening(), &tls.Config{RootCAs: config.RootCAs, ServerName: "127.0.0.1"})
			if err == nil {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err = conn.Read(make([]byte, 1)); err == nil {
					t.Error("somebody without a certificate is answered")
				}
			}
			if refused := c.nodes[0].fwd.Stats().Refused["malformed"]; refused != 0 {
				t.Error("somebody without a certificate sent a request")
			}
		})
	}
}

// TestHeaders: an answer has what the first node's CORS and middlewares say once, and what the session's node says.
func TestHeaders(t *testing.T) {
	c := newCluster(t, 2, func(_ int, _ *forward.Options, s *server.Options) {
		s.Engine.CORS = &server.CORS{Origins: []string{"https://app.example"}, Credentials: true}
	})
	for _, n := range c.nodes {
		n.Engine().Use(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Add("X-Middleware", n.name)
				next.ServeHTTP(w, r)
			})
		})
	}
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
	ask := func(node int) http.Header {
		c.byTurn(node)
		r, _ := http.NewRequest(http.MethodPost, "http://cluster/socket.io/?EIO=4&transport=polling&sid="+client.SID(), strings.NewReader("6"))
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Sockeye-Peer", "1 request a b 1 1 "+client.SID()+" 1.2.3.4 true h 00") // means nothing from a client
		resp, err := c.HTTPClient().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("at node %d: status %d", node, resp.StatusCode)
		}
		resp.Header.Del("Date")
		return resp.Header
	}
	direct, forwarded := ask(0), ask(1)
	direct.Set("X-Middleware", "node1")
	if len(direct) != len(forwarded) {
		t.Errorf("forwarded: %v, direct: %v", forwarded, direct)
	}
	for name, values := range direct {
		if strings.Join(forwarded[name], "|") != strings.Join(values, "|") {
			t.Errorf("%s is %q, direct it is %q", name, forwarded[name], values)
		}
	}
	if n := c.nodes[0].fwd.Stats().Refused; n["malformed"]+n["signature"] != 0 {
		t.Errorf("what a client sends as a pass went on: %v", n)
	}
}

// TestOwnOrigin: the session's node knows by which host and how the client came to the first node, whose proxy tells.
func TestOwnOrigin(t *testing.T) {
	proxies, err := server.ParseTrustedProxies("0.0.0.0/0", "::/0")
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, 2, func(i int, _ *forward.Options, s *server.Options) {
		s.Engine.CORS = &server.CORS{Origins: []string{"https://partner.example"}}
		if i == 1 {
			s.Engine.TrustedProxies = proxies
		}
	})
	for origin, want := range map[string]bool{
		"https://site.example:8443": true, "https://partner.example": true, "https://site.example:9443": false, "https://other.example": false,
	} {
		c.byTurn(0)
		client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
		c.byTurn(1)
		_, err := c.TryDial(t, &servertest.DialOptions{SessionID: client.SID(), Header: http.Header{
			"Origin": {origin}, "X-Forwarded-For": {"8.8.8.8"}, "X-Forwarded-Host": {"site.example"}, "X-Forwarded-Port": {"8443"},
		}})
		if (err == nil) != want {
			t.Errorf("%s: %v, want a websocket: %v", origin, err, want)
		}
	}
}
