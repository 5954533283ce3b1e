//go:build !linux

package engine

import "net"

// stampArrivals does nothing: nobody tells when something arrived, and requests are served as they are read.
func stampArrivals(net.Listener) {}

func (c *pollConn) readNoting(p []byte) (int, error) { return c.Conn.Read(p) }

func (c *wsConn) readProbe(b *readBatch) (drained bool, err error) { return c.readPlainly(b) }
