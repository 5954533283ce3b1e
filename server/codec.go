package server

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

// maxCodecs bounds Options.Codecs, so that the messages of a broadcast need no memory of their own.
const maxCodecs = 8

// checkCodecs returns a checked copy of Options.Codecs with the default filled in.
func checkCodecs(list []parser.Codec) ([]parser.Codec, error) {
	if len(list) > maxCodecs {
		return nil, fmt.Errorf("too many Codecs, %d instead of at most %d", len(list), maxCodecs)
	}
	if i := slices.Index(list, nil); i >= 0 {
		return nil, fmt.Errorf("no codec in Codecs[%d]", i)
	}
	if len(list) == 0 {
		return []parser.Codec{parser.JSON{}}, nil
	}
	return slices.Clone(list), nil
}

// choose finds out by the first message which codec a client speaks. A message that no codec recognizes goes to the
// decoder of the default, whose error says what is wrong with it.
func (c *client) choose(first []byte, binary bool) {
	if list := c.server.codecs; len(list) > 1 {
		for i, codec := range list {
			if codec.Recognizes(first, binary) {
				c.codec = uint8(i)
				break
			}
		}
	}
	c.decoder = c.server.codecs[c.codec].NewDecoder()
}

// encode makes the message of a packet for this client.
func (c *client) encode(p *parser.Packet, plain bool) (*engine.Message, error) {
	return c.server.encode(c.codec, p, plain)
}

// encodeControl makes the message of a packet without which the client's idea of its sockets would be wrong. If the codec
// cannot, the result is nil and the client is dropped. It must be called with no lock held.
func (c *client) encodeControl(p *parser.Packet) *engine.Message {
	m, err := c.encode(p, false)
	if err != nil {
		c.server.warnEncode(c.codec, p, err)
		c.drop()
	}
	return m
}

// encode makes the message of a packet in one of the server's codecs.
func (srv *Server) encode(codec uint8, p *parser.Packet, plain bool) (*engine.Message, error) {
	buf := buffers.Get().(*[]byte)
	data, form, err := srv.codecs[codec].Append((*buf)[:0], *p)
	if err != nil {
		srv.encodeFailures.Add(1)
		return nil, fmt.Errorf("encode %v: %w", p.Type, err)
	}
	var m *engine.Message
	switch form {
	case parser.TextWithAttachments:
		m = engine.NewMessage(data, p.Attachments...)
	case parser.TextAlone:
		m = engine.NewMessage(data)
	default:
		m = engine.NewBinaryMessage(bytes.Clone(data))
	}
	if plain {
		m.SetCompress(false)
	}
	if cap(data) <= maxBuffer {
		*buf = data
		buffers.Put(buf)
	}
	return m, nil
}

// maxBuffer bounds what the pool keeps.
const maxBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (srv *Server) warnEncode(codec uint8, p *parser.Packet, err error) {
	if srv.warnedEncode.Pass(warnInterval) {
		srv.opts.Logger.Warn("a codec cannot encode a packet; its clients miss it", "namespace", p.Namespace,
			"codec", fmt.Sprintf("%T", srv.opts.Codecs[codec]), "type", p.Type.String(), "error", err)
	}
}

// messages are one packet as the clients of each codec get it; nil where there is none such or the codec failed.
type messages [maxCodecs]*engine.Message

// encode makes a packet's message in each codec that a member speaks.
func (l local) encode(members []member, p *parser.Packet, plain bool) (m messages) {
	srv := l.nsp.server
	var tried [maxCodecs]bool
	left := len(srv.codecs)
	for _, s := range members {
		codec := s.client.codec
		if tried[codec] {
			continue
		}
		tried[codec] = true
		var err error
		if m[codec], err = srv.encode(codec, p, plain); err != nil {
			srv.warnEncode(codec, p, err)
		}
		if left--; left == 0 {
			break // the others speak one of these
		}
	}
	return m
}
