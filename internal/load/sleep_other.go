//go:build !linux

package load

import "time"

// sleep waits as exactly as the runtime can.
func sleep(d time.Duration) { time.Sleep(d) }
