package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// States of components, besides those of adapter.BrokerState.
const (
	stateStarting = "starting"
	stateUp       = "up"
	stateDown     = "down"
	stateStopping = "stopping"
	stateServing  = "serving"
	stateDraining = "draining"
)

// life is how far a node has come. The zero value is one that has not started. All methods may be called concurrently.
type life struct {
	started  atomic.Pointer[time.Time] // when it began to listen for clients
	stopping atomic.Pointer[time.Time] // when it was told to end
}

func (l *life) start() { setOnce(&l.started) }
func (l *life) stop()  { setOnce(&l.stopping) }

func setOnce(at *atomic.Pointer[time.Time]) {
	now := time.Now()
	at.CompareAndSwap(nil, &now)
}

// component is a part of a node of which its health tells.
type component struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// OK says that the state is the one that is hoped for.
	OK bool `json:"ok"`
	// Critical says that a node in which this one is not OK is not ready for clients.
	Critical bool       `json:"critical"`
	Since    *time.Time `json:"since,omitempty"` // when the state began, where that is known
	Reason   string     `json:"reason,omitempty"`
}

func (c component) String() string {
	text := c.Name + " " + c.State
	if c.Since != nil {
		text += fmt.Sprintf(" for %v", time.Since(*c.Since).Round(time.Second))
	}
	if c.Reason != "" {
		text += ", " + c.Reason
	}
	return text
}

// probes answers the questions of balancers, and of what starts and ends processes.
type probes struct {
	node        *app
	needsBroker bool // a node without its broker is not ready
}

// report is an answer in detail.
type report struct {
	Status     string      `json:"status"` // "ok" or "unavailable"
	Components []component `json:"components,omitempty"`
}

// register adds the three questions to what operators see.
func (p *probes) register(mux *operatorMux) {
	mux.add("/livez", "200 as long as the process answers; depends on nothing else", p.answer(func() []component { return nil }))
	mux.add("/readyz", "200 while clients should be sent here, else 503", p.answer(p.components))
	mux.add("/startupz", "200 once the node listens for clients, else 503", p.answer(func() []component {
		return []component{p.startup()}
	}))
}

// answer serves a question whose answer follows from components.
func (p *probes) answer(components func() []component) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		all := components()
		answer, status := report{Status: "ok", Components: all}, http.StatusOK
		for _, c := range all {
			if c.Critical && !c.OK {
				answer.Status, status = "unavailable", http.StatusServiceUnavailable
			}
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Add("Vary", "Accept")
		body := answer.text()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if wantsDetail(r) {
			w.Header().Set("Content-Type", "application/json")
			body = answer.detail()
		}
		w.WriteHeader(status)
		_, _ = w.Write(body) // who asked may have gone
	}
}

func wantsDetail(r *http.Request) bool {
	return r.URL.Query().Has("verbose") || strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "application/json")
}

// text is one word for a machine, and for a reader a line about each critical component that is not as it should be.
func (r report) text() []byte {
	var b bytes.Buffer
	b.WriteString(r.Status + "\n")
	for _, c := range r.Components {
		if c.Critical && !c.OK {
			fmt.Fprintln(&b, c)
		}
	}
	return b.Bytes()
}

func (r report) detail() []byte {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		panic(err) // it consists of texts and times
	}
	return append(b, '\n')
}

// components lists what readiness depends on, and what an operator would look at next.
func (p *probes) components() []component {
	list := []component{p.listener()}
	if p.node.server != nil {
		list = append(list, p.drain())
	}
	if p.node.cluster != nil {
		list = append(list, p.broker())
	}
	if p.node.directory != nil {
		list = append(list, p.directoryStore())
	}
	return list
}

// startup does not change any more once it is OK: what comes later is a matter of readiness.
func (p *probes) startup() component {
	c := component{Name: "startup", State: stateStarting, Critical: true}
	if at := p.node.life.started.Load(); at != nil {
		c.State, c.OK, c.Since = "done", true, at
	}
	return c
}

func (p *probes) listener() component {
	l, c := &p.node.life, component{Name: "listener", State: stateStarting, Critical: true}
	if at := l.started.Load(); at != nil {
		c.State, c.OK, c.Since = stateUp, true, at
	}
	if at := l.stopping.Load(); at != nil {
		c.State, c.OK, c.Since = stateStopping, false, at
	}
	return c
}

// broker is critical only for operators who want that: while a broker is away its nodes serve their own clients, and taking all
// of them out of the balancer at once would leave nobody to serve.
func (p *probes) broker() component {
	h := p.node.cluster.health()
	c := component{Name: "broker", State: h.state.String(), OK: h.state == adapter.BrokerUp, Critical: p.needsBroker}
	if !h.since.IsZero() {
		c.Since = &h.since
	}
	if h.reason != nil {
		c.Reason = h.reason.Error()
	}
	return c
}

func (p *probes) directoryStore() component {
	c := component{Name: "directory", State: stateUp, OK: true}
	if p.node.directory.Stats().StoreAway {
		c.State, c.OK = stateDown, false
	}
	return c
}

func (p *probes) drain() component {
	if p.node.server.Draining() {
		return component{Name: "drain", State: stateDraining, Critical: true}
	}
	return component{Name: "drain", State: stateServing, OK: true, Critical: true}
}
