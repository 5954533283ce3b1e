package forward

import (
	"syscall"
	"time"
)

// unconfirmedFor is how long a node's kernel may take to confirm what it was sent, until the connection counts as broken.
const unconfirmedFor = 20 * time.Second

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7).
const tcpUserTimeout = 18

// limitUnconfirmed has connections to a machine that is gone end within unconfirmedFor; by default it takes a quarter of an hour.
func limitUnconfirmed(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unconfirmedFor/time.Millisecond))
	})
}
