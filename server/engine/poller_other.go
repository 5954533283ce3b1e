//go:build !linux

package engine

// poller stands for the poller of Linux; elsewhere connections are read by goroutines.
type poller struct{}

func newPoller(*tasks, *workers) *poller { return nil }

func (*poller) add(*wsConn) bool { return false }
func (*poller) remove(*wsConn)   {}
