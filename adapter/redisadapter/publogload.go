package redisadapter

import (
	"bufio"
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// prepare loads the scripts of the logs over a new connection, if there are logs. What goes wrong shows when they are called.
func (pub *publisher) prepare(conn net.Conn) {
	if !pub.scripts.Load() {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(pub.servers.answer))
	defer func() { _ = conn.SetDeadline(time.Time{}) }()
	var b []byte
	for _, s := range pubLogScripts {
		b = appendCommand(b, []any{"script", "load", s.text})
	}
	if _, err := conn.Write(b); err != nil {
		return
	}
	r := bufio.NewReader(conn)
	for range pubLogScripts {
		if _, err := readResponse(r); err != nil {
			return
		}
	}
}

// loadScripts loads them on all masters of a Redis Cluster.
func (s *servers) loadScripts(ctx context.Context) error {
	return s.cluster.ForEachMaster(ctx, func(ctx context.Context, rdb *redis.Client) error {
		for _, script := range pubLogScripts {
			if err := rdb.ScriptLoad(ctx, script.text).Err(); err != nil {
				return err
			}
		}
		return nil
	})
}
