package envelope

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/server/parser"
)

// maxCount is the highest number of sockets that an answer may report.
const maxCount = 1 << 30

// contents is the data of an envelope, whatever its type: texts in JSON that have not been looked into, and attachments
// that their placeholders stand for.
type contents struct {
	kind                               messageType
	packet, opts, rooms, sockets, sids string
	request, sid, only, close, count   string
	attachments                        [][]byte

	selection adapter.Selection
	flags     adapter.Flags
	numbers   numbers
}

func (c *contents) member(key, value string) (ok bool) {
	ok = true
	switch key {
	case "packet":
		c.packet = value
	case "opts":
		c.opts = value
	case "rooms":
		c.rooms = value
	case "sockets":
		c.sockets = value
	case "close":
		c.close = value
	case "clientCount":
		c.count = value
	case "sids":
		c.sids = value
	case "requestId":
		c.request, ok = c.requestOf(value)
	case "sid":
		c.sid, ok = textOf(value)
	case "only":
		c.only, ok = textOf(value)
	case "seq":
		c.numbers.seq, ok = order(value)
	case "after":
		c.numbers.after, ok = order(value)
	case "directed":
		c.numbers.directed, ok = order(value)
	}
	return ok
}

// maxNumber is the highest number of a message, JavaScript's Number.MAX_SAFE_INTEGER.
const maxNumber = 1<<53 - 1

// order reads one of the numbers of a message.
func order(value string) (uint64, bool) {
	n, err := strconv.ParseUint(value, 10, 64)
	return n, err == nil && n <= maxNumber
}

// readOpts reads the selection and the flags, and returns the field that is wrong, "" if none. Node writes all three always; what
// other implementations leave out is empty, as is all in a list, and flags of an odd kind are none. What JavaScript takes for false is
// everybody where nobody has to go.
func (c *contents) readOpts() (wrong string) {
	command := c.kind >= typeJoin && c.kind <= typeDisconnect
	if strings.HasPrefix(c.opts, "[") || !command && !lenient.Truth(c.opts) {
		return ""
	}
	if !eachMember(c.opts, func(key, value string) (ok bool) {
		ok = true
		switch key {
		case "rooms":
			c.selection.Rooms, ok = rooms(value)
		case "except":
			c.selection.Except, ok = rooms(value)
		case "flags":
			ok = !strings.HasPrefix(value, "{") || eachMember(value, c.readFlag)
		}
		if !ok {
			wrong = "opts." + key
		}
		return ok
	}) && wrong == "" {
		wrong = "opts"
	}
	return wrong
}

func (c *contents) readFlag(key, value string) (ok bool) {
	switch key {
	case "volatile":
		c.flags.Volatile = lenient.Truth(value)
	case "compress":
		c.flags.NoCompress = value == "false"
	case "timeout":
		c.flags.Timeout = time.Duration(min(max(lenient.Number(value), 0), float64(24*time.Hour/time.Millisecond))) * time.Millisecond
	case "foreign":
		c.flags.Foreign = value == "true"
	case "holders":
		holders, ok := names(value)
		if ok && len(holders) > 0 {
			c.flags.Direction = &adapter.Direction{Holders: adapter.NodeIDs(holders)}
		}
		return ok
	}
	return true
}

// read fills in the rest of a message, and tells whether it is one.
func (c *contents) read(m *adapter.Message, nsp string) (ok bool) {
	ok = true
	switch c.kind {
	case typeBroadcast:
		m.Kind = adapter.KindBroadcast
		m.Packet, ok = c.readPacket(nsp)
	case typeJoin, typeLeave:
		m.Kind = adapter.KindJoin
		if c.kind == typeLeave {
			m.Kind = adapter.KindLeave
		}
		m.Rooms, ok = names(c.rooms)
	case typeDisconnect:
		m.Kind, m.Close = adapter.KindDisconnect, lenient.Truth(c.close)
	case typeFetch:
		m.Kind, m.Want = adapter.KindFetch, adapter.Want(c.only)
		if m.Request == "" {
			m.Request = oddRequest
		}
		if c.only == "rooms" {
			m.Kind, m.Want = adapter.KindListRooms, adapter.WantAll
		}
	case typeServerSide:
		m.Kind = adapter.KindServerSide
		m.Payload, ok = c.value(c.packet)
		if ok {
			_, ok = eventName(m.Payload)
		}
	default:
		ok = m.Request != "" && c.readAnswer(m)
	}
	return ok
}

// mattersMost is the field without which a message of this type is none.
func (c *contents) mattersMost() string {
	switch c.kind {
	case typeJoin, typeLeave:
		return "rooms"
	case typeSockets:
		return "sockets"
	case typeCount:
		return "clientCount"
	case typeGone:
		return "sids"
	}
	return "packet"
}

func (c *contents) readAnswer(m *adapter.Message) (ok bool) {
	switch c.kind {
	case typeSockets:
		return c.readSockets(m)
	case typeServerReply:
		m.Kind = adapter.KindServerReply
		m.Payload, ok = c.value(c.packet)
	case typeCount:
		m.Kind = adapter.KindCount
		ok = c.readCount(m)
	case typeAck:
		m.Kind, m.SocketID = adapter.KindAck, c.sid
		m.Payload, ok = c.value(c.packet)
	case typeGone:
		m.Kind = adapter.KindGone
		m.SocketIDs, ok = names(c.sids)
	}
	return ok
}

func (c *contents) readCount(m *adapter.Message) (ok bool) {
	m.Count, ok = number(c.count)
	return ok && m.Count >= 0 && m.Count <= maxCount
}

func (c *contents) readPacket(nsp string) (*parser.Packet, bool) {
	var kind, body string
	if !eachMember(c.packet, func(key, value string) bool {
		switch key {
		case "type":
			kind = value
		case "data":
			body = value
		}
		return true
	}) || kind != "2" && kind != "5" { // socket.io-parser's numbers for events without and with binary
		return nil, false
	}
	p, ok := c.value(body)
	if !ok {
		return nil, false
	}
	if name, ok := eventName(p); !ok || parser.ReservedEvent(name) { // clients would disconnect
		return nil, false
	}
	// An id in the packet is one of the node that it comes from, and means another packet here.
	return &parser.Packet{Type: parser.Event, Namespace: nsp, ID: parser.NoID, Payload: p}, true
}

// readSockets reads the answer to a question for the sockets, their ids or their number, or for the rooms.
func (c *contents) readSockets(m *adapter.Message) (ok bool) {
	id, rooms := strings.CutSuffix(m.Request, roomsMark)
	if rooms {
		m.Request, m.Kind = id, adapter.KindRooms
	} else {
		m.Kind = adapter.KindSockets
	}
	if c.count != "" && !c.readCount(m) {
		return false
	}
	if c.sids != "" {
		if m.SocketIDs, ok = names(c.sids); !ok {
			return false
		}
	}
	if rooms && c.rooms != "" {
		m.Rooms, ok = names(c.rooms)
		return ok
	}
	return eachItem(c.sockets, func(socket string) bool {
		d, ok := c.readSocket(socket)
		d.Node = m.From
		if rooms {
			m.Rooms = append(append(m.Rooms, d.ID), d.Rooms...)
		} else {
			m.Sockets = append(m.Sockets, d)
		}
		return ok
	})
}

func (c *contents) readSocket(socket string) (d adapter.SocketDetails, ok bool) {
	d = adapter.SocketDetails{Handshake: json.RawMessage("null"), Rooms: []string{}, Data: json.RawMessage("null")}
	ok = eachMember(socket, func(key, value string) (ok bool) {
		switch key {
		case "id":
			d.ID, ok = textOf(value)
		case "handshake":
			d.Handshake, ok = c.plain(value)
		case "rooms":
			d.Rooms, ok = names(value)
			d.Rooms = lenient.Distinct(d.Rooms) // 43 and "43" are one
		case "data":
			d.Data, ok = c.plain(value)
		default:
			ok = true
		}
		return ok
	})
	return d, ok && d.ID != ""
}

// value returns a part of the data as a payload of its own. A part that is not there is undefined.
func (c *contents) value(text string) (parser.Payload, bool) {
	if text == "" {
		return parser.Payload{}, true
	}
	p := parser.Payload{JSON: json.RawMessage(valid(text)), Attachments: c.attachments}
	if len(p.Attachments) == 0 {
		return p, json.Valid(p.JSON)
	}
	// The frame's other parts may have attachments too, which must not be sent on with this one.
	p, err := parser.Marshal(p)
	return p, err == nil
}

// plain returns a part of the data as JSON alone, with binary as Node's Buffer has it in JSON.
func (c *contents) plain(text string) (json.RawMessage, bool) {
	p, ok := c.value(text)
	if !ok {
		return nil, false
	}
	p, err := p.Inline()
	return p.JSON, err == nil
}

// eventName returns the name of an event.
func eventName(p parser.Payload) (string, bool) {
	packet := parser.Packet{Payload: p}
	name, _, err := packet.Event()
	return name, err == nil
}

// number reads an integer.
func number(text string) (int, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return int(n), err == nil
}
