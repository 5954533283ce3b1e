package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// maxName bounds user ids and room names, in bytes.
const maxName = 256

// userKey and nodeKey are where a socket's data holds the user that logged in and the node that serves the socket.
const (
	userKey = "user"
	nodeKey = "node"
)

// maxRooms bounds the public rooms that one socket is in.
const maxRooms = 100

// chat is the demo: users log in and send each other messages, on whichever socket the other one is. A user's sockets
// are the room that has the user's id as name; public rooms have names that start with "#".
//
// Clients emit login, send, join, leave, typing, watch, members and whoami, each with an optional acknowledgement that
// carries the answer or {error: {message}}. They receive receive(message, {from, room?}), sent(message, {to}) for what
// another socket of the same user has sent, typing({from, room?}) and, after watch, presence(change).
type chat struct {
	node      func() string // what operators call this node
	sockets   *server.Namespace
	directory *directory
	board     *board
}

// newChat registers the chat's events on a server.
func newChat(srv *server.Server) {
	c := chat{node: func() string { return srv.Node().Name }, sockets: srv.Of("/")}
	c.directory = &directory{ask: c.askCluster}
	c.board = &board{ask: c.directory.since, nodes: c.sockets.ServerCount, tellNodes: c.announceToNodes, tell: c.announce}
	c.sockets.Handle("login", server.FuncAck(c.login))
	c.sockets.Handle("send", server.FuncAck(c.send))
	c.sockets.Handle("join", server.FuncAck(c.join))
	c.sockets.Handle("leave", server.FuncAck(c.leave))
	c.sockets.Handle("typing", server.FuncAck(c.typing))
	c.sockets.Handle("watch", server.FuncReply(c.watch))
	c.sockets.Handle("members", server.FuncAck(c.members))
	c.sockets.Handle("whoami", server.FuncAck(c.whoami))
	c.sockets.OnConnection(func(_ context.Context, s *server.Socket) { _ = s.Data().Set(nodeKey, c.node()) }) // a string always has a JSON form
	c.sockets.OnDisconnect(c.left)
	c.sockets.HandleServerSide(presenceEvent, server.ServerSideFunc(func(context.Context, server.None) error {
		c.board.hint()
		return nil
	}))
}

// defaultNodeName names this process among those of a cluster: the host's name with the port, or with the process id if
// any port will do.
func defaultNodeName(addr string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	if _, port, err := net.SplitHostPort(addr); err == nil && port != "" && port != "0" {
		return host + ":" + port
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// name is a user id or a room name: a JSON string, or a number that is kept as a string.
type name string

// UnmarshalJSON accepts a string or a number.
func (n *name) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, (*string)(n))
	}
	var number json.Number
	if err := json.Unmarshal(text, &number); err != nil || bytes.Equal(text, []byte("null")) {
		return errors.New("a name is a string or a number")
	}
	*n = name(number)
	return nil
}

// isRoom reports whether n names a public room.
func (n name) isRoom() bool { return strings.HasPrefix(string(n), "#") }

// isSocketID reports whether n has the shape of a socket id: a message to such a user would reach a stranger's socket.
func (n name) isSocketID() bool {
	const length = 20
	return len(n) == length && strings.IndexFunc(string(n), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
}

func (n name) hasControl() bool { return strings.ContainsFunc(string(n), unicode.IsControl) }

// checkUser returns why n cannot be a user id.
func (n name) checkUser() error {
	switch {
	case n == "":
		return refused("a user id must not be empty")
	case len(n) > maxName:
		return refused("a user id is at most 256 bytes long")
	case n.isRoom():
		return refused(`a user id must not start with "#", which marks public rooms`)
	case n.isSocketID():
		return refused("a user id must not look like a socket id")
	case n.hasControl():
		return refused("a user id must not contain control characters")
	}
	return nil
}

func (n name) checkRoom() error {
	if !n.isRoom() || len(n) < 2 || len(n) > maxName {
		return refused(`a public room is called "#name", at most 256 bytes long`)
	}
	if n.hasControl() {
		return refused("the name of a room must not contain control characters")
	}
	return nil
}

func refused(message string) error { return &server.ClientError{Message: message} }

type loggedIn struct {
	User name `json:"user"`
}

// login makes the socket one of the user's. A second login replaces the first.
func (c chat) login(ctx context.Context, s *server.Socket, user name) (loggedIn, error) {
	if err := user.checkUser(); err != nil {
		return loggedIn{}, err
	}
	before, err := userOf(s)
	if err != nil {
		return loggedIn{}, err
	}
	if before != "" && before != user {
		s.Leave(string(before))
	}
	if err := s.Data().Set(userKey, user); err != nil {
		return loggedIn{}, err
	}
	if err := c.enter(ctx, s, string(user)); err != nil {
		return loggedIn{}, err
	}
	c.board.note()
	return loggedIn{User: user}, nil
}

// enter makes a socket join a room. As long as the other nodes cannot be reached it holds on this node, and for the others
// as soon as they are back: so that is no error.
func (c chat) enter(ctx context.Context, s *server.Socket, room string) error {
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	if err := s.Join(ctx, room); errors.Is(err, server.ErrDisconnected) {
		return err
	}
	return nil
}

// left tells the watchers that a socket has gone.
func (c chat) left(_ context.Context, s *server.Socket, _ server.Reason) {
	rooms := s.Rooms()
	if slices.Contains(rooms, presenceRoom) {
		c.board.leave()
	}
	if user, err := userOf(s); err == nil && user != "" || len(publicRooms(rooms)) > 0 {
		c.board.note()
	}
}

// publicRooms picks the public rooms out of the rooms of a socket.
func publicRooms(rooms []string) []name {
	var public []name
	for _, room := range rooms {
		if n := name(room); n.checkRoom() == nil {
			public = append(public, n)
		}
	}
	return public
}

// userOf returns the user of a socket, "" before a login.
func userOf(s *server.Socket) (name, error) {
	var user name
	_, err := s.Data().Load(userKey, &user)
	return user, err
}

// outgoing is what a client sends: to is a user or a public room, message any JSON with or without attachments.
type outgoing struct {
	To      name           `json:"to"`
	Message parser.Payload `json:"message"`
}

// about is the second argument of receive.
type about struct {
	From name `json:"from,omitzero"`
	Room name `json:"room,omitzero"`
}

type delivery struct {
	Online bool `json:"online"`
}

// addressee is whom something is meant for, and what it carries as its sender.
type addressee struct {
	target server.BroadcastOperator
	note   about
}

// address checks to and selects its sockets, without the sender's own when it is a room.
func (c chat) address(s *server.Socket, to name) (addressee, error) {
	from, err := userOf(s)
	if err != nil {
		return addressee{}, err
	}
	if !to.isRoom() {
		return addressee{c.sockets.To(string(to)), about{From: from}}, to.checkUser()
	}
	return addressee{s.To(string(to)), about{From: from, Room: to}}, to.checkRoom()
}

// send gives a message to every socket of a user, or of a public room but the sender's own, on whichever nodes they are.
// The answer says whether anybody was there, as far as the other nodes can be asked.
func (c chat) send(ctx context.Context, s *server.Socket, out outgoing) (delivery, error) {
	to, err := c.address(s, out.To)
	if err != nil {
		return delivery{}, err
	}
	// The message goes first: to ask may take long while a node is in trouble.
	if err := reached(to.target.Emit("receive", out.Message, to.note)); err != nil {
		return delivery{}, err
	}
	if from := to.note.From; from != "" && !out.To.isRoom() && out.To != from {
		if err := reached(s.To(string(from)).Emit("sent", out.Message, copied{To: out.To})); err != nil {
			return delivery{}, err
		}
	}
	online, err := c.reaches(ctx, to)
	return delivery{Online: online}, err
}

// reached drops the error that says that only this node's sockets were served: a client cannot do anything about it, and
// who is online tells it so.
func reached(err error) error {
	if errors.Is(err, server.ErrClusterUnavailable) {
		return nil
	}
	return err
}

// copied is the second argument of sent.
type copied struct {
	To name `json:"to"`
}

// reaches reports whether to has a socket. A crowded room is looked up in the directory, because to describe all of its
// sockets for each message would cost more than the message.
func (c chat) reaches(ctx context.Context, to addressee) (bool, error) {
	if room := to.note.Room; room != "" {
		seen, err := c.directory.recent(ctx)
		if err != nil {
			return false, err
		}
		if seen.rooms[room].isCrowd() {
			return true, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	found, err := to.target.FetchSockets(ctx)
	if err != nil && isPartial(err) {
		err = nil
	}
	return len(found.Values) > 0, err
}

type membership struct {
	Room name `json:"room"`
}

func (c chat) join(ctx context.Context, s *server.Socket, room name) (membership, error) {
	if err := room.checkRoom(); err != nil {
		return membership{}, err
	}
	in := s.Rooms()
	if !slices.Contains(in, string(room)) && len(publicRooms(in)) >= maxRooms {
		return membership{}, refused("a socket can be in 100 public rooms at most")
	}
	if err := c.enter(ctx, s, string(room)); err != nil {
		return membership{}, err
	}
	c.board.note()
	return membership{Room: room}, nil
}

func (c chat) leave(_ context.Context, s *server.Socket, room name) (membership, error) {
	if err := room.checkRoom(); err != nil {
		return membership{}, err
	}
	s.Leave(string(room))
	c.board.note()
	return membership{Room: room}, nil
}

// destination is the argument of typing.
type destination struct {
	To name `json:"to"`
}

// typing tells a user, or the others of a room, that the sender is writing to them. It may get lost, and a crowd is not
// told: everybody there would be told about everybody.
func (c chat) typing(ctx context.Context, s *server.Socket, dest destination) (server.None, error) {
	to, err := c.address(s, dest.To)
	if err != nil {
		return server.None{}, err
	}
	if to.note.From == "" {
		return server.None{}, refused("log in first")
	}
	if dest.To.isRoom() {
		if !slices.Contains(s.Rooms(), string(dest.To)) {
			return server.None{}, refused("join the room first")
		}
		seen, err := c.directory.recent(ctx)
		if err != nil || seen.rooms[dest.To].isCrowd() {
			return server.None{}, err
		}
	}
	return server.None{}, reached(to.target.Except(s.ID()).Volatile().Emit("typing", to.note))
}

// identity is the answer to whoami: what this node knows about the client.
type identity struct {
	User      name   `json:"user,omitzero"`
	Socket    string `json:"socket"`
	Transport string `json:"transport"`
	Node      string `json:"node"`
}

func (c chat) whoami(_ context.Context, s *server.Socket, _ server.None) (identity, error) {
	user, err := userOf(s)
	return identity{User: user, Socket: s.ID(), Transport: s.Conn().Transport(), Node: c.node()}, err
}
