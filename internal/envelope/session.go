package envelope

import (
	"encoding/base64"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// EncodeSession returns the record of a session as the streams adapter stores it: base64 of the map {sid, pid, rooms, data}
// in MessagePack, with owner, offset and namespace, of which Node knows nothing, behind it.
func EncodeSession(s *adapter.Session) (string, error) {
	data := s.Data
	if data.JSON == nil {
		data = parser.Payload{JSON: []byte("{}")}
	}
	entries := 4
	own := [...]struct{ key, value string }{{"owner", s.Owner}, {"offset", s.Offset}, {"since", s.Since}, {"nsp", s.Namespace}} // which Node neither writes nor reads
	for _, e := range own {
		if e.value != "" {
			entries++
		}
	}
	dst := msgpack.AppendMap(nil, entries)
	dst = msgpack.AppendString(msgpack.AppendString(dst, "sid"), s.SocketID)
	dst = msgpack.AppendString(msgpack.AppendString(dst, "pid"), s.PID)
	dst = msgpack.AppendStrings(msgpack.AppendString(dst, "rooms"), s.Rooms)
	dst, err := msgpack.AppendPayload(msgpack.AppendString(dst, "data"), msgpack.MessagePack, data)
	for _, e := range own {
		if e.value != "" {
			dst = msgpack.AppendString(msgpack.AppendString(dst, e.key), e.value)
		}
	}
	return base64.StdEncoding.EncodeToString(dst), err
}

// maxSession is the longest record that is decoded, in bytes of base64.
const maxSession = 16 << 20

// DecodeSession reads a record. Its errors wrap ErrMalformed.
func DecodeSession(record string) (*adapter.Session, error) {
	if len(record) > maxSession {
		return nil, fmt.Errorf("%w: too long", ErrMalformed)
	}
	packed, err := base64.StdEncoding.DecodeString(record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	r, err := msgpack.NewReader(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s := &adapter.Session{}
	err = eachEntry(&r, func(key string) (err error) {
		switch key {
		case "sid":
			s.SocketID, err = r.Text()
		case "pid":
			s.PID, err = r.Text()
		case "rooms":
			s.Rooms, err = r.Texts()
		case "data":
			s.Data, err = r.Payload()
		case "owner":
			s.Owner, err = r.Text()
		case "offset":
			s.Offset, err = r.Text()
		case "since":
			s.Since, err = r.Text()
		case "nsp":
			s.Namespace, err = r.Text()
		default:
			err = r.Skip()
		}
		return err
	})
	if err == nil {
		err = r.End()
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	case s.SocketID == "" || s.PID == "" || s.Rooms == nil:
		return nil, fmt.Errorf("%w: something is missing", ErrMalformed)
	}
	return s, nil
}
