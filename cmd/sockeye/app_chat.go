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
	"time"
	"unicode"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/parser"
	"github.com/sockeye-io/sockeye/server/users"
)

// maxName bounds user ids and room names, in bytes.
const maxName = 256

// crowd is the number of sockets from which on a room is too large for what costs work per member.
const crowd = 100

// clusterPatience is how long one question to the other nodes may take.
const clusterPatience = 2 * time.Second

// maxRooms bounds the public rooms that one socket is in.
const maxRooms = 100

// chat is the demo: users log in and send each other messages, on whichever node the other one is. The directory knows where; a
// user's sockets are also the room that has the user's id as name, as in Node.js programs. Public rooms have names that start with "#".
//
// Clients emit login, send, join, leave, typing, watch, members, whoami and cluster, each with an optional acknowledgement that
// carries the answer or {error: {message}}. They receive receive(message, {from, room?}), sent(message, {to}) for what
// another socket of the same user has sent, typing({from, room?}) and, after watch, presence(change).
//
// With authentication a socket is its token's user from the start. Login then takes no other name, and everything else but whoami
// and cluster needs it first.
type chat struct {
	srv     *server.Server
	sockets *server.Namespace
	dir     *users.Directory
	board   *board
	traffic *traffic
	entered *server.State[bool] // who has logged in; nil without authentication
}

// newChat registers the chat's events on a server, whose main namespace is protected by tokens or not.
func newChat(srv *server.Server, dir *users.Directory, protected bool) {
	c := chat{srv: srv, sockets: srv.Of("/"), dir: dir}
	if protected {
		c.entered = new(server.State[bool])
		c.sockets.UseEvent(c.afterLogin)
	}
	c.board = &board{dir: dir, names: newNodeNames(srv), nodes: c.sockets.ServerCount, tell: c.announce}
	c.traffic = newTraffic(c)
	c.sockets.Handle("login", server.FuncAck(c.login))
	c.sockets.Handle("send", server.FuncAck(c.send))
	c.sockets.Handle("join", server.FuncAck(c.join))
	c.sockets.Handle("leave", server.FuncAck(c.leave))
	c.sockets.Handle("typing", server.FuncAck(c.typing))
	c.sockets.Handle("watch", server.FuncReply(c.watch))
	c.sockets.Handle("members", server.FuncAck(c.members))
	c.sockets.Handle("whoami", server.FuncAck(c.whoami))
	c.sockets.Handle("cluster", server.FuncAck(c.traffic.look))
	c.sockets.OnDisconnect(c.left)
	c.sockets.OnRecover(c.back)
}

func (c chat) node() string { return c.srv.Node().Name }

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

// beforeLogin are the events that need no login with authentication.
var beforeLogin = []string{"login", "whoami", "cluster", auth.EventRenew}

// afterLogin refuses events of sockets that have not logged in.
func (c chat) afterLogin(_ context.Context, s *server.Socket, e *server.Event) error {
	if _, ok := c.entered.Load(s); ok || slices.Contains(beforeLogin, e.Name) {
		return nil
	}
	return refused("log in first")
}

// login makes the socket one of the user's. A second login replaces the first.
func (c chat) login(ctx context.Context, s *server.Socket, user name) (loggedIn, error) {
	if c.entered != nil {
		if string(user) != auth.Subject(s) {
			return loggedIn{}, refused("the token is for another user")
		}
		c.entered.Set(s, true)
		return loggedIn{User: user}, nil
	}
	if err := user.checkUser(); err != nil {
		return loggedIn{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	// While the directory's store is away the user is found here, and by the others later: so that is no error.
	if err := c.dir.Bind(ctx, s, string(user), nil); err != nil && !errors.Is(err, server.ErrClusterUnavailable) {
		return loggedIn{}, err
	}
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

// back takes in a client that goes on. What was told to watchers is not replayed: it is to watch again.
func (c chat) back(_ context.Context, s *server.Socket) error {
	if c.entered != nil {
		c.entered.Set(s, true)
	}
	if !slices.Contains(s.Rooms(), presenceRoom) {
		return nil
	}
	s.Leave(presenceRoom)
	return s.Emit("presence", change{Stale: true, Within: minWithin.Milliseconds()})
}

// left counts a watcher less.
func (c chat) left(_ context.Context, s *server.Socket, _ server.Reason) {
	if slices.Contains(s.Rooms(), presenceRoom) {
		c.board.leave()
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
func (c chat) userOf(s *server.Socket) name {
	user, _ := c.dir.UserOf(s)
	return name(user)
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

// delivery is the answer to send.
type delivery struct {
	Online  bool `json:"online"`
	Devices int  `json:"devices"`        // how many sockets the message was for
	Away    bool `json:"away,omitempty"` // the user gets it when its client is back in time
}

// send gives a message to every socket of a user, or of a public room but the sender's own, on whichever nodes they are.
func (c chat) send(ctx context.Context, s *server.Socket, out outgoing) (delivery, error) {
	from := c.userOf(s)
	if out.To.isRoom() {
		return c.sendToRoom(ctx, s, out, about{From: from, Room: out.To})
	}
	if err := out.To.checkUser(); err != nil {
		return delivery{}, err
	}
	to := c.dir.User(string(out.To))
	err := to.Emit(ctx, "receive", out.Message, about{From: from})
	offline := errors.Is(err, users.ErrOffline) || errors.Is(err, users.ErrAway)
	if err := reached(err); err != nil && !offline {
		return delivery{}, err
	}
	c.traffic.note(ctx, out.To)
	if from != "" && out.To != from {
		own := c.dir.User(string(from)).Except(s.ID())
		if err := reached(own.Emit(ctx, "sent", out.Message, copied{To: out.To})); err != nil {
			return delivery{}, err
		}
	}
	if offline {
		return delivery{Away: errors.Is(err, users.ErrKept)}, nil
	}
	there, err := c.delivered(ctx, to.Count)
	there.Away = !there.Online && c.sockets.RecoveryWindow() > 0 // it has lost its connection since
	return there, err
}

func (c chat) sendToRoom(ctx context.Context, s *server.Socket, out outgoing, note about) (delivery, error) {
	if err := out.To.checkRoom(); err != nil {
		return delivery{}, err
	}
	others := s.To(string(out.To))
	// The message goes first: to ask may take long while a node is in trouble.
	if err := reached(others.Emit("receive", out.Message, note)); err != nil {
		return delivery{}, err
	}
	c.traffic.note(ctx, out.To)
	return c.delivered(ctx, others.Count)
}

// delivered says how many sockets a message was for, as far as the other nodes can be asked.
func (c chat) delivered(ctx context.Context, count func(context.Context) (server.Count, error)) (delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	n, err := count(ctx)
	if isPartial(err) {
		err = nil
	}
	return delivery{Online: n.Sockets > 0, Devices: n.Sockets}, err
}

// isPartial reports whether an error of a question to the cluster comes with the answers of the nodes that could be
// reached, this one among them.
func isPartial(err error) bool {
	return errors.Is(err, server.ErrClusterUnavailable) || errors.Is(err, context.DeadlineExceeded)
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
	return membership{Room: room}, nil
}

func (c chat) leave(_ context.Context, s *server.Socket, room name) (membership, error) {
	if err := room.checkRoom(); err != nil {
		return membership{}, err
	}
	s.Leave(string(room))
	return membership{Room: room}, nil
}

// destination is the argument of typing.
type destination struct {
	To name `json:"to"`
}

// typing tells a user, or the others of a room, that the sender is writing to them. It may get lost, and a crowd is not
// told: everybody there would be told about everybody.
func (c chat) typing(ctx context.Context, s *server.Socket, dest destination) (server.None, error) {
	from := c.userOf(s)
	switch {
	case dest.To.isRoom():
		return server.None{}, c.typingInRoom(ctx, s, from, dest.To)
	case from == "":
		return server.None{}, refused("log in first")
	}
	if err := dest.To.checkUser(); err != nil {
		return server.None{}, err
	}
	err := c.dir.User(string(dest.To)).Except(s.ID()).Volatile().Emit(ctx, "typing", about{From: from})
	if errors.Is(err, users.ErrOffline) || errors.Is(err, users.ErrAway) {
		err = nil
	}
	return server.None{}, reached(err)
}

func (c chat) typingInRoom(ctx context.Context, s *server.Socket, from, room name) error {
	if err := room.checkRoom(); err != nil {
		return err
	}
	if from == "" {
		return refused("log in first")
	}
	if !slices.Contains(s.Rooms(), string(room)) {
		return refused("join the room first")
	}
	others := s.To(string(room))
	there, err := c.delivered(ctx, others.Count)
	if err != nil || there.Devices >= crowd {
		return err
	}
	return reached(others.Volatile().Emit("typing", about{From: from, Room: room}))
}

// identity is the answer to whoami: what this node knows about the client.
type identity struct {
	User      name   `json:"user,omitzero"`
	Socket    string `json:"socket"`
	Transport string `json:"transport"`
	Node      string `json:"node"`
}

func (c chat) whoami(_ context.Context, s *server.Socket, _ server.None) (identity, error) {
	return identity{User: c.userOf(s), Socket: s.ID(), Transport: s.Conn().Transport(), Node: c.node()}, nil
}
