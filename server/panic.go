package server

import "runtime/debug"

// protect runs a callback of the application and contains its panic: it is counted, logged once with the stack, and
// becomes errPanic.
func (srv *Server) protect(what, namespace, socket string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errPanic
			srv.panics.Add(1)
			srv.opts.Logger.Error("panic in a callback", "callback", what, "namespace", namespace, "socket", socket,
				"panic", v, "stack", string(debug.Stack()))
		}
	}()
	return f()
}
