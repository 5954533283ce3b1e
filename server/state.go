package server

import "sync"

// State is one kind of value that an application keeps on the sockets of this node, of a type of its own. Where [Data] is JSON
// that other nodes see, what a State keeps stays as it is and is seen here alone: a connection, a game, a channel, a counter. It
// lives as long as the socket; a socket that goes on after its connection was lost starts without. The zero value is ready:
//
//	var player server.State[*Player]
//
//	player.Set(s, &Player{Name: name})
//	p, ok := player.Load(s)
//
// All methods may be called concurrently; what a pointer leads to is the application's to guard. A State must not be copied.
type State[T any] struct {
	_ [0]sync.Mutex // go vet tells of copies
	_ byte          // without a size two of them could have the same address, which is the key
}

// Set keeps a value on a socket, in place of the one before.
func (k *State[T]) Set(s *Socket, value T) { s.Data().setState(k, value) }

// Load returns the value that is kept on a socket and reports whether there is one.
func (k *State[T]) Load(s *Socket) (value T, ok bool) {
	d := s.data.Load()
	if d == nil {
		return value, false
	}
	kept, ok := d.state(k)
	value, _ = kept.(T) // nil is the zero value of an interface
	return value, ok
}

// Delete forgets the value of a socket.
func (k *State[T]) Delete(s *Socket) {
	if d := s.data.Load(); d != nil {
		d.deleteState(k)
	}
}

func (d *Data) setState(key, value any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.states == nil {
		d.states = make(map[any]any)
	}
	d.states[key] = value
}

func (d *Data) state(key any) (value any, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	value, ok = d.states[key]
	return value, ok
}

func (d *Data) deleteState(key any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.states, key)
}
