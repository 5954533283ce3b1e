package engine

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/acceptencoding"
)

// FuzzQuery compares the parser with net/url where both have the same rules, and demands valid results elsewhere.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"/engine.io/?EIO=4&transport=polling", "?a=1&a=2", "?a;b=1", "?a=%", "?a=%4", "?a=%zz%41", "?a+b=c+d", "?=x", "?&&a",
		"?a=b=c", "?a#b?c=d", "x", "", "?a=%ff%fe", "?a=\xff", "?%E2%82=%E2%82%AC", "??a=b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		got := make(map[string]string)
		for name, value := range queryPairs(target) {
			if !utf8.ValidString(name) || !utf8.ValidString(value) {
				t.Fatalf("%q gives invalid UTF-8: %q=%q", target, name, value)
			}
			got[name] = value
		}
		cut, _, _ := strings.Cut(target, "#")
		_, query, _ := strings.Cut(cut, "?")
		if strings.Contains(query, ";") {
			return
		}
		want, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		if len(got) != len(want) && utf8.ValidString(query) {
			for name := range want {
				if !utf8.ValidString(name) {
					return
				}
			}
			t.Fatalf("%q: %q, net/url %q", query, got, want)
		}
		for name, values := range want {
			last := values[len(values)-1]
			if utf8.ValidString(name) && utf8.ValidString(last) && got[name] != last {
				t.Fatalf("%q: %q is %q, net/url %q", query, name, got[name], last)
			}
		}
	})
}

// FuzzPayload checks the decoding of POST bodies.
func FuzzPayload(f *testing.F) {
	for _, seed := range []string{"", "4a", "4a\x1ebAQI=\x1e", "\x1e\x1e", "b====", "b\xff", "4\xe2\x82", "9", "bAQ*ID-_", "4\xf0\x9f\x98\x80"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		valid := validUTF8(bytes.Clone(body))
		if !utf8.Valid(valid) {
			t.Fatalf("%q stays invalid: %q", body, valid)
		}
		if utf8.Valid(body) && !bytes.Equal(valid, body) {
			t.Fatalf("%q was changed to %q", body, valid)
		}
		var joined [][]byte
		for packet := range payloadPackets(valid) {
			joined = append(joined, bytes.Clone(packet))
			if len(packet) == 0 || packet[0] != packetBase64 {
				continue
			}
			text := packet[1:]
			want, err := base64.StdEncoding.DecodeString(string(text))
			strict := err == nil && !bytes.ContainsAny(text, "\r\n")
			if got := decodeBase64(bytes.Clone(text)); strict && !bytes.Equal(got, want) {
				t.Fatalf("%q decodes to %x, want %x", text, got, want)
			}
		}
		if got := bytes.Join(joined, []byte{separator}); !bytes.Equal(got, valid) {
			t.Fatalf("%q is split into %q", valid, joined)
		}
		n := 0
		for kind, data := range packets4(bytes.Clone(valid)) {
			known := kind == packetInvalid && data == nil || kind == packetBase64 || kind >= packetOpen && kind <= packetNoop
			if !known || len(data) > max(0, len(joined[n])-1) {
				t.Fatalf("%q is decoded as %q %q", joined[n], kind, data)
			}
			n++
		}
		if n != len(joined) {
			t.Fatalf("%q is decoded as %d packets", valid, n)
		}
	})
}

// FuzzHandshake checks that whatever net/http lets through is kept in bounds and can be expanded.
func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{
		"GET /engine.io/?a=b HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nCookie: c\r\n\r\n",
		"GET /?%0a HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-A: 2\r\nAuthorization: a\r\nAuthorization: b\r\nAccept-Encoding: gzip;q=0.1,*\r\n\r\n",
		"GET http://h/x HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\nOrigin: x:y:z\r\nX-Empty:\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		h, ok := newHandshake(r, nil, defaultMaxHandshake)
		if !ok {
			return
		}
		if len(h.raw) > defaultMaxHandshake {
			t.Fatalf("%d bytes kept", len(h.raw))
		}
		headers := h.Headers()
		for name, values := range r.Header {
			if want := latin1(joinValues(name, values)); headers[strings.ToLower(name)] != want && strings.ToLower(name) != "host" {
				t.Fatalf("%s: %q, want %q", name, headers[strings.ToLower(name)], want)
			}
		}
		if h.URL() != rawURL(r) {
			t.Fatalf("URL %q, want %q", h.URL(), rawURL(r))
		}
		_ = h.Query()
		acceptencoding.Preferred(r.Header.Values("Accept-Encoding"), encodings[:]...)
		addVary(r.Header, headerOrigin)
	})
}

func TestQuery(t *testing.T) {
	for target, want := range map[string]string{
		"/x?a=1&a=2":           "a=1 a=2 ",
		"/x?a;b=1":             "a;b=1 ",
		"/x?a=%zz%4":           "a=%zz%4 ",
		"/x?a+b=c+%2B":         "a b=c + ",
		"/x?a=b=c&&d&=e":       "a=b=c d= =e ",
		"/x?a=1#f&b=2":         "a=1 ",
		"/x?a=%E2%82%AC%ff%41": "a=\u20ac\uFFFDA ",
		"/x":                   "",
	} {
		var got strings.Builder
		for name, value := range queryPairs(target) {
			got.WriteString(name + "=" + value + " ")
		}
		if got.String() != want {
			t.Errorf("%s: %q, want %q", target, got.String(), want)
		}
	}
}

func TestDecodeBase64(t *testing.T) {
	// What Buffer.from(s, "base64") gives in Node 20.
	for in, want := range map[string]string{
		"YQ==YQ==": "a", "Y-_/": "c\xef\xff", "Y Q=": "a", "YQ": "a", "Y": "", "": "", "YWJj=ZGVm": "abc",
		"YWJ*jZGVm": "abcdef", "\u00e9": "", "=YWI": "", "YWJjZ": "abc",
	} {
		if got := string(decodeBase64([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestValidUTF8(t *testing.T) {
	// What Buffer.toString() gives in Node: one U+FFFD for each maximal ill-formed part.
	for in, want := range map[string]string{
		"a\xffb": "a\uFFFDb", "\xff\xfe": "\uFFFD\uFFFD", "\xe2\x82": "\uFFFD", "\xe2\x82z": "\uFFFDz",
		"\xf0\x9f\x98": "\uFFFD", "\xf0\x80\x80": "\uFFFD\uFFFD\uFFFD", "\xed\xa0\x80": "\uFFFD\uFFFD\uFFFD", "\xc0\x80": "\uFFFD\uFFFD",
	} {
		if got := string(validUTF8([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
