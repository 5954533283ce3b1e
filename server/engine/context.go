package engine

import (
	"context"
	"errors"
	"net/http"
)

// blank is the empty context that Options.SessionContext gets. What is derived from it can be told by its mark.
var blank = context.WithValue(context.Background(), markKey{}, true)

type markKey struct{}

var errForeignContext = errors.New("session context: not derived from the context that the function was given")

// sessionContext asks what is to be kept of a request; nil for nothing.
func (srv *Server) sessionContext(r *http.Request) (context.Context, *ConnectionError) {
	if srv.cfg.SessionContext == nil {
		return nil, nil
	}
	values, err := srv.cfg.SessionContext(blank, r)
	switch {
	case err != nil:
		return nil, forbidden(r, err)
	case values == nil || values == blank:
		return nil, nil
	case values.Value(markKey{}) == nil:
		if srv.warnedContext.Pass(warnInterval) {
			srv.cfg.Logger.Error("sessions are refused", "error", errForeignContext)
		}
		return nil, forbidden(r, errForeignContext)
	}
	// Its end would be the request's or a timer's, and the session's is another one.
	return context.WithoutCancel(values), nil
}

// Value returns what Options.SessionContext has kept under a key for the session; nil if there is nothing. It never changes.
func (s *Session) Value(key any) any {
	if s.extras == nil || s.extras.values == nil {
		return nil
	}
	return s.extras.values.Value(key)
}

// KeepValues returns a function for Options.SessionContext that keeps the values that the request's context has under the
// keys, as middlewares and frameworks have put them there. Those that are not there are left out.
func KeepValues(keys ...any) func(context.Context, *http.Request) (context.Context, error) {
	return func(ctx context.Context, r *http.Request) (context.Context, error) {
		for _, key := range keys {
			if v := r.Context().Value(key); v != nil {
				ctx = context.WithValue(ctx, key, v)
			}
		}
		return ctx, nil
	}
}
