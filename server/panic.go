package server

import "runtime/debug"

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
