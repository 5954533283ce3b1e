package websocket

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

var errExtension = errors.New("malformed extension header")

const extensionName = "permessage-deflate"

// param is one parameter of an extension offer. Order is kept, because ws answers in the order of the offer.
type param struct {
	name  string
	value string
	bare  bool // without a value
}

type offer struct {
	name   string
	params []param
}

// isTokenChar is the token alphabet of RFC 9110 section 5.6.2.
func isTokenChar(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	default:
		return c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
}

func skipSpace(s string) string { return strings.TrimLeft(s, " \t") }

// cutToken splits off the token at the start of s, which must not be empty.
func cutToken(s string) (token, rest string, err error) {
	i := 0
	for i < len(s) && isTokenChar(s[i]) {
		i++
	}
	if i == 0 {
		return "", s, errExtension
	}
	return s[:i], s[i:], nil
}

// cutQuoted splits off a quoted string, of which s starts with the content. After unescaping it must be a token;
// RFC 6455 section 9.1.
func cutQuoted(s string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' && b.Len() > 0 {
			return b.String(), s[i+1:], nil
		}
		if c == '\\' && i+1 < len(s) {
			i++
			c = s[i]
		}
		if !isTokenChar(c) {
			break
		}
		b.WriteByte(c)
	}
	return "", s, errExtension
}

// parseExtensions reads a Sec-WebSocket-Extensions header; RFC 6455 section 9.1, with the strictness of ws.
func parseExtensions(header string) ([]offer, error) {
	if strings.Trim(header, " \t") != header {
		return nil, errExtension
	}
	var offers []offer
	for rest, more := header, true; more; {
		var o offer
		var err error
		if o.name, rest, err = cutToken(skipSpace(rest)); err != nil {
			return nil, err
		}
		rest = skipSpace(rest)
		for strings.HasPrefix(rest, ";") {
			var p param
			if p, rest, err = cutParam(skipSpace(rest[1:])); err != nil {
				return nil, err
			}
			o.params = append(o.params, p)
			rest = skipSpace(rest)
		}
		offers = append(offers, o)
		if rest, more = strings.CutPrefix(rest, ","); !more && rest != "" {
			return nil, errExtension
		}
	}
	return offers, nil
}

// cutParam splits off "name", "name=token" or "name="quoted"".
func cutParam(s string) (p param, rest string, err error) {
	if p.name, rest, err = cutToken(s); err != nil {
		return p, s, err
	}
	value, found := strings.CutPrefix(rest, "=")
	if !found {
		p.bare = true
		return p, rest, nil
	}
	if quoted, found := strings.CutPrefix(value, `"`); found {
		p.value, rest, err = cutQuoted(quoted)
	} else {
		p.value, rest, err = cutToken(value)
	}
	return p, rest, err
}

// parameters are the permessage-deflate parameters of one offer; RFC 7692 section 7.1.
type parameters struct {
	order            []string // names in the order in which the answer lists them
	serverNoContext  bool
	clientNoContext  bool
	serverBits       int
	clientBits       int
	clientBitsAnyway bool // client_max_window_bits without a value
}

const (
	paramServerNoContext = "server_no_context_takeover"
	paramClientNoContext = "client_no_context_takeover"
	paramServerBits      = "server_max_window_bits"
	paramClientBits      = "client_max_window_bits"
)

// readParameters checks one offer. A duplicate, an unknown name or a value out of range refuses the whole handshake,
// not only this offer, as in ws.
func readParameters(params []param) (p parameters, err error) {
	for _, q := range params {
		ok := !p.has(q.name)
		switch q.name {
		case paramServerNoContext:
			ok = ok && q.bare
			p.serverNoContext = true
		case paramClientNoContext:
			ok = ok && q.bare
			p.clientNoContext = true
		case paramServerBits:
			p.serverBits = windowBits(q)
			ok = ok && p.serverBits != 0
		case paramClientBits:
			p.clientBits, p.clientBitsAnyway = windowBits(q), q.bare
			ok = ok && (q.bare || p.clientBits != 0)
		default:
			ok = false
		}
		if !ok {
			return p, errExtension
		}
		p.order = append(p.order, q.name)
	}
	return p, nil
}

func (p *parameters) has(name string) bool {
	return slices.Contains(p.order, name)
}

// windowBits returns the value of a window parameter, 0 when it is missing or not in 8 to 15.
func windowBits(p param) int {
	f, ok := parseNumber(p.value)
	if p.bare || !ok || f != math.Trunc(f) || f < minWindowBits || f > maxWindowBits {
		return 0
	}
	return int(f)
}

// negotiate picks the first offer of permessage-deflate that the options allow and turns it into the answer. ok is
// false when there is no such extension in the header; an error refuses the handshake.
func (o *DeflateOptions) negotiate(header string) (p parameters, ok bool, err error) {
	offers, err := parseExtensions(header)
	if err != nil {
		return p, false, err
	}
	var candidates []parameters
	for _, offer := range offers {
		if offer.name != extensionName {
			continue
		}
		if p, err = readParameters(offer.params); err != nil {
			return p, false, err
		}
		candidates = append(candidates, p)
	}
	for _, p := range candidates {
		if o.accepts(&p) {
			o.answer(&p)
			return p, true, nil
		}
	}
	if len(candidates) > 0 {
		return p, false, errExtension
	}
	return p, false, nil
}

func (o *DeflateOptions) accepts(p *parameters) bool {
	if p.serverBits != 0 && o.ServerMaxWindowBits > p.serverBits {
		return false
	}
	if o.ClientMaxWindowBits == 0 {
		return true
	}
	if p.clientBits != 0 {
		return o.ClientMaxWindowBits <= p.clientBits
	}
	return p.clientBitsAnyway
}

// answer completes the accepted offer with what the options require.
func (o *DeflateOptions) answer(p *parameters) {
	if !o.ServerContextTakeover {
		p.serverNoContext = true
		p.add(paramServerNoContext)
	}
	if !o.ClientContextTakeover {
		p.clientNoContext = true
		p.add(paramClientNoContext)
	}
	if o.ServerMaxWindowBits != 0 {
		p.serverBits = o.ServerMaxWindowBits
		p.add(paramServerBits)
	}
	if o.ClientMaxWindowBits != 0 {
		p.clientBits = o.ClientMaxWindowBits
		p.add(paramClientBits)
	}
}

func (p *parameters) add(name string) {
	if !p.has(name) {
		p.order = append(p.order, name)
	}
}

// append writes the answer's header value.
func (p *parameters) append(dst []byte) []byte {
	dst = append(dst, extensionName...)
	for _, name := range p.order {
		bits := 0
		switch name {
		case paramServerBits:
			bits = p.serverBits
		case paramClientBits:
			if bits = p.clientBits; bits == 0 {
				continue // "I could be limited" needs no answer
			}
		}
		dst = append(append(dst, "; "...), name...)
		if bits != 0 {
			dst = strconv.AppendInt(append(dst, '='), int64(bits), 10)
		}
	}
	return dst
}

// Shared returns the state of a connection without particular wishes: no context is kept, the window is the largest. Frames
// that are made as it says suit every connection whose Deflate shares them.
func (o *DeflateOptions) Shared() *Deflate {
	p := parameters{serverNoContext: true, clientNoContext: true}
	return p.deflate(o)
}

// deflate builds the state for the connection.
func (p *parameters) deflate(o *DeflateOptions) *Deflate {
	d := &Deflate{threshold: defaultThreshold, level: int8(o.Level), serverBits: maxWindowBits}
	switch {
	case o.Threshold < 0:
		d.threshold = 0
	case o.Threshold > 0:
		d.threshold = int32(min(o.Threshold, math.MaxInt32))
	}
	if p.serverBits != 0 {
		d.serverBits = uint8(p.serverBits)
	}
	if !p.serverNoContext {
		d.out = &window{bits: d.serverBits}
	}
	if !p.clientNoContext {
		d.in = &window{bits: maxWindowBits}
		if p.clientBits != 0 {
			d.in.bits = uint8(p.clientBits)
		}
	}
	return d
}

// parseNumber converts s as JavaScript's unary plus does, which is how ws reads numbers in headers; the empty string
// and words count as no number.
func parseNumber(s string) (float64, bool) {
	s = strings.Trim(s, " \t")
	if len(s) > 2 && s[0] == '0' && strings.IndexByte("xXoObB", s[1]) >= 0 {
		base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[s[1]|0x20]
		n, err := strconv.ParseUint(s[2:], base, 64)
		return float64(n), err == nil
	}
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}
