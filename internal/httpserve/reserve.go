package httpserve

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/internal/seldom"
)

// refusedInterval is the least time between two lines about connections that were refused.
const refusedInterval = 10 * time.Second

// reserve is a listener that keeps one descriptor back. When there is no other left it is given to the next connection, only to
// close that: its client then knows at once, and may try another node, where it would otherwise wait in the kernel's queue until
// somebody else leaves. One goroutine calls Accept.
type reserve struct {
	net.Listener
	log     *slog.Logger
	open    func() (io.Closer, error) // takes a descriptor
	kept    io.Closer                 // nil: it has been used and there was none to replace it
	refused seldom.Counted
}

func newReserve(l net.Listener, log *slog.Logger) *reserve {
	r := &reserve{Listener: l, log: log, open: func() (io.Closer, error) { return os.Open(os.DevNull) }}
	r.keep()
	return r
}

// keep sees to it that there is a descriptor in reserve, and reports whether connections can be served. They can, too, where there is
// nothing to keep, as in a directory tree without /dev/null.
func (r *reserve) keep() bool {
	if r.kept != nil {
		return true
	}
	file, err := r.open()
	if err == nil {
		r.kept = file
	}
	return !exhausted(err)
}

// spend frees the descriptor for the next connection. It reports whether there was one.
func (r *reserve) spend() bool {
	if r.kept == nil {
		return false
	}
	_ = r.kept.Close()
	r.kept = nil
	return true
}

// Accept waits for the next connection that can be served.
func (r *reserve) Accept() (net.Conn, error) {
	for {
		conn, err := r.Listener.Accept()
		switch {
		case err != nil && exhausted(err) && r.spend():
			// The next call finds the connection.
		case err != nil:
			return nil, err
		case r.keep():
			return conn, nil
		default:
			r.refuse(conn)
		}
	}
}

// exhausted reports whether the process, or the system, has no descriptors left.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// refuse closes a connection that took the last descriptor, with a reset, which needs nothing more of either side.
func (r *reserve) refuse(conn net.Conn) {
	under := conn
	for {
		wrapper, ok := under.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		under = wrapper.NetConn()
	}
	if tcp, ok := under.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = under.Close()
	r.keep()
	if held, ok := r.refused.Pass(refusedInterval); ok {
		r.log.Error("connection refused: no descriptors left; ulimit -n, or LimitNOFILE of a systemd unit, raises the limit",
			"limit", DescriptorLimit(), "not_logged", held)
	}
}
