package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// secureClient trusts the authorities, and connects anew for each request unless it is told otherwise.
func secureClient(t *testing.T, pool *x509.CertPool, own ...tls.Certificate) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: own}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// handshake opens a session, and returns whom the node was.
func handshake(client *http.Client, addr string) (*tls.ConnectionState, error) {
	resp, err := client.Get("https://" + addr + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !strings.HasPrefix(string(body), `0{"sid":`) {
		err = fmt.Errorf("handshake %q", body)
	}
	return resp.TLS, err
}

// TestServeTLS serves with a certificate of its own making.
func TestServeTLS(t *testing.T) {
	cert, key, pool := selfSigned(t)
	addr := start(t, "--tls-cert", cert, "--tls-key", key)
	state, err := handshake(secureClient(t, pool), addr)
	if err != nil || state.NegotiatedProtocol != "" {
		t.Errorf("protocol %v, %v", state, err)
	}
}

// TestNewCertificate replaces the files of a node in each way that is usual. What is no good changes nothing.
func TestNewCertificate(t *testing.T) {
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	first := install(t, cert, key)
	n := startNode(t, "n1", []string{"--tls-cert", cert, "--tls-key", key})
	if _, err := handshake(secureClient(t, first), n.addr); err != nil {
		t.Fatal(err)
	}
	news := 0
	served := func(how string, pool *x509.CertPool) {
		t.Helper()
		news++
		n.waitForTimes("new certificate", news)
		if _, err := handshake(secureClient(t, pool), n.addr); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
	second := install(t, cert, key)
	served("renamed", second)

	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.waitFor("the former one stays in use")
	if _, err := handshake(secureClient(t, second), n.addr); err != nil {
		t.Errorf("with a bad key on disk: %v", err)
	}

	// Kubernetes: the names are links into a folder that is a link itself, which is replaced.
	third := install(t, filepath.Join(folder, "v1", "tls.crt"), filepath.Join(folder, "v1", "tls.key"))
	link(t, "v1", filepath.Join(folder, "..data"))
	link(t, "..data/tls.crt", cert)
	link(t, "..data/tls.key", key)
	served("links", third)
	fourth := install(t, filepath.Join(folder, "v2", "tls.crt"), filepath.Join(folder, "v2", "tls.key"))
	link(t, "v2", filepath.Join(folder, "..data"))
	served("another folder behind the link", fourth)
}

// TestHangup asks for the files of a folder of which nothing is told, since it was replaced.
func TestHangup(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "certificates")
	cert, key := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	install(t, cert, key)
	n := startNode(t, "n1", []string{"--tls-cert", cert, "--tls-key", key})
	if err := os.Rename(folder, folder+".old"); err != nil {
		t.Fatal(err)
	}
	second := install(t, cert, key)
	hangUp(t)
	n.waitFor("new certificate")
	if _, err := handshake(secureClient(t, second), n.addr); err != nil {
		t.Error(err)
	}
}

// TestClientCertificates has clients with a certificate of the authority, of another one, and without.
func TestClientCertificates(t *testing.T) {
	cert, key, pool := selfSigned(t)
	clientCert, clientKey, _ := selfSigned(t)
	strangerCert, strangerKey, _ := selfSigned(t)
	known, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := tls.LoadX509KeyPair(strangerCert, strangerKey)
	if err != nil {
		t.Fatal(err)
	}
	for mode, nobody := range map[string]bool{clientAuthRequire: false, clientAuthIfGiven: true} {
		addr := start(t, "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", clientCert, "--tls-client-auth", mode)
		for who, c := range map[string]struct {
			own  []tls.Certificate
			want bool
		}{"known": {[]tls.Certificate{known}, true}, "stranger": {[]tls.Certificate{stranger}, false}, "nobody": {nil, nobody}} {
			client := secureClient(t, pool)
			client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(c.own) == 0 {
					return new(tls.Certificate), nil
				}
				return &c.own[0], nil // also where the node has not named its authority
			}
			if _, err := handshake(client, addr); (err == nil) != c.want {
				t.Errorf("%s, %s: %v", mode, who, err)
			}
		}
	}
}

// TestNewPeerCertificates replaces certificate and authority of both nodes of a cluster, after which a websocket is relayed.
func TestNewPeerCertificates(t *testing.T) {
	redis := redistest.Single(t)
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	install(t, cert, key)
	flags := []string{
		"--redis", "redis://" + redis.Addr, "--peer-addr", "127.0.0.1:0", "--peer-tls-cert", cert, "--peer-tls-key", key, "--peer-tls-ca", cert,
	}
	one, two := startNode(t, "n1", flags), startNode(t, "n2", flags)
	one.waitFor("redis adapter is up")
	two.waitFor("redis adapter is up")
	upgrade := func() string {
		session := pollClient(t, one.addr)
		for late := time.Now().Add(20 * time.Second); ; {
			status := upgradeAt(t, two.addr, session.address[strings.Index(session.address, "sid="):])
			if strings.Contains(status, " 101 ") || time.Now().After(late) { // until the nodes know each other
				return status
			}
		}
	}
	if status := upgrade(); !strings.Contains(status, " 101 ") {
		t.Fatalf("relayed with %q", status)
	}
	install(t, cert, key)
	one.waitFor("new certificate")
	two.waitFor("new certificate")
	if status := upgrade(); !strings.Contains(status, " 101 ") {
		t.Errorf("relayed with %q when both have a new certificate", status)
	}
}

// upgradeAt asks a node for a websocket and returns the first line of the answer.
func upgradeAt(t *testing.T, addr, session string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=websocket&%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", session, addr)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// install puts a certificate of its own making where it belongs, each file at once.
func install(t *testing.T, cert, key string) *x509.CertPool {
	t.Helper()
	newCert, newKey, pool := selfSigned(t)
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}

// link makes a symbolic link, in place of what has the name.
func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// hangUp sends SIGHUP to this process, in which a node must be running.
func hangUp(t *testing.T) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(syscall.SIGHUP)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret), pool
}
