package server

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// RemoteSocket is a socket somewhere in the cluster, as FetchSockets found it. What it tells is of that moment. Its
// methods may be called from any goroutine.
type RemoteSocket struct {
	nsp     *Namespace
	details adapter.SocketDetails
}

func newRemoteSocket(n *Namespace, d adapter.SocketDetails) *RemoteSocket {
	return &RemoteSocket{nsp: n, details: d}
}

// ID returns the socket's id.
func (r *RemoteSocket) ID() string { return r.details.ID }

// Rooms returns the rooms the socket was in, its own included.
func (r *RemoteSocket) Rooms() []string { return r.details.Rooms }

// Handshake returns the socket's handshake. Fields that its node filled in other types than Node's stay empty.
func (r *RemoteSocket) Handshake() Handshake {
	var h Handshake
	// An error is about single fields; the others are there.
	_ = json.Unmarshal(r.details.Handshake, &h)
	return h
}

// Data returns the values attached to the socket, as a JSON object.
func (r *RemoteSocket) Data() json.RawMessage { return r.details.Data }

// Socket returns the socket itself if it is connected to this node.
func (r *RemoteSocket) Socket() (s *Socket, ok bool) { return r.nsp.Socket(r.details.ID) }

// Node names the node that the socket is on, as far as its answer told; "" for one of Node.js with the classic adapter, and on a
// server that is alone.
func (r *RemoteSocket) Node() adapter.NodeID { return r.details.Node }

func (r *RemoteSocket) self() BroadcastOperator {
	b := r.nsp.To(r.details.ID)
	b.flags.Node = r.details.Node
	return b
}

// Emit sends an event to this client. It never blocks.
func (r *RemoteSocket) Emit(event string, args ...any) error { return r.self().Emit(event, args...) }

// Join makes the socket join rooms.
func (r *RemoteSocket) Join(rooms ...string) error { return r.self().SocketsJoin(rooms...) }

// Leave makes the socket leave rooms.
func (r *RemoteSocket) Leave(rooms ...string) error { return r.self().SocketsLeave(rooms...) }

// Disconnect disconnects the socket from its namespace.
func (r *RemoteSocket) Disconnect() error { return r.self().DisconnectSockets() }

// DisconnectClient disconnects the socket's client from all namespaces and closes its connection.
func (r *RemoteSocket) DisconnectClient() error { return r.self().DisconnectClients() }

// emitWithAck gets the first argument of the acknowledgement; the cluster carries no more.
func (r *RemoteSocket) emitWithAck(ctx context.Context, event string, args []any) (Args, error) {
	replies, err := BroadcastWithAck[parser.Payload](ctx, r.self(), event, args...)
	if len(replies.Values) > 0 {
		list, err := parser.MarshalArgs(replies.Values[0])
		if err != nil {
			return Args{}, err
		}
		return list.Args()
	}
	if err == nil || errors.Is(err, ErrAckMissing) && replies.Unanswered == 0 {
		err = ErrDisconnected // nobody received the packet, or the socket has gone since
	}
	return Args{}, err
}
