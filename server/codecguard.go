package server

import (
	"fmt"
	"slices"

	"github.com/sockeye-io/sockeye/server/parser"
)

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
		if err := p.Check(lim); err != nil {
			return nil, err
		}
		return p, nil
	case d.held < 0 || d.held > lim.MaxBytes:
		return nil, parser.ErrTooLarge
	}
	return nil, nil
}
