package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sockeye-io/sockeye/server"
)

// describe turns a socket of fetchSockets into the answer's form. Unless details are wanted it has the keys of its
// handshake instead of their values.
func describe(remote *server.RemoteSocket, details bool) (any, error) {
	list := append([]string{}, remote.Rooms()...)
	slices.Sort(list)
	entry := map[string]any{"id": remote.ID(), "rooms": list, "data": remote.Data(), "handshake": remote.Handshake()}
	if details {
		return entry, nil
	}
	handshake, err := json.Marshal(remote.Handshake())
	if err != nil {
		return nil, err
	}
	var members map[string]any
	if err := json.Unmarshal(handshake, &members); err != nil {
		return nil, fmt.Errorf("handshake of %s: %w", remote.ID(), err)
	}
	keys := make([]string, 0, len(members))
	for key := range members {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	entry["handshake"] = keys
	return entry, nil
}
