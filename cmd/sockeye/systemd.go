package main

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// What systemd is told, besides reloading and that the process is alive.
const (
	ready    = daemon.SdNotifyReady
	stopping = daemon.SdNotifyStopping
)

// reloading says that the process takes its configuration anew, until it is ready again.
func reloading() []string {
	list := []string{daemon.SdNotifyReloading}
	if at := daemon.SdNotifyMonotonicUsec(); at != "" {
		list = append(list, at)
	}
	return list
}

// notifier tells systemd how the process fares; without one nobody is told. What systemd's Type=notify, notify-reload and
// WatchdogSec= need.
func notifier(log *slog.Logger) func(...string) {
	return func(states ...string) {
		if _, err := daemon.SdNotify(false, strings.TrimSpace(strings.Join(states, "\n"))); err != nil {
			log.Warn("systemd was not told", "state", states[0], "error", err)
		}
	}
}

// startWatchdog tells systemd that the process is alive, twice as often as it asks for, until stop is called, which waits for
// the end.
func startWatchdog(log *slog.Logger, notify func(...string)) (stop func()) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog's settings make no sense", "error", err)
	}
	if every <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticks := time.NewTicker(every / 2)
		defer ticks.Stop()
		for {
			notify(daemon.SdNotifyWatchdog)
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
