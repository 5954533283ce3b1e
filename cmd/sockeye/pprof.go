package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"
)

// checkLoopback refuses an address that other machines may reach: profiles show what the process has in its memory, and
// whoever can ask for them can keep it busy.
func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not a loopback address such as 127.0.0.1:6060; "+
			"from elsewhere, forward a port to it (ssh -L, kubectl port-forward)", addr)
	}
	return nil
}

// profiles serves net/http/pprof on an address of its own.
type profiles struct {
	web    *http.Server
	served chan struct{} // closed when Serve has returned
}

// startProfiles listens on addr; "" means no profiles, and a nil result whose stop does nothing.
func startProfiles(addr string, log *slog.Logger) (*profiles, error) {
	if addr == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--pprof-addr: %w", err)
	}
	p := &profiles{served: make(chan struct{}), web: &http.Server{
		Handler:           profileHandlers(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(p.served)
		if err := p.web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("profiles are not served any more", "error", err)
		}
	}()
	log.Info("serving profiles", "url", "http://"+listener.Addr().String()+"/debug/pprof/")
	return p, nil
}

// stop cuts off the profiles that are being taken.
func (p *profiles) stop() {
	if p == nil {
		return
	}
	p.web.Close()
	<-p.served
}

// profileHandlers has what net/http/pprof would put into the default mux.
func profileHandlers() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return mux
}
