package server

import (
	"encoding/json"
	"time"
)

// Handshake describes how a socket came to be. It encodes to the JSON that Node gives other nodes in fetchSockets.
type Handshake struct {
	Headers map[string]string `json:"headers"` // lower-case names; repeated headers are joined with ", "
	Time    string            `json:"time"`    // in the text form of JavaScript's Date
	Address string            `json:"address"` // IP address of the client, see EngineOptions.TrustedProxies
	XDomain bool              `json:"xdomain"` // whether the request had an Origin header
	Secure  bool              `json:"secure"`  // whether the client's connection is TLS: of this process or of a trusted proxy
	Issued  int64             `json:"issued"`  // milliseconds since 1970
	URL     string            `json:"url"`     // path and query of the request
	Query   map[string]string `json:"query"`
	Auth    json.RawMessage   `json:"auth"` // what the client gave as auth; {} without
}

// jsDate is the layout of Date.prototype.toString in UTC.
const jsDate = "Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)"

// Handshake returns the details of the connection, and of the namespace's CONNECT packet. It is put together
// by each call.
func (s *Socket) Handshake() Handshake {
	h := s.client.session.Handshake()
	issued := time.UnixMilli(s.issued).UTC()
	return Handshake{
		Headers: h.Headers(),
		Time:    issued.Format(jsDate),
		Address: h.Address(),
		XDomain: h.XDomain(),
		Secure:  h.Secure(),
		Issued:  s.issued,
		URL:     h.URL(),
		Query:   h.Query(),
		Auth:    s.Auth(),
	}
}

// Auth returns the auth object of the client as raw JSON; {} if it gave none.
func (s *Socket) Auth() json.RawMessage {
	if s.auth == "" {
		return json.RawMessage("{}")
	}
	return json.RawMessage(s.auth)
}
