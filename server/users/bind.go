package users

import (
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/server"
)

// binds are the functions of OnBind and UseBind. The zero value is ready.
type binds struct {
	mu sync.RWMutex
	// Guarded by mu; both are copied when they are changed.
	list []*func(*server.Socket, string)
	asks []*func(*server.Socket, string) error
}

// UseBind registers a function that is asked before a socket of this node is bound to a user, once more if it is already. Its error
// refuses: Bind returns it, and the socket has the user that it had before. It runs on the goroutine that has called Bind. The
// returned function removes it.
func (d *Directory) UseBind(f func(s *server.Socket, user string) error) (remove func()) {
	return register(&d.binds, &d.binds.asks, f)
}

// OnBind registers a function that is told when a socket of this node was bound to a user, once more if it was before. UserOf
// tells when it is not any more. It runs on the goroutine that has called Bind, and must not block. The returned function removes it.
func (d *Directory) OnBind(f func(s *server.Socket, user string)) (remove func()) {
	return register(&d.binds, &d.binds.list, f)
}

// register adds a function to a list of b.
func register[F any](b *binds, list *[]*F, f F) (remove func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*list = append(slices.Clip(*list), &f)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		*list = slices.DeleteFunc(slices.Clone(*list), func(other *F) bool { return other == &f })
	}
}

// ask calls the functions of UseBind until one refuses.
func (b *binds) ask(s *server.Socket, user string) error {
	b.mu.RLock()
	asks := b.asks
	b.mu.RUnlock()
	for _, f := range asks {
		if err := (*f)(s, user); err != nil {
			return err
		}
	}
	return nil
}

func (b *binds) tell(s *server.Socket, user string) {
	b.mu.RLock()
	list := b.list
	b.mu.RUnlock()
	for _, f := range list {
		(*f)(s, user)
	}
}
