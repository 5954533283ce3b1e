// Package lenient reads what other implementations put in the fields of messages between nodes where Node's adapters put
// something else: an empty text for an empty list, null for a room, 1 for true. It reads it as JavaScript takes it, so that
// what reaches the sockets of a Node.js node reaches those of a Sockeye node too. It is made of pure functions over valid
// JSON; "" stands for undefined.
package lenient

import (
	"encoding/json"
	"errors"
	"math"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Nobody is a room that no socket is in: no name that comes as JSON or in MessagePack is the same.
const Nobody = "\xff"

// ErrList is the error of what `new Set` throws at.
var ErrList = errors.New("not a list of rooms")

// Rooms reads the rooms that a message is for, or not for, as `new Set` does: undefined and null are none, and a text is the
// list of its characters. Members that are neither texts nor numbers are left out, since nobody is in a room of that kind.
// A list of nothing else is for Nobody, not for everybody.
func Rooms(text string) ([]string, error) {
	switch {
	case text == "", text == "null":
		return nil, nil
	case text[0] == '[':
		rooms, members, err := names(text)
		if len(rooms) == 0 && members > 0 {
			rooms = []string{Nobody}
		}
		return rooms, err
	case text[0] == '"':
		name, err := textOf(text)
		rooms := make([]string, 0, len(name))
		for _, r := range name {
			rooms = append(rooms, string(r))
		}
		return rooms, err
	}
	return nil, ErrList
}

// Names reads rooms that exist or that sockets join or leave: a list, or one name. Names that are neither texts nor numbers
// are left out. It is nil only for what is undefined or null.
func Names(text string) ([]string, error) {
	switch {
	case text == "", text == "null":
		return nil, nil
	case text[0] == '[':
		list, _, err := names(text)
		return list, err
	}
	if name, ok, err := Name(text); ok || err != nil {
		return []string{name}, err
	}
	return []string{}, nil
}

// names reads the texts and numbers of a list, and tells how many members it has.
func names(text string) (list []string, members int, err error) {
	var items []json.RawMessage
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		return nil, 0, err
	}
	list = make([]string, 0, len(items))
	for _, item := range items {
		name, ok, err := Name(string(item))
		if err != nil {
			return nil, 0, err
		}
		if ok {
			list = append(list, name)
		}
	}
	return list, len(items), nil
}

// Name reads the name of a room: a text, or a number as JavaScript spells it. ok is false for anything else.
func Name(text string) (name string, ok bool, err error) {
	switch {
	case text == "":
		return "", false, nil
	case text[0] == '"':
		name, err = textOf(text)
		return name, err == nil, err
	}
	f, ok := number(text)
	if !ok {
		return "", false, nil
	}
	spelled, err := parser.Marshal(f)
	return string(spelled.JSON), err == nil, err
}

func textOf(text string) (s string, err error) {
	err = parser.Payload{JSON: []byte(text)}.Unmarshal(&s)
	return s, err
}

func number(text string) (float64, bool) {
	if c := text[0]; c != '-' && (c < '0' || c > '9') {
		return 0, false
	}
	var f float64
	return f, json.Unmarshal([]byte(text), &f) == nil
}

// Number reads a number; what is none is 0.
func Number(text string) float64 {
	if text == "" {
		return 0
	}
	f, _ := number(text)
	return f
}

// Truth tells whether JavaScript takes a value for true.
func Truth(text string) bool {
	switch text {
	case "", "null", "false", `""`:
		return false
	}
	f, ok := number(text)
	return !ok || f != 0 && !math.IsNaN(f)
}
