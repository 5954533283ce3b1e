package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sockeye-io/sockeye/server/forward"
)

// peerOff is the value of --peer-addr that means no private listener.
const peerOff = "off"

// peerFlags say how requests come to the nodes that have their sessions.
type peerFlags struct {
	PeerAddr       string        `placeholder:"HOST:PORT" help:"Private address on which this node takes requests of its sessions that have landed on other nodes: never one that clients reach. By default a free port on the address from which Redis is reached; off for none, where the load balancer is sticky."`
	PeerAdvertise  string        `placeholder:"HOST:PORT" help:"Where the other nodes reach --peer-addr, if that is another address; port 0 is the listener's."`
	ClusterSecret  string        `secret:"whole" placeholder:"TEXT" help:"Secret of at least 16 bytes with which the nodes sign those requests, the same on all of them; better given as SOCKEYE_CLUSTER_SECRET. By default the nodes tell each other keys over Redis."`
	PeerTLSCert    string        `name:"peer-tls-cert" type:"existingfile" help:"PEM file of this node's certificate for connections between nodes, read again as --tls-cert is, valid for the host that others reach; with --peer-tls-key and --peer-tls-ca both ends prove who they are."`
	PeerTLSKey     string        `name:"peer-tls-key" type:"existingfile" help:"PEM file of its private key."`
	PeerTLSCA      string        `name:"peer-tls-ca" type:"existingfile" help:"PEM file of the authority that has signed the certificates of all nodes."`
	HandoverWindow time.Duration `help:"How long a new polling session waits for its upgrade to websocket, so that it can move to the node where that lands; the same on all nodes, at most 1s. By default it does not wait, and such websockets are relayed."`
}

func (f *peerFlags) flags() []flag {
	return []flag{
		{"--peer-addr", f.PeerAddr != ""},
		{"--peer-advertise", f.PeerAdvertise != ""},
		{"--cluster-secret", f.ClusterSecret != ""},
		{"--peer-tls-cert", f.PeerTLSCert != ""},
		{"--peer-tls-key", f.PeerTLSKey != ""},
		{"--peer-tls-ca", f.PeerTLSCA != ""},
		{"--handover-window", f.HandoverWindow != 0},
	}
}

func (f *peerFlags) validatePeer() error {
	if given := f.PeerTLSCert != ""; given != (f.PeerTLSKey != "") || given != (f.PeerTLSCA != "") {
		return errors.New("--peer-tls-cert, --peer-tls-key and --peer-tls-ca need each other")
	}
	if f.PeerAddr != peerOff {
		return nil
	}
	for _, flag := range f.flags()[1:] {
		if flag.given {
			return fmt.Errorf("%s has no effect with --peer-addr off", flag.name)
		}
	}
	return nil
}

// checkPeer says what listenPeer would refuse, and listens nowhere.
func (f *peerFlags) checkPeer() error {
	if f.PeerAddr == peerOff {
		return nil
	}
	files, err := f.peerFiles()
	if err == nil {
		err = f.peerOptions("", files, nil).Validate()
	}
	return err
}

// listenPeer opens the private listener; nil if there is to be none.
func (f *peerFlags) listenPeer(broker string, files *tlsFiles, log *slog.Logger) (*forward.Forwarder, error) {
	if f.PeerAddr == peerOff {
		return nil, nil
	}
	fwd, err := forward.Listen(f.peerOptions(broker, files, log))
	if err != nil {
		return nil, fmt.Errorf("%w; --peer-addr, --peer-advertise, --cluster-secret and --handover-window say how other nodes reach this one", err)
	}
	return fwd, nil
}

func (f *peerFlags) peerOptions(broker string, files *tlsFiles, log *slog.Logger) *forward.Options {
	opts := &forward.Options{
		Addr: f.PeerAddr, Broker: broker, Advertise: f.PeerAdvertise, ClusterSecret: f.ClusterSecret,
		HandoverWindow: f.HandoverWindow, Logger: log,
	}
	if files != nil {
		opts.TLS, opts.ClientTLS = files.server(), files.current
	}
	return opts
}

// peerFiles reads the files for both ends of connections between nodes; nil without TLS.
func (f *peerFlags) peerFiles() (*tlsFiles, error) {
	if f.PeerTLSCert == "" {
		return nil, nil
	}
	t := &tlsFiles{flags: "--peer-tls-cert, --peer-tls-key", cert: f.PeerTLSCert, key: f.PeerTLSKey, ca: f.PeerTLSCA, base: tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
	}}
	_, err := t.load()
	return t, err
}
