package metrics

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/latency"
)

const defaultMaxNamespaces = 50

// Values of the label "namespace" that are no names.
const (
	otherNamespaces   = "other"   // those for which there is no room
	unknownNamespaces = "unknown" // those that there are not
)

// outcomes of events, in the order of series.events.
var outcomes = [...]server.Outcome{
	server.OutcomeHandled, server.OutcomeUnhandled, server.OutcomeRejected, server.OutcomeFailed, server.OutcomePanicked,
}

// series is what is counted of the events of one label.
type series struct {
	label  string // static
	events [len(outcomes)]atomic.Uint64
	took   latency.Histogram
}

func (s *series) count(r server.EventResult) {
	for i, o := range outcomes {
		if o == r.Outcome {
			s.events[i].Add(1)
			break
		}
	}
	s.took.Observe(r.Took)
}

// namespaces are the labels that have been given, and what belongs to them.
type namespaces struct {
	most int // static
	rest series

	all atomic.Pointer[map[string]*series] // by name; never changed, replaced with mu held
	mu  sync.Mutex
}

// of returns what belongs to a name; for names beyond the most there may be, what they share.
func (n *namespaces) of(name string) *series {
	if all := n.all.Load(); all != nil {
		if s := (*all)[name]; s != nil {
			return s
		}
		if len(*all) >= n.most {
			return &n.rest
		}
	}
	return n.add(name)
}

func (n *namespaces) add(name string) *series {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make(map[string]*series)
	if former := n.all.Load(); former != nil {
		if s := (*former)[name]; s != nil {
			return s
		}
		if len(*former) >= n.most {
			return &n.rest
		}
		maps.Copy(all, *former)
	}
	s := &series{label: strings.ToValidUTF8(name, "\uFFFD")}
	all[name] = s
	n.all.Store(&all)
	return s
}

// label returns the value of the label for a name of server.NamespaceStats.
func (n *namespaces) label(name string) string {
	if name == "" {
		return unknownNamespaces
	}
	if s := n.of(name); s != &n.rest {
		return s.label
	}
	return otherNamespaces
}

// series returns all that were counted, by label; two names that are no UTF-8 may have the same.
func (n *namespaces) series() map[string][]*series {
	list := map[string][]*series{otherNamespaces: {&n.rest}}
	if all := n.all.Load(); all != nil {
		for _, s := range *all {
			list[s.label] = append(list[s.label], s)
		}
	}
	return list
}
