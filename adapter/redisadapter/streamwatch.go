package redisadapter

import (
	"context"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

const (
	// watchPause is the time between two looks at the readers of a stream, at least.
	watchPause = 25 * time.Millisecond
	// readerIdle is how long a connection has sent nothing, in seconds, that does not wait for entries and is no reader that is behind.
	readerIdle = 3
)

// watch looks at the readers of the stream when the pace wants to know how far they are, until ctx ends. It rests for longer than it has
// looked: where Redis has many connections a look costs it something.
func (r *streamReader) watch(ctx context.Context) error {
	r.pace.watch(1)
	defer r.pace.watch(-1)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.pace.look:
		}
		began, written := time.Now(), r.pace.written()
		readers := r.readers(ctx)
		r.pace.looked(written, readers, time.Now())
		if err := brokerstate.Pause(ctx, max(watchPause, 2*time.Since(began))); err != nil {
			return err
		}
	}
}

// readers returns the connections whose last command was XREAD, and whether they wait for entries; nil if Redis does not tell, for
// example because the user may not ask. It does not tell which stream they read.
func (r *streamReader) readers(ctx context.Context) map[string]bool {
	rdb, err := r.streams.server(ctx, r.stream)
	if err != nil {
		return nil
	}
	list, err := rdb.Do(ctx, "client", "list", "type", "normal").Text()
	if err != nil {
		return nil
	}
	return readersOf(list)
}

// readersOf finds the readers in an answer to CLIENT LIST: lines of NAME=VALUE with spaces between them.
func readersOf(list string) map[string]bool {
	readers := make(map[string]bool)
	for line := range strings.Lines(list) {
		var id, idle, flags, command string
		for field := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(field, "=")
			switch name {
			case "id":
				id = value
			case "idle":
				idle = value
			case "flags":
				flags = value
			case "cmd":
				command = value
			}
		}
		waits := strings.Contains(flags, "b")
		if command == "xread" && (waits || len(idle) == 1 && idle[0] < '0'+readerIdle) {
			readers[id] = waits
		}
	}
	return readers
}
