package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// maxName bounds user ids and room names, in bytes.
const maxName = 256

// userKey is where a socket's data holds the user that logged in.
const userKey = "user"

// chat is the demo: users log in and send each other messages, on whichever socket the other one is. A user's sockets
// are the room that has the user's id as name; public rooms have names that start with "#".
type chat struct {
	sockets *server.Namespace
}

func registerChat(srv *server.Server) {
	c := chat{sockets: srv.Of("/")}
	c.sockets.Handle("login", server.FuncAck(c.login))
	c.sockets.Handle("send", server.FuncAck(c.send))
	c.sockets.Handle("join", server.FuncAck(c.join))
	c.sockets.Handle("leave", server.FuncAck(c.leave))
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
	}
	return nil
}

func (n name) checkRoom() error {
	if !n.isRoom() || len(n) < 2 || len(n) > maxName {
		return refused(`a public room is called "#name", at most 256 bytes long`)
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
	return loggedIn{User: user}, s.Join(ctx, string(user))
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

// send gives a message to every socket of a user, or of a public room but the sender's own. The answer says whether
// anybody was there.
func (c chat) send(ctx context.Context, s *server.Socket, out outgoing) (delivery, error) {
	from, err := userOf(s)
	if err != nil {
		return delivery{}, err
	}
	note := about{From: from}
	check := out.To.checkUser
	if out.To.isRoom() {
		note.Room, check = out.To, out.To.checkRoom
	}
	if err := check(); err != nil {
		return delivery{}, err
	}
	target := c.sockets.To(string(out.To))
	if out.To.isRoom() {
		target = target.Except(s.ID())
	}
	found, err := target.FetchSockets(ctx)
	if err != nil {
		return delivery{}, err
	}
	return delivery{Online: len(found.Values) > 0}, target.Emit("receive", out.Message, note)
}

type membership struct {
	Room name `json:"room"`
}

func (c chat) join(ctx context.Context, s *server.Socket, room name) (membership, error) {
	if err := room.checkRoom(); err != nil {
		return membership{}, err
	}
	return membership{Room: room}, s.Join(ctx, string(room))
}

func (c chat) leave(_ context.Context, s *server.Socket, room name) (membership, error) {
	if err := room.checkRoom(); err != nil {
		return membership{}, err
	}
	s.Leave(string(room))
	return membership{Room: room}, nil
}
