package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// adminClient says how a command trusts the address for operators, and is trusted there.
type adminClient struct {
	CA   string `name:"ca" type:"existingfile" env:"SOCKEYE_ADMIN_CA" placeholder:"FILE" help:"PEM file of authorities of the node's certificate, beside those of the system."`
	Cert string `type:"existingfile" env:"SOCKEYE_ADMIN_CERT" placeholder:"FILE" help:"PEM file of a client certificate; with --key."`
	Key  string `type:"existingfile" env:"SOCKEYE_ADMIN_KEY" placeholder:"FILE" help:"PEM file of its private key."`
}

// checkPair refuses half of a client certificate.
func (c *adminClient) checkPair() error {
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("--cert and --key need each other")
	}
	return nil
}

// client makes an HTTP client for the node, which the caller closes.
func (c *adminClient) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca: %s has no certificate", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}}, nil
}
