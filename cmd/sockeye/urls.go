package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// maxURLs is how many addresses of this machine are shown.
const maxURLs = 4

// announce writes for somebody at a terminal what to open in a browser.
func (c *serveCommand) announce(w io.Writer, listening net.Addr, own []net.Addr) {
	what := map[string]string{"chat": "the chat page", "bench": "for sockeye bench", "conformance": "for test suites", "engine": "Engine.IO"}[c.App]
	for i, url := range c.urls(listening, own) {
		if i == 0 {
			fmt.Fprintf(w, "\n  %s  %s\n", url, what)
			continue
		}
		fmt.Fprintf(w, "  %s  from other machines\n", url)
	}
	fmt.Fprintln(w)
}

// urls lists where a node can be reached: on this machine, and at its own addresses if it listens on all of them.
func (c *serveCommand) urls(listening net.Addr, own []net.Addr) []string {
	addr, err := netip.ParseAddrPort(listening.String())
	if err != nil {
		return nil
	}
	scheme := "http://"
	if c.TLSCert != "" {
		scheme = "https://"
	}
	path := "/"
	if c.App == "engine" && c.Path == "" {
		path = "/engine.io/"
	} else if c.App == "engine" {
		path = c.Path
	}
	url := func(host string) string {
		return scheme + net.JoinHostPort(host, strconv.Itoa(int(addr.Port()))) + path
	}
	if !addr.Addr().IsUnspecified() {
		if addr.Addr().IsLoopback() {
			return []string{url("localhost")}
		}
		return []string{url(addr.Addr().String())}
	}
	urls := []string{url("localhost")}
	for _, a := range own {
		network, ok := a.(*net.IPNet)
		if ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() && len(urls) < maxURLs {
			urls = append(urls, url(network.IP.String()))
		}
	}
	return urls
}
