package proxyprotocol

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/pires/go-proxyproto"
)

const (
	shortest  = 12 // every header is longer: the signature of version 2, or the begin of a line
	longestV1 = 107
	// longestV2 is enough for addresses and many extensions. The format allows 64 KB.
	longestV2 = 4 << 10
	headV2    = 16 // up to and with the length
)

var (
	errNoHeader = errors.New("connection does not begin with one")
	errTooLong  = errors.New("too long")
	lineStart   = []byte("PROXY ")
	signatureV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// readHeader reads one header and not a byte behind it. The addresses are nil if the sender speaks for itself or has none to
// tell that go with TCP.
func readHeader(r io.Reader) (remote, local net.Addr, err error) {
	raw, err := cutHeader(r)
	if err != nil {
		return nil, nil, err
	}
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, nil, err
	}
	source, destination, ok := header.TCPAddrs()
	if header.Command.IsLocal() || !ok {
		return nil, nil, nil
	}
	return source, destination, nil
}

// cutHeader reads the bytes of a header. Its end is known in advance only in version 2; a line is read byte by byte.
func cutHeader(r io.Reader) ([]byte, error) {
	raw := make([]byte, shortest, longestV1)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	switch {
	case bytes.Equal(raw, signatureV2):
		return cutV2(r, raw)
	case bytes.HasPrefix(raw, lineStart):
		return cutV1(r, raw)
	}
	return nil, errNoHeader
}

func cutV1(r io.Reader, raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\n') >= 0 {
		return nil, errNoHeader // shorter than any line can be
	}
	for raw[len(raw)-1] != '\n' {
		if len(raw) == longestV1 {
			return nil, errTooLong
		}
		raw = raw[:len(raw)+1]
		if _, err := io.ReadFull(r, raw[len(raw)-1:]); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

func cutV2(r io.Reader, raw []byte) ([]byte, error) {
	raw = raw[:headV2]
	if _, err := io.ReadFull(r, raw[shortest:]); err != nil {
		return nil, err
	}
	n := headV2 + int(binary.BigEndian.Uint16(raw[headV2-2:]))
	if n > longestV2 {
		return nil, errTooLong
	}
	raw = append(raw, make([]byte, n-headV2)...)
	_, err := io.ReadFull(r, raw[headV2:])
	return raw, err
}
