package forward

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Options of Listen.
type Options struct {
	// Addr is where the private listener listens, host:port; port 0 takes a free one. It must not be the address that clients use.
	// Default: a free port on the address from which this machine reaches Broker.
	Addr string
	// Broker is the host:port of the message broker, used for that default alone. Nothing is sent there.
	Broker string
	// Advertise is the host:port where other nodes reach the listener, if that is another one than where it listens. A port 0 here
	// is the listener's.
	Advertise string

	// ClusterSecret is known to all nodes, 16 bytes at least: whoever has it can send requests to the private listeners. Default:
	// each node draws a key and tells it to the others over the broker.
	ClusterSecret string
	// TLS, if not nil, is used on both sides: with Certificates, RootCAs for the other nodes' listeners, and ClientCAs with
	// ClientAuth, so that both ends of a connection prove who they are. The certificates must be valid for the host of Advertise.
	TLS *tls.Config
	// ClientTLS, if not nil, returns what a connection to another node takes in place of TLS, which has to be there too. It is asked for
	// each connection, so that certificates can change: for the listener, TLS.GetConfigForClient can do that.
	ClientTLS func() *tls.Config

	// HandoverWindow is how long a new polling session may wait for its upgrade before it begins, so that it can move to the node
	// where the upgrade lands; see the package comment. All nodes should have the same. At most 1 s. Default 0: sessions stay where
	// they began, and websockets that land elsewhere are relayed.
	HandoverWindow time.Duration

	// Logger gets what an operator has to know. Default: slog.Default().
	Logger *slog.Logger
}

const (
	minSecret = 16
	maxWindow = time.Second
)

// Validate returns what Listen would say of the options, as far as that can be known without listening.
func (o *Options) Validate() error {
	s, err := o.settings()
	if err != nil {
		return fmt.Errorf("private listener: %w", err)
	}
	host, _, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return fmt.Errorf("private listener: %w", err)
	}
	if ip := net.ParseIP(host); s.Advertise == "" && (host == "" || ip != nil && ip.IsUnspecified()) {
		return fmt.Errorf("private listener %s: %w", s.Addr, errNoAddress)
	}
	_, err = s.advertised(&net.TCPAddr{IP: net.IPv4zero, Port: 1})
	if s.Advertise != "" && err != nil {
		return fmt.Errorf("private listener %s: %w", s.Addr, err)
	}
	return nil
}

func (o *Options) settings() (Options, error) {
	var s Options
	if o != nil {
		s = *o
	}
	s.Logger = cmp.Or(s.Logger, slog.Default())
	switch {
	case s.ClusterSecret != "" && len(s.ClusterSecret) < minSecret:
		return s, fmt.Errorf("ClusterSecret has %d bytes, at least %d are needed", len(s.ClusterSecret), minSecret)
	case s.HandoverWindow < 0 || s.HandoverWindow > maxWindow:
		return s, fmt.Errorf("HandoverWindow must be between 0 and %v, got %v", maxWindow, s.HandoverWindow)
	}
	if s.Addr == "" {
		s.Addr = net.JoinHostPort(sourceFor(s.Broker), "0")
	}
	return s, nil
}

// elsewhere is an address of no machine (RFC 5737): what leads there is the default route.
const elsewhere = "192.0.2.1:9"

// sourceFor returns the address of this machine from which a host is reached. If the host has no address now, it is that of the
// default route, or else the loopback address. Connecting a UDP socket chooses the address and sends nothing.
func sourceFor(hostPort string) string {
	const fallback = "127.0.0.1"
	if hostPort == "" {
		return fallback
	}
	conn, err := net.DialTimeout("udp", hostPort, time.Second)
	if err != nil {
		conn, err = net.Dial("udp", elsewhere)
	}
	if err != nil {
		return fallback
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return fallback
	}
	return host
}

var errNoAddress = errors.New("listens on all addresses: Advertise has to say on which of them other nodes reach it")

// advertised returns what other nodes are told.
func (o *Options) advertised(listening net.Addr) (string, error) {
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return "", err
	}
	if o.Advertise == "" {
		if ip := net.ParseIP(strings.Split(host, "%")[0]); ip == nil || ip.IsUnspecified() {
			return "", errNoAddress
		}
		return listening.String(), nil
	}
	advertisedHost, advertisedPort, err := net.SplitHostPort(o.Advertise)
	if err != nil || advertisedHost == "" {
		return "", fmt.Errorf("value %q of Advertise is not host:port", o.Advertise)
	}
	if advertisedPort == "0" {
		advertisedPort = port
	}
	return net.JoinHostPort(advertisedHost, advertisedPort), nil
}
