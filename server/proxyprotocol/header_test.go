package proxyprotocol

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzHeader checks that what follows a header is left alone, and that nothing is read without end.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{
		"", "GET / HTTP/1.1\r\n\r\n", "PROXY UNKNOWN\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY TCP6 ::1 ::2 1 2\r\nrest",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0caaaabbbbccdd", "PROXY \n\n\n\n\n\n\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := strings.NewReader(raw)
		remote, local, err := readHeader(r)
		read := len(raw) - r.Len()
		if read > longestV2 || (remote == nil) != (local == nil) {
			t.Fatalf("%d bytes read, addresses %v and %v", read, remote, local)
		}
		if err != nil {
			return
		}
		// The header alone means the same, and ends where it ended.
		alone := bytes.NewReader([]byte(raw[:read]))
		again, _, err := readHeader(alone)
		if err != nil || alone.Len() != 0 || (again == nil) != (remote == nil) || again != nil && again.String() != remote.String() {
			t.Fatalf("the header alone: %v, %v, %d bytes left", again, err, alone.Len())
		}
		if strings.HasPrefix(raw, "PROXY ") && strings.IndexByte(raw, '\n')+1 != read {
			t.Fatalf("%d bytes read of %q", read, raw)
		}
	})
}
