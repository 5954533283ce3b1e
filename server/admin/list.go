package admin

import (
	"context"
	"sync"

	"github.com/sockeye-io/sockeye/server"
)

// maxQuestions bounds how many namespaces are asked about at the same time.
const maxQuestions = 8

// listAll describes the sockets of the whole cluster, as far as other nodes answer in time, in the namespaces of this node. It
// blocks.
func (a *Admin) listAll(ctx context.Context) []details {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	all := a.srv.Namespaces()
	found := make([][]details, len(all))
	room := &allowance{left: a.opts.MaxSockets}
	free := make(chan struct{}, maxQuestions)
	var asked sync.WaitGroup
	for i, n := range all {
		free <- struct{}{}
		asked.Go(func() {
			defer func() { <-free }()
			found[i] = a.list(ctx, n, room)
		})
	}
	asked.Wait()
	sockets := []details{}
	for _, some := range found {
		sockets = append(sockets, some...)
	}
	return sockets
}

// list describes the sockets of a namespace, if there is room for them.
func (a *Admin) list(ctx context.Context, n *server.Namespace, room *allowance) []details {
	count, err := n.Count(ctx) // Sockeye nodes answer with a number, before anybody collects anything
	if count.Sockets == 0 && err == nil && count.Complete() {
		return nil
	}
	if !room.take(count.Sockets) {
		a.log.Warn("admin UI: too many sockets for the list of a page", "namespace", n.Name(), "sockets", count.Sockets, "max", a.opts.MaxSockets)
		return nil
	}
	result, err := n.FetchSockets(ctx)
	if err != nil || !result.Complete() {
		a.log.Warn("admin UI: the list of sockets is not complete", "namespace", n.Name(), "missing", result.Missing, "unanswered", result.Unanswered, "error", err)
	}
	list := make([]details, len(result.Values))
	for i, s := range result.Values {
		list[i] = remoteDetails(s, n.Name())
	}
	return list
}

// allowance is how many sockets may still be listed.
type allowance struct {
	mu   sync.Mutex
	left int
}

func (w *allowance) take(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > w.left {
		return false
	}
	w.left -= n
	return true
}
