package server

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
)

// protect runs a callback of the application and contains its panic: it is counted, logged with the stack (once in a while for each callback), and
// becomes errPanic. runtime.Goexit, which a failed assertion of a test calls, counts as a panic but cannot be stopped: the
// goroutine ends, and whoever owns it must see to it that what is left is done, see each and Socket.serve.
func (srv *Server) protect(what, namespace, socket string, f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		if v == nil {
			v = "runtime.Goexit was called"
		}
		err = errPanic
		srv.panics.Add(1)
		if held, ok := srv.panicked.Pass(namespace+" "+what, failureInterval); ok {
			srv.opts.Logger.Error("panic in a callback", "callback", what, "namespace", namespace, "socket", socket,
				"panic", v, "stack", string(debug.Stack()), "notLogged", held)
		}
	}()
	err = f()
	returned = true
	return err
}

// each calls f for every item of a list. When a call ends the goroutine by runtime.Goexit the others follow before it
// ends.
func each[T any](list []T, f func(T)) {
	i := 0
	defer func() {
		if i < len(list) {
			each(list[i+1:], f)
		}
	}()
	for ; i < len(list); i++ {
		f(list[i])
	}
}

// protect runs a callback and turns a panic into errPanic. With Options.CloseOnPanic the socket is disconnected.
func (s *Socket) protect(what string, f func() error) (err error) {
	if s.nsp.server.opts.CloseOnPanic {
		err = errPanic // what it stays if f calls runtime.Goexit
		defer func() {
			if err == errPanic {
				s.Disconnect()
			}
		}()
	}
	err = s.nsp.server.protect(what, s.nsp.name, s.id, f)
	return err
}

// fail ends an event with an error.
func (s *Socket) fail(e *Event, err error) {
	// The client may be gone, or the handler may have replied before it failed: neither is worth a second report.
	_ = e.Reply.SendError(err)
	if !errors.Is(err, errPanic) {
		s.report(e.Name, err)
	}
}

// report hands an error to OnError or to the log.
func (s *Socket) report(event string, err error) {
	srv := s.nsp.server
	srv.failures.Add(1)
	misfit := errors.Is(err, ErrInvalidArguments)
	if misfit {
		srv.misfits.count.Add(1)
	}
	if failed := s.nsp.hooks().failed; len(failed) > 0 {
		for _, f := range failed {
			_ = s.protect("OnError", func() error {
				f.value(s.Context(), s, event, err)
				return nil
			})
		}
		return
	}
	if misfit {
		s.warnMisfit(event, err)
		return
	}
	level := slog.LevelWarn
	var ce *ClientError
	if errors.As(err, &ce) || errors.Is(err, ErrDisconnected) || event == "" {
		level = slog.LevelDebug // a client can cause these at will
	}
	if held, ok := srv.failed.Pass(level.String()+s.nsp.name+" "+event, failureInterval); ok {
		srv.opts.Logger.Log(context.Background(), level, "event failed",
			"namespace", s.nsp.name, "socket", s.id, "event", event, "error", err, "notLogged", held)
	}
}
