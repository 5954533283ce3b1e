package admin

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// Admin is what Instrument has added to a server. All methods may be called from any goroutine.
type Admin struct {
	// Static after construction.
	srv      *server.Server
	pages    *server.Namespace // that pages connect to
	opts     Options
	log      *slog.Logger
	base     baseStats
	began    time.Time
	attempts *attempts
	stop     context.CancelFunc
	ctx      context.Context // ends with Close
	done     chan struct{}   // closed when run has returned
	queue    *queue          // nil in Production
	watched  server.State[*watched]
	begun    server.State[string] // the id of a session that a page has to be told of

	logins, refused, commands atomic.Uint64

	mu sync.Mutex
	// Guarded by mu.
	removals []func()
	polling  map[*server.Socket]*watched // what may be upgraded; in Development
}

// Stats counts what pages and operators did.
type Stats struct {
	Pages    int    // connected to this node
	Logins   uint64 // with a password
	Refused  uint64 // attempts to log in
	Commands uint64 // that operators gave
	Dropped  uint64 // what Development would have told, but for its amount
}

// Instrument adds the namespace for pages to a server; call it before clients come. The error names the option that is wrong.
// Until Close a goroutine sends what the pages are told, in Production also while there is no page, since those on other nodes wait
// for it too.
func Instrument(srv *server.Server, opts *Options) (*Admin, error) {
	o, err := opts.complete(srv)
	if err != nil {
		return nil, err
	}
	a := &Admin{
		srv: srv, opts: o, log: o.Logger, base: newBaseStats(o.ServerID), began: time.Now(), attempts: newAttempts(), done: make(chan struct{}),
		polling: make(map[*server.Socket]*watched),
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.pages = srv.Of(o.Namespace)
	if o.Auth != nil {
		a.keep(a.pages.Use(a.login))
	} else {
		a.log.Warn("the admin UI lets everybody in, who may see and change everything", "namespace", a.pages.Name(), "readonly", o.ReadOnly)
	}
	if !o.ReadOnly {
		a.handleCommands()
	}
	if o.Mode == Development {
		a.queue = newQueue()
		a.watchAll()
	}
	a.keep(a.pages.OnConnection(a.welcome))
	go a.run()
	return a, nil
}

// keep remembers what Close has to undo.
func (a *Admin) keep(remove func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removals = append(a.removals, remove)
}

// Close ends what Instrument has begun: pages that are connected hear nothing more, others are let in no more. It is called before
// or after the server's Shutdown.
func (a *Admin) Close() error {
	a.stop()
	<-a.done
	a.mu.Lock()
	removals := a.removals
	a.removals = nil
	a.mu.Unlock()
	for _, remove := range removals {
		remove()
	}
	return nil
}

// Stats returns the current counts.
func (a *Admin) Stats() Stats {
	s := Stats{Pages: a.pages.LocalCount(), Logins: a.logins.Load(), Refused: a.refused.Load(), Commands: a.commands.Load()}
	if a.queue != nil {
		s.Dropped = a.queue.droppedCount()
	}
	return s
}

// config is what a page learns first.
type config struct {
	SupportedFeatures []string `json:"supportedFeatures"`
}

// welcome begins a page.
func (a *Admin) welcome(ctx context.Context, s *server.Socket) {
	// A page that has gone needs nothing.
	if id, ok := a.begun.Load(s); ok {
		a.begun.Delete(s)
		_ = s.Emit("session", id)
	}
	_ = s.Emit("config", config{a.opts.features()})
	if a.opts.Mode == Development {
		a.sendList(ctx, s)
	}
}

// run sends what pages are told until Close, or the server's end.
func (a *Admin) run() {
	defer close(a.done)
	ticker := time.NewTicker(sampleInterval)
	defer ticker.Stop()
	agg := newAggregates(a.srv.Engine().Stats())
	if errors.Is(a.emitStats(agg), server.ErrClosed) {
		return
	}
	for samples := 1; ; samples++ {
		if !a.await(ticker.C) {
			return
		}
		agg.sample(a.srv.Engine().Stats(), time.Now())
		a.followUpgrades()
		if samples%samplesPerStat != 0 {
			continue
		}
		if errors.Is(a.emitStats(agg), server.ErrClosed) {
			return
		}
	}
}

// await tells what is queued until the time has come. It reports false when everything ends.
func (a *Admin) await(tick <-chan time.Time) bool {
	var more <-chan struct{} // never, in Production
	if a.queue != nil {
		more = a.queue.more
	}
	for {
		select {
		case <-a.ctx.Done():
			return false
		case <-tick:
			return true
		case <-more:
			a.tellQueued()
		}
	}
}
