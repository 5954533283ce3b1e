//go:build !linux

package forward

import (
	"context"
	"net"
	"time"
)

// loops are for Linux.
type loops struct{ lingerTime time.Duration }

func (*loops) add(_, _ net.Conn, _ context.Context, _ func()) bool { return false }

func (*loops) endOne() bool { return false }

func (*loops) cut() {}

func (*loops) close() {}
