package classic

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
)

// DecodeAnswer reads an answer in either format. It returns nil for one to a question of another node.
func (c *Codec) DecodeAnswer(body []byte) (*adapter.Message, error) {
	var f AnswerFrame
	var err error
	if isJSON(body) {
		f, err = decodeJSONAnswer(body, nil)
	} else {
		f, err = c.encoding.DecodeAnswer(body)
		err = c.other(body, err)
	}
	if err != nil {
		return nil, refused(f.UID, err)
	}
	request, ok := c.questionOf(f.RequestID)
	if !ok || f.UID == c.uid {
		return nil, nil
	}
	m := &adapter.Message{From: nodeID(f.UID), Request: request, SocketID: f.SID}
	if err := f.Numbers.set(m); err != nil {
		return nil, refused(f.UID, err)
	}
	switch {
	case f.Type == typeServerSide:
		m.Kind, m.Payload = adapter.KindServerReply, f.Value
	case f.Type == typeCount && f.HasCount && f.Count >= 0:
		m.Kind, m.Count = adapter.KindCount, f.Count
	case f.Type == typeAck:
		m.Kind, m.Payload = adapter.KindAck, f.Value
	case f.Type == typeGone:
		m.Kind, m.SocketIDs = adapter.KindGone, f.SIDs
	case f.HasSockets:
		m.Kind, m.Sockets, m.SocketIDs, m.Count = adapter.KindSockets, f.Sockets, f.SIDs, max(f.Count, 0)
		for i := range m.Sockets {
			m.Sockets[i].Node = m.From
			if rooms := m.Sockets[i].Rooms; len(rooms) > 0 { // to Node 43 and "43" are two
				m.Sockets[i].Rooms = lenient.Distinct(rooms)
			}
		}
	case f.HasRooms:
		m.Kind, m.Rooms = adapter.KindRooms, f.Rooms
	default:
		return nil, refused(f.UID, frameError("answer of no known kind"))
	}
	return m, nil
}
