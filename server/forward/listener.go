package forward

import (
	"context"
	"io"
	"log"
	"net/http"
	"strings"
	"time"
)

const (
	headerTime = 10 * time.Second
	// maxHeader is more than a public listener allows by default.
	maxHeader = 64 << 10
	// refused begins the header of an answer to a request with a bad pass.
	refused = "refused "
)

func (f *Forwarder) newWeb() *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(f.servePeer), ReadHeaderTimeout: headerTime, IdleTimeout: idleTimeout + 30*time.Second,
		MaxHeaderBytes: maxHeader, ErrorLog: log.New(io.Discard, "", 0),
	}
}

// servePeer serves what another node sends.
func (f *Forwarder) servePeer(w http.ResponseWriter, r *http.Request) {
	p, err := f.admit(r)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	f.count.served.Add(1)
	r.Header.Del(headerName)
	w.Header().Set(headerName, string(f.self))
	switch p.Kind {
	case passRelease:
		f.serveRelease(w, p)
		return
	case passAnswer:
		f.serveAnswer(w, p)
		return
	}
	f.arrivals.await(r.Context(), p.SID)
	f.engine.ServeFor(p.Client, w, r.WithContext(context.WithValue(r.Context(), passKey{}, p)))
}

// admit checks the pass of a request.
func (f *Forwarder) admit(r *http.Request) (*pass, error) {
	values := r.Header[headerName]
	if len(values) != 1 {
		return nil, errMalformed
	}
	p, err := checkPass(f.key, values[0], r.Method, r.RequestURI)
	switch {
	case err != nil:
		return nil, err
	case p.To != f.self:
		return nil, errTarget
	case !f.windows.take(p.From, p.Number):
		return nil, errReplay
	}
	return p, nil
}

// refuse answers a request of somebody who may not send any, without reading on.
func (f *Forwarder) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f.count.refused[err.Error()].Add(1)
	if held, ok := f.refused.Pass(err.Error(), logInterval); ok {
		text := "the private listener has refused a request"
		if err == errSignature {
			text += "; do all nodes have the same --cluster-secret?"
		}
		f.opts.Logger.Warn(text, "from", r.RemoteAddr, "reason", err, "more", held)
	}
	w.Header().Set(headerName, refused+err.Error())
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusForbidden)
}

// refusal returns why a node has refused a request, if it has.
func refusal(said string) (reason string, ok bool) { return strings.CutPrefix(said, refused) }
