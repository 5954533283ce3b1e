//go:build !linux

package main

import (
	"errors"
	"net"
)

// poller is for Linux only.
type poller struct{}

func newPoller() (*poller, error) { return nil, errors.New("the hot poller needs Linux") }

func (*poller) run() {}

func (*poller) adopt(*net.TCPConn) error { return nil }

func (*poller) stop() error { return nil }
