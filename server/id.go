package server

import (
	"crypto/rand"
	"encoding/base64"
)

// newID returns a socket id: 20 characters from 15 random bytes. Other nodes tell ids from room names by that length.
func newID() string {
	var raw [15]byte
	rand.Read(raw[:])
	return base64.URLEncoding.EncodeToString(raw[:])
}
