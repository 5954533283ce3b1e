package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxHealthAnswer is how much of a node's answer is shown, in bytes.
const maxHealthAnswer = 64 << 10

// healthCommand holds the flags of `sockeye health`, which asks a node how it is, for images and scripts without curl.
type healthCommand struct {
	Admin   string        `env:"SOCKEYE_ADMIN,SOCKEYE_ADMIN_ADDR" default:"http://127.0.0.1:9000" placeholder:"URL" help:"The node's address for operators, a URL or its --admin-addr; http://127.0.0.1:9000 by default."`
	Timeout time.Duration `default:"3s" help:"How long the node may take."`
	Verbose bool          `help:"Print each part of the node."`

	adminClient

	Check string `arg:"" optional:"" default:"readyz" enum:"livez,readyz,startupz" help:"What to ask: readyz (default; whether clients can come), livez or startupz."`
}

// Help is what --help says besides the flags.
func (*healthCommand) Help() string {
	return `Exits with status 0 if the node says yes, 1 if it says no or does not answer.

Examples:
  sockeye health --admin http://127.0.0.1:9000
  sockeye health livez
      Of the node with the SOCKEYE_ADMIN_ADDR of this environment, as in the same container.`
}

// Validate refuses an address that is none. It is called by the flag parser.
func (c *healthCommand) Validate() error {
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout must be positive, got %v", c.Timeout)
	}
	_, err := c.url()
	return errors.Join(c.checkPair(), err)
}

// url is where the node answers.
func (c *healthCommand) url() (string, error) {
	u, err := operatorsURL(c.Admin)
	if err != nil {
		return "", err
	}
	u = u.JoinPath(cmp.Or(c.Check, "readyz"))
	if c.Verbose {
		u.RawQuery = "verbose"
	}
	return u.String(), nil
}

// operatorsURL is where a node serves operators, by a URL or its --admin-addr. A node that listens on all addresses is asked on the
// loopback.
func operatorsURL(address string) (*url.URL, error) {
	given := address
	if !strings.Contains(address, "://") {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("--admin: %w", err)
		}
		switch host { // no name: who is asked from an empty image has no resolver
		case "", "0.0.0.0":
			host = "127.0.0.1"
		case "::":
			host = "::1"
		}
		address = "http://" + net.JoinHostPort(host, port)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("--admin: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--admin: %q is neither a URL nor host:port", given)
	}
	return u, nil
}

// Run asks, prints the answer and tells by its error whether it is yes.
func (c *healthCommand) Run(ctx context.Context, out *streams) error {
	address, err := c.url()
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return usageError{err}
	}
	client, err := c.client()
	if err != nil {
		return usageError{err}
	}
	resp, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the node: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(out.stdout, io.LimitReader(resp.Body, maxHealthAnswer)); err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the node answered %s", resp.Status)
	}
	return nil
}
