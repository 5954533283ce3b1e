package engine

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// keepTLSBuffer is what a TLS connection may keep of its input buffer: enough for the records of small messages.
const keepTLSBuffer = 1 << 10

// tlsLayout says where the input buffers of a tls.Conn are. crypto/tls keeps them for as long as the connection lives, as large
// as they ever were: about 4 KB for a client hello with post-quantum keys, more than 16 KB after one large message. There is
// no method to let go of them.
var tlsLayout = layoutOf(reflect.TypeFor[tls.Conn]())

type layout struct {
	rawInput, input, hand uintptr
	known                 bool // the fields are what we take them for
}

func layoutOf(conn reflect.Type) layout {
	rawInput, a := conn.FieldByName("rawInput")
	input, b := conn.FieldByName("input")
	hand, c := conn.FieldByName("hand")
	buffer, reader := reflect.TypeFor[bytes.Buffer](), reflect.TypeFor[bytes.Reader]()
	return layout{
		rawInput: rawInput.Offset, input: input.Offset, hand: hand.Offset,
		known: a && b && c && len(rawInput.Index)+len(input.Index)+len(hand.Index) == 3 && // not in a struct within it
			rawInput.Type == buffer && input.Type == reader && hand.Type == buffer,
	}
}

// releaseTLS lets go of the input buffers of a TLS connection whose handshake is over, if they are large and nothing is in
// them. It does nothing to other connections, nor if crypto/tls does not look as expected. Only the reading side may call it,
// between two reads.
func releaseTLS(conn link) {
	c, ok := conn.(*tls.Conn)
	if !ok || !tlsLayout.known {
		return
	}
	at := unsafe.Pointer(c)
	rawInput := (*bytes.Buffer)(unsafe.Add(at, tlsLayout.rawInput))
	input := (*bytes.Reader)(unsafe.Add(at, tlsLayout.input)) // reads from rawInput's bytes
	hand := (*bytes.Buffer)(unsafe.Add(at, tlsLayout.hand))
	if rawInput.Len() == 0 && input.Len() == 0 && rawInput.Cap() > keepTLSBuffer {
		*rawInput = bytes.Buffer{}
		input.Reset(nil)
	}
	if hand.Len() == 0 && hand.Cap() > 0 {
		*hand = bytes.Buffer{}
	}
}
