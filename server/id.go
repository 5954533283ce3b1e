package server

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
)

// newID returns a socket id: 20 characters from 15 random bytes. Other nodes tell ids from room names by that length.
func newID() string {
	var raw [15]byte
	rand.Read(raw[:])
	return base64.URLEncoding.EncodeToString(raw[:])
}

// isID reports whether a text has the form of an id, which ids and secrets of Node have, too.
func isID(text string) bool {
	return len(text) == 20 && strings.IndexFunc(text, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) < 0
}
