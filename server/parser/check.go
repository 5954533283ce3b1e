package parser

import (
	"strings"
	"unicode/utf8"
)

// Check returns what is wrong with a packet that a [Decoder] gave, nil if nothing is. A packet that passes can be handed on
// by every codec: what comes from a client in one encoding is sent to clients in another and to other nodes. The server
// checks the packets of all codecs but [JSON], whose decoder knows by itself.
//
//   - Type is Connect, Disconnect, Event, Ack or ConnectError.
//   - Namespace is empty or begins with a slash, is UTF-8, and holds no comma.
//   - ID is at most 2^53-1.
//   - JSON is empty or one JSON value in UTF-8, nested no deeper than lim allows, with no white space in front: an object
//     for Connect, an object or a string for ConnectError, an array for Ack, and for Event an array whose first element is
//     a number or a string that is no [ReservedEvent]. Disconnect has none.
//   - Only Event and Ack have Attachments. If there are any, each placeholder stands for one of them.
func (p *Packet) Check(lim *Limits) error {
	if p.Type > ConnectError {
		return ErrUnknownType
	}
	if !legalNamespace(p.Namespace) {
		return ErrNamespace
	}
	if p.ID > maxSafeInteger {
		return ErrID
	}
	if len(p.JSON) > 0 {
		if p.JSON[0] <= ' ' || !utf8.Valid(p.JSON) {
			return ErrPayload
		}
		if err := checkPayload(p.Type, p.JSON, lim.maxDepth()); err != nil {
			return err
		}
	}
	if len(p.Attachments) > 0 {
		return p.checkAttachments()
	}
	return nil
}

func legalNamespace(name string) bool {
	return name == "" || name[0] == '/' && strings.IndexByte(name, ',') < 0 && utf8.ValidString(name)
}

func (p *Packet) checkAttachments() error {
	if p.Type != Event && p.Type != Ack || len(p.JSON) == 0 {
		return ErrAttachments
	}
	f, err := findPlaceholders(p.JSON, len(p.Attachments))
	if err != nil {
		return err
	}
	for _, hole := range f.found {
		if hole.num < 0 {
			return ErrAttachments
		}
	}
	return nil
}
