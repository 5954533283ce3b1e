package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Values of --tls-client-auth.
const (
	clientAuthRequire = "require"
	clientAuthIfGiven = "verify-if-given"
)

// tlsFlags say how clients connect by TLS.
type tlsFlags struct {
	TLSCert       string `name:"tls-cert" type:"existingfile" help:"PEM file of the certificate chain; with --tls-key connections are TLS. Both are read again when they change, and on SIGHUP."`
	TLSKey        string `name:"tls-key" type:"existingfile" help:"PEM file of the certificate's private key."`
	TLSClientCA   string `name:"tls-client-ca" type:"existingfile" help:"PEM file of the authorities whose certificates clients must have; read again as --tls-cert is."`
	TLSClientAuth string `name:"tls-client-auth" enum:",require,verify-if-given" default:"" placeholder:"MODE" help:"require (default): clients without a certificate of --tls-client-ca are refused; verify-if-given: those with another one."`
	HTTP2         bool   `name:"http2" help:"Offer HTTP/2 to clients that poll over TLS: a browser's requests share one connection then. Websockets have connections of their own, as ever."`
}

func (f *tlsFlags) validateTLS() error {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key need each other")
	case f.TLSClientCA != "" && f.TLSCert == "":
		return errors.New("--tls-client-ca needs --tls-cert")
	case f.TLSClientAuth != "" && f.TLSClientCA == "":
		return errors.New("--tls-client-auth needs --tls-client-ca")
	case f.HTTP2 && f.TLSCert == "":
		return errors.New("--http2 needs --tls-cert")
	}
	return nil
}

// certificate reads the files for clients' connections; nil without TLS.
func (f *tlsFlags) certificate() (*tlsFiles, error) {
	if f.TLSCert == "" {
		return nil, nil
	}
	t := &tlsFiles{flags: "--tls-cert, --tls-key", cert: f.TLSCert, key: f.TLSKey, ca: f.TLSClientCA, base: tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	}}
	if f.HTTP2 {
		t.base.NextProtos = []string{"h2", "http/1.1"}
	}
	switch {
	case f.TLSClientCA == "":
	case f.TLSClientAuth == clientAuthIfGiven:
		t.base.ClientAuth = tls.VerifyClientCertIfGiven
	default:
		t.base.ClientAuth = tls.RequireAndVerifyClientCert
	}
	_, err := t.load()
	return t, err
}

// maxTLSFile is how long each of the files may be, in bytes.
const maxTLSFile = 4 << 20

// tlsFiles are a certificate, its key and maybe authorities, which can be read again: connections that come afterwards have
// the new ones. All methods may be called concurrently.
type tlsFiles struct {
	// Static after construction.
	flags         string // which name the certificate and the key, for errors
	cert, key, ca string
	base          tls.Config // what all configurations have in common

	now atomic.Pointer[tlsLoaded]

	// Guarded by mu.
	mu  sync.Mutex
	sum [sha256.Size]byte // of what was read last and is in use
}

// tlsLoaded is what the files said at one time.
type tlsLoaded struct {
	config *tls.Config // with everything, for both sides of a connection
	until  time.Time   // when the certificate expires
}

// load reads the files. What they said before stays in use if they are no good, or have not changed.
func (t *tlsFiles) load() (changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var texts [3][]byte
	for i, path := range []string{t.cert, t.key, t.ca} {
		if path == "" {
			continue
		}
		if texts[i], err = readBounded(path); err != nil {
			return false, fmt.Errorf("%s: %w", t.flags, err)
		}
	}
	sum := sha256.Sum256(bytes.Join(texts[:], []byte{0}))
	if t.now.Load() != nil && sum == t.sum {
		return false, nil
	}
	loaded, err := t.parse(texts[0], texts[1], texts[2])
	if err != nil {
		return false, err
	}
	t.sum = sum
	t.now.Store(loaded)
	return true, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxTLSFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxTLSFile)
	}
	return os.ReadFile(path)
}

func (t *tlsFiles) parse(cert, key, ca []byte) (*tlsLoaded, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.flags, err)
	}
	config := t.base.Clone()
	config.Certificates = []tls.Certificate{pair}
	if t.ca != "" {
		authorities, err := certificates(ca)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %s: %w", t.ca, err)
		}
		config.ClientCAs, config.RootCAs = authorities, authorities
	}
	return &tlsLoaded{config, pair.Leaf.NotAfter}, nil
}

// certificates reads all there are; unlike x509.CertPool.AppendCertsFromPEM it passes over none that is no good.
func certificates(text []byte) (*x509.CertPool, error) {
	pool, found := x509.NewCertPool(), false
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pool.AddCert(cert)
		found = true
	}
	if !found {
		return nil, errors.New("no certificate")
	}
	return pool, nil
}

// current is what the files said last.
func (t *tlsFiles) current() *tls.Config { return t.now.Load().config }

// server is for a listener: each handshake takes what the files said last.
func (t *tlsFiles) server() *tls.Config {
	return &tls.Config{
		MinVersion:         t.base.MinVersion,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.current(), nil },
	}
}

// folders are those whose entries may be replaced when the files change.
func (t *tlsFiles) folders() []string {
	var list []string
	for _, path := range []string{t.cert, t.key, t.ca} {
		if folder := filepath.Dir(path); path != "" && !slices.Contains(list, folder) {
			list = append(list, folder)
		}
	}
	return list
}
