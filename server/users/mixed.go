package users

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
)

// mixed knows whether there are nodes that serve the namespace and do not keep the directory. The watcher writes.
type mixed struct {
	mode   Mixed // static
	found  atomic.Bool
	others atomic.Pointer[[]adapter.NodeID]
}

func (m *mixed) init(mode Mixed) {
	m.mode = mode
	m.found.Store(true)
	m.others.Store(new([]adapter.NodeID))
}

func (m *mixed) on() bool { return m.mode == MixedOn || m.mode == MixedAuto && m.found.Load() }

// bystanders are nodes that are members of the cluster, and so skip what is meant for foreign ones.
func (m *mixed) bystanders() []adapter.NodeID { return *m.others.Load() }

// lookAround looks for nodes that do not keep the directory. lives is the roll, nil if it could not be read. It reports whether the
// broker answers.
func (d *Directory) lookAround(ctx context.Context, lives map[string]string) bool {
	keep := make(map[adapter.NodeID]bool, len(lives))
	for life := range lives {
		keep[d.members.nodeOf(life)] = true
	}
	var bystanders []adapter.NodeID
	counted := 1
	for id, mem := range d.members.known() {
		if !mem.serves || mem.node.State == adapter.NodeAbsent {
			continue
		}
		counted++
		if lives != nil && !keep[id] {
			bystanders = append(bystanders, id)
		}
	}
	if lives != nil {
		d.mixed.others.Store(&bystanders)
	}
	n, err := d.nsp.ServerCount(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		n = counted
	case err != nil:
		return false
	}
	found := n > counted || len(d.mixed.bystanders()) > 0
	if d.mixed.found.Swap(found) != found && d.mixed.mode == MixedAuto {
		d.log.Info("nodes that do not keep the directory of users", "there are some", found, "servers", n, "members", counted, "withoutDirectory", len(bystanders))
	}
	return true
}

// incomplete reports whether there may be users that no directory knows.
func (d *Directory) incomplete() bool { return d.mixed.on() }
