package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long after the first sign of a change the files are read: who replaces a certificate and its key does so
	// one after the other.
	settle = 200 * time.Millisecond
	// patience is how long files may not fit each other until that is an error.
	patience = 2 * time.Second
	// lookEvery is how often the files are looked at unasked, for file systems that tell nothing and folders that were replaced.
	lookEvery = time.Minute
)

// reloader reads files again when they change, and when SIGHUP asks for it.
type reloader struct {
	log    *slog.Logger
	files  []*tlsFiles
	told   string          // the error that has been logged last, "" if the files are good
	notify func(...string) // tells the supervisor
}

// startReloader watches until stop is called, which waits for the end. Some of files may be nil.
func startReloader(log *slog.Logger, notify func(...string), files ...*tlsFiles) (stop func()) {
	r := &reloader{log: log, notify: notify}
	for _, f := range files {
		if f != nil {
			r.files = append(r.files, f)
		}
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run(ctx, hangup)
	}()
	return func() {
		signal.Stop(hangup)
		cancel()
		<-done
	}
}

func (r *reloader) run(ctx context.Context, hangup <-chan os.Signal) {
	var changes <-chan fsnotify.Event
	var trouble <-chan error
	var watcher *fsnotify.Watcher
	if len(r.files) > 0 {
		var err error
		if watcher, err = fsnotify.NewWatcher(); err != nil {
			r.log.Warn("files of certificates are not watched: they are read every minute and on SIGHUP", "error", err)
		} else {
			defer watcher.Close()
			changes, trouble = watcher.Events, watcher.Errors
			r.watch(watcher)
		}
	}
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	var soon, late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			r.hangup()
		case <-changes:
			if soon == nil {
				soon = time.After(settle)
			}
		case <-trouble: // some changes may have been missed
			if soon == nil {
				soon = time.After(settle)
			}
		case <-soon:
			soon = nil
			if !r.read(false) && late == nil {
				late = time.After(patience)
			}
		case <-late:
			late = nil
			r.read(true)
		case <-ticks.C:
			r.read(true)
			if watcher != nil {
				r.watch(watcher)
			}
		}
	}
}

// watch watches the folders, for a replaced file is another one. What cannot be watched is read every minute all the same.
func (r *reloader) watch(watcher *fsnotify.Watcher) {
	for _, f := range r.files {
		for _, folder := range f.folders() {
			if err := watcher.Add(folder); err != nil {
				r.log.Debug("folder is not watched", "folder", folder, "error", err)
			}
		}
	}
}

// hangup does what SIGHUP asks for.
func (r *reloader) hangup() {
	r.notify(reloading()...)
	r.told = ""
	r.log.Info("reading certificates anew", "files", len(r.files))
	r.read(true)
	r.notify(ready)
}

// read reads all files, and reports whether they are good. The same error is logged once.
func (r *reloader) read(complain bool) bool {
	failed := ""
	for _, f := range r.files {
		changed, err := f.load()
		if err != nil {
			failed = err.Error()
		}
		if changed {
			r.log.Info("new certificate", "file", f.cert, "expires", f.now.Load().until)
		}
	}
	if failed == "" || complain && failed != r.told {
		r.told = failed
		if failed != "" {
			r.log.Error("the files of a certificate are no good, the former one stays in use", "error", failed)
		}
	}
	return failed == ""
}
