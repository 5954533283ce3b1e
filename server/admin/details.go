package admin

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// ownData is the key of socket data by which other nodes learn what only the socket's node knows: that of the npm package.
const ownData = "_admin"

// connection is what is kept there.
type connection struct {
	ClientID  string `json:"clientId"`
	Transport string `json:"transport"`
}

// clientIDLength is how much of the id of a connection is shown: all of it would be a secret.
const clientIDLength = 12

func connectionOf(s *server.Socket) connection {
	id := s.Conn().ID()
	return connection{ClientID: id[:min(clientIDLength, len(id))], Transport: s.Conn().Transport()}
}

// details are a socket as pages know it.
type details struct {
	ID        string                     `json:"id"`
	ClientID  string                     `json:"clientId"`
	Transport string                     `json:"transport,omitempty"` // unknown of other nodes in Production
	Namespace string                     `json:"nsp"`
	Data      map[string]json.RawMessage `json:"data"`
	Handshake handshake                  `json:"handshake"`
	Rooms     []string                   `json:"rooms"`
}

// handshake is server.Handshake without what the client gave as auth.
type handshake struct {
	Address string            `json:"address"`
	Headers map[string]string `json:"headers"`
	Query   map[string]string `json:"query"`
	Issued  int64             `json:"issued"`
	Secure  bool              `json:"secure"`
	Time    string            `json:"time"`
	URL     string            `json:"url"`
	XDomain bool              `json:"xdomain"`
}

// secretHeaders are those by which an operator could pass for the client.
var secretHeaders = []string{"cookie", "authorization", "proxy-authorization"}

// withheld stands for their values.
const withheld = "(withheld)"

func handshakeOf(h server.Handshake) handshake {
	headers := h.Headers
	for _, name := range secretHeaders {
		if _, ok := headers[name]; ok {
			headers = maps.Clone(headers)
			headers[name] = withheld
		}
	}
	return handshake{
		Address: h.Address, Headers: headers, Query: h.Query, Issued: h.Issued, Secure: h.Secure, Time: h.Time, URL: h.URL, XDomain: h.XDomain,
	}
}

// detailsOf describes a socket of this node, which is in rooms.
func detailsOf(s *server.Socket, namespace string, c connection, rooms []string) details {
	return details{
		ID: s.ID(), ClientID: c.ClientID, Transport: c.Transport, Namespace: namespace,
		Data: dataOf(s), Handshake: handshakeOf(s.Handshake()), Rooms: rooms,
	}
}

// dataOf are the values that the application has attached to a socket.
func dataOf(s *server.Socket) map[string]json.RawMessage {
	raw, err := s.Data().MarshalJSON()
	if err != nil {
		return map[string]json.RawMessage{}
	}
	data, _ := splitData(raw)
	return data
}

// splitData divides socket data into the application's and what ownData holds.
func splitData(raw json.RawMessage) (data map[string]json.RawMessage, c connection) {
	if json.Unmarshal(raw, &data) != nil || data == nil {
		data = map[string]json.RawMessage{}
	}
	if json.Unmarshal(data[ownData], &c) != nil {
		c = connection{}
	}
	delete(data, ownData)
	return data, c
}

// remoteDetails describes a socket of any node.
func remoteDetails(s *server.RemoteSocket, namespace string) details {
	data, c := splitData(s.Data())
	if local, ok := s.Socket(); ok {
		c = connectionOf(local)
	} else if c.ClientID == "" {
		c.ClientID = s.ID()
	}
	rooms := s.Rooms()
	if rooms == nil {
		rooms = []string{}
	}
	return details{
		ID: s.ID(), ClientID: c.ClientID, Transport: c.Transport, Namespace: namespace,
		Data: data, Handshake: handshakeOf(s.Handshake()), Rooms: rooms,
	}
}

// timestamp is a time as JavaScript writes it.
func timestamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }
