package main

import (
	"cmp"
	"crypto/rand"
	"slices"

	"github.com/sockeye-io/sockeye/server"
)

const (
	maxUsers    = 10_000
	maxName     = 64   // bytes
	maxContent  = 4096 // bytes
	maxMessages = 200  // that are kept for each user
)

// session is what a client comes back with. Its id is a secret between server and client, the user's id is known to all.
type session struct {
	ID     string `json:"sessionID"`
	UserID string `json:"userID"`
	name   string
}

type message struct {
	Content string `json:"content"`
	From    string `json:"from"`
	To      string `json:"to"`
}

// user is one as another sees them: with the messages between the two.
type user struct {
	ID        string    `json:"userID"`
	Name      string    `json:"username"`
	Connected bool      `json:"connected"`
	Messages  []message `json:"messages"`
}

// account is a user as the store keeps them.
type account struct {
	name     string
	sockets  int
	messages []message // to and from the user, the newest maxMessages
}

// store has sessions, users and messages in memory; a program with several nodes would have them in a database. It has no
// lock of its own.
type store struct {
	sessions map[string]session
	accounts map[string]*account // by user id
}

func newStore() *store {
	return &store{sessions: make(map[string]session), accounts: make(map[string]*account)}
}

func (st *store) session(id string) (session, bool) {
	found, ok := st.sessions[id]
	return found, ok
}

// begin makes a session of a new user. Two users may have one name, as in the original.
func (st *store) begin(name string) (session, error) {
	if name == "" || len(name) > maxName {
		return session{}, &server.ClientError{Message: "invalid username"}
	}
	if len(st.accounts) >= maxUsers {
		return session{}, &server.ClientError{Message: "too many users"}
	}
	begun := session{ID: rand.Text(), UserID: rand.Text(), name: name}
	st.sessions[begun.ID] = begun
	st.accounts[begun.UserID] = &account{name: name}
	return begun, nil
}

// enter counts a socket of a user and reports whether it is the only one.
func (st *store) enter(userID string) (first bool) {
	st.accounts[userID].sockets++
	return st.accounts[userID].sockets == 1
}

// leave takes a socket of a user off and reports whether it was the last one.
func (st *store) leave(userID string) (last bool) {
	st.accounts[userID].sockets--
	return st.accounts[userID].sockets == 0
}

func (st *store) keep(m message) error {
	if len(m.Content) > maxContent {
		return &server.ClientError{Message: "the message is too long"}
	}
	if st.accounts[m.To] == nil {
		return &server.ClientError{Message: "no such user"}
	}
	for _, id := range slices.Compact([]string{m.From, m.To}) {
		a := st.accounts[id]
		a.messages = append(a.messages, m)
		if extra := len(a.messages) - maxMessages; extra > 0 {
			a.messages = slices.Delete(a.messages, 0, extra)
		}
	}
	return nil
}

// users returns everybody, by name, with the messages between them and the user me.
func (st *store) users(me string) []user {
	between := make(map[string][]message)
	for _, m := range st.accounts[me].messages {
		other := m.From
		if other == me {
			other = m.To
		}
		between[other] = append(between[other], m)
	}
	all := make([]user, 0, len(st.accounts))
	for id, a := range st.accounts {
		messages := between[id]
		if messages == nil {
			messages = []message{} // an empty list in JSON, not null
		}
		all = append(all, user{ID: id, Name: a.name, Connected: a.sockets > 0, Messages: messages})
	}
	slices.SortFunc(all, func(a, b user) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return all
}
