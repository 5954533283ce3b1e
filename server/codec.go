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
		return nil, fmt.Errorf("Codecs must not be more than %d, got %d", maxCodecs, len(list))
	}
	if i := slices.Index(list, nil); i >= 0 {
		return nil, fmt.Errorf("Codecs[%d] is nil", i)
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
		srv.opts.Logger.Warn("a codec cannot encode a packet; its clients miss it", "codec", fmt.Sprintf("%T", srv.opts.Codecs[codec]),
			"namespace", p.Namespace, "type", p.Type.String(), "error", err)
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

// guardCodecs returns the codecs with guards around all but JSON.
func (srv *Server) guardCodecs(list []parser.Codec) []parser.Codec {
	guarded := slices.Clone(list)
	for i, codec := range list {
		if _, ours := codec.(parser.JSON); !ours {
			guarded[i] = guard{srv, codec}
		}
	}
	return guarded
}

// guard stands between the server and a codec of somebody else: it contains panics, and lets in no packet that could not
// be handed on to clients of other codecs and to other nodes.
type guard struct {
	srv   *Server
	codec parser.Codec
}

func (g guard) NewDecoder() parser.Decoder {
	d := &decoderGuard{srv: g.srv}
	_ = g.srv.protect("NewDecoder", "", "", func() error {
		d.decoder = g.codec.NewDecoder()
		return nil
	})
	return d
}

func (g guard) Append(dst []byte, p parser.Packet) (out []byte, form parser.Form, err error) {
	err = g.srv.protect("Append", p.Namespace, "", func() (err error) {
		out, form, err = g.codec.Append(dst, p)
		return err
	})
	if err == nil && form > parser.BinaryAlone {
		err = fmt.Errorf("unknown form %d", form)
	}
	return out, form, err
}

func (g guard) Recognizes(first []byte, binary bool) (yes bool) {
	_ = g.srv.protect("Recognizes", "", "", func() error {
		yes = g.codec.Recognizes(first, binary)
		return nil
	})
	return yes
}

// decoderGuard is the guard of one decoder. It asks once after each message what is incomplete, so that the same is given
// back to the session's budget as was charged.
type decoderGuard struct {
	srv       *Server
	decoder   parser.Decoder
	namespace string
	held      int64
}

func (d *decoderGuard) Text(lim *parser.Limits, data []byte) (*parser.Packet, error) {
	return d.decode(lim, func() (*parser.Packet, error) { return d.decoder.Text(lim, data) })
}

func (d *decoderGuard) Binary(lim *parser.Limits, data []byte) (*parser.Packet, error) {
	return d.decode(lim, func() (*parser.Packet, error) { return d.decoder.Binary(lim, data) })
}

func (d *decoderGuard) Incomplete() (namespace string, bytes int64) { return d.namespace, d.held }

func (d *decoderGuard) decode(lim *parser.Limits, next func() (*parser.Packet, error)) (p *parser.Packet, err error) {
	d.namespace, d.held = "", 0
	err = d.srv.protect("Decoder", "", "", func() (err error) {
		if p, err = next(); p == nil && err == nil {
			d.namespace, d.held = d.decoder.Incomplete()
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case p != nil:
		return p, p.Check(lim)
	case d.held < 0 || d.held > lim.MaxBytes:
		return nil, parser.ErrTooLarge
	}
	return nil, nil
}
