package websocket

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

const testWSKey = "dGhlIHNhbXBsZSBub25jZQ==" // of RFC 6455 section 1.3

// upgradeRequest returns a good request, changed by pairs of a header name and a value; an empty value removes it.
func upgradeRequest(changes ...string) *http.Request {
	r := &http.Request{Method: http.MethodGet, Header: http.Header{}}
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Sec-WebSocket-Key", testWSKey)
	r.Header.Set("Sec-WebSocket-Version", "13")
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			r.Header.Del(changes[i])
		} else {
			r.Header.Set(changes[i], changes[i+1])
		}
	}
	return r
}

func TestAcceptResponse(t *testing.T) {
	r := upgradeRequest("Sec-WebSocket-Protocol", "chat, other", "Sec-WebSocket-Extensions", "foo, permessage-deflate; client_max_window_bits")
	h, refused := Accept(r, &DeflateOptions{})
	if refused != nil {
		t.Fatal(refused)
	}
	got := string(h.AppendResponse([]byte("before "), http.Header{"X-B": {"2", "3"}, "Set-Cookie": {"a=b\r\nX-Evil: 1"}}))
	want := "before HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
		"Sec-WebSocket-Protocol: chat\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n" +
		"Set-Cookie: a=b  X-Evil: 1\r\n" +
		"X-B: 2\r\nX-B: 3\r\n\r\n"
	if got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestAcceptRefusals(t *testing.T) {
	const (
		method   = "405 Invalid HTTP method"
		upgrade  = "400 Invalid Upgrade header"
		key      = "400 Missing or invalid Sec-WebSocket-Key header"
		version  = "400 Missing or invalid Sec-WebSocket-Version header"
		protocol = "400 Invalid Sec-WebSocket-Protocol header"
	)
	tests := []struct{ name, value, want string }{
		{"Upgrade", "", upgrade},
		{"Upgrade", "WebSocket", ""},
		{"Upgrade", "websocket, h2c", upgrade},
		{"Sec-WebSocket-Key", "", key},
		{"Sec-WebSocket-Key", "short==", key},
		{"Sec-WebSocket-Key", testWSKey + "=", key},
		{"Sec-WebSocket-Key", strings.Repeat("-", 22) + "==", key},
		{"Sec-WebSocket-Key", strings.Repeat("+/", 11) + "==", ""},
		{"Sec-WebSocket-Key", testWSKey[:23] + "a", key},
		{"Sec-WebSocket-Version", "", version},
		{"Sec-WebSocket-Version", "8", ""},
		{"Sec-WebSocket-Version", "12", version},
		{"Sec-WebSocket-Version", "13, 13", version},
		{"Sec-WebSocket-Version", "0xd", ""},
		{"Sec-WebSocket-Version", "0b1101", ""},
		{"Sec-WebSocket-Version", "1.3e1", ""},
		{"Sec-WebSocket-Version", "thirteen", version},
		{"Sec-WebSocket-Version", "0xg", version},
		{"Sec-WebSocket-Protocol", "a, b", ""},
		{"Sec-WebSocket-Protocol", "a, a", protocol},
		{"Sec-WebSocket-Protocol", "a,", protocol},
		{"Sec-WebSocket-Protocol", "a b", protocol},
		{"Sec-WebSocket-Protocol", "a;b", protocol},
	}
	for _, tt := range tests {
		_, refused := Accept(upgradeRequest(tt.name, tt.value), nil)
		checkRefusal(t, tt.name+": "+tt.value, refused, tt.want)
	}
	r := upgradeRequest()
	r.Method = http.MethodPost
	_, refused := Accept(r, nil)
	checkRefusal(t, "POST", refused, method)
	r = upgradeRequest()
	r.Header.Add("Sec-WebSocket-Key", testWSKey)
	_, refused = Accept(r, nil)
	checkRefusal(t, "two keys", refused, key)
}

// checkRefusal reads the response back as a client would. want is "status body", empty for none.
func checkRefusal(t *testing.T, what string, refused *HandshakeError, want string) {
	t.Helper()
	if refused == nil {
		if want != "" {
			t.Errorf("%s: accepted, want %s", what, want)
		}
		return
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(refused.AppendResponse(nil))), nil)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if got := resp.Status[:4] + body.String(); got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
	if !resp.Close || resp.Header.Get("Content-Type") != "text/html" {
		t.Errorf("%s: headers %v", what, resp.Header)
	}
	if versions := resp.Header.Get("Sec-WebSocket-Version"); strings.Contains(want, "Version") != (versions == "13, 8") {
		t.Errorf("%s: offered versions %q", what, versions)
	}
}

func TestNegotiate(t *testing.T) {
	const (
		refused = "refused"
		both    = "; server_no_context_takeover; client_no_context_takeover"
		pmd     = "permessage-deflate"
	)
	plain := &DeflateOptions{}
	takeover := &DeflateOptions{ServerContextTakeover: true, ClientContextTakeover: true}
	server10 := &DeflateOptions{ServerMaxWindowBits: 10}
	client9 := &DeflateOptions{ClientMaxWindowBits: 9}
	tests := []struct {
		options *DeflateOptions
		offer   string
		want    string // the answer after the name; empty means without compression
	}{
		{nil, pmd, ""},
		{nil, "malformed=", ""},
		{plain, pmd, both},
		{plain, pmd + "; client_no_context_takeover", "; client_no_context_takeover; server_no_context_takeover"},
		{plain, pmd + "; client_max_window_bits; server_max_window_bits=9", "; server_max_window_bits=9" + both},
		{plain, pmd + "; client_max_window_bits=10", "; client_max_window_bits=10" + both},
		{plain, pmd + `; client_max_window_bits="1\2"`, "; client_max_window_bits=12" + both},
		{plain, pmd + "; server_max_window_bits=0xa", "; server_max_window_bits=10" + both},
		{plain, "foo; a=b", ""},
		{plain, "PERMESSAGE-DEFLATE", ""},
		{plain, "foo, " + pmd + "\t;\tclient_max_window_bits", both},
		{takeover, pmd, ";"},
		{takeover, pmd + "; server_no_context_takeover", "; server_no_context_takeover"},
		{takeover, pmd + "; client_no_context_takeover", "; client_no_context_takeover"},
		{server10, pmd, both + "; server_max_window_bits=10"},
		{server10, pmd + "; server_max_window_bits=12", "; server_max_window_bits=10" + both},
		{server10, pmd + "; server_max_window_bits=9", refused},
		{server10, pmd + "; server_max_window_bits=9, " + pmd, both + "; server_max_window_bits=10"},
		{client9, pmd, refused},
		{client9, pmd + "; client_max_window_bits", "; client_max_window_bits=9" + both},
		{client9, pmd + "; client_max_window_bits=8", refused},
		{client9, pmd + "; client_max_window_bits=15", "; client_max_window_bits=9" + both},
		{plain, "", refused},
		{plain, pmd + ";", refused},
		{plain, pmd + ",", refused},
		{plain, "," + pmd, refused},
		{plain, "x y", refused},
		{plain, `x; y=""`, refused},
		{plain, `x; y="a b"`, refused},
		{plain, `x; y="z`, refused},
		{plain, pmd + "; unknown", refused},
		{plain, pmd + "; unknown, " + pmd, refused},
		{plain, pmd + "; server_max_window_bits", refused},
		{plain, pmd + "; server_max_window_bits=7", refused},
		{plain, pmd + "; server_max_window_bits=16", refused},
		{plain, pmd + "; client_max_window_bits=9.5", refused},
		{plain, pmd + "; client_max_window_bits= 9", refused},
		{plain, pmd + "; server_no_context_takeover=1", refused},
		{plain, pmd + "; client_no_context_takeover; client_no_context_takeover", refused},
		{plain, pmd + "; client_max_window_bits; client_max_window_bits=9", refused},
	}
	for _, tt := range tests {
		r := upgradeRequest()
		r.Header["Sec-Websocket-Extensions"] = []string{tt.offer}
		got := refused
		if h, e := Accept(r, tt.options); e == nil {
			got = strings.TrimPrefix(string(h.extensions), pmd)
			if len(h.extensions) > 0 && got == "" {
				got = ";" // accepted without parameters
			}
			if (h.Deflate == nil) != (len(h.extensions) == 0) {
				t.Errorf("%q: state and answer disagree", tt.offer)
			}
		} else if e.Status != 400 || e.Message != "Invalid or unacceptable Sec-WebSocket-Extensions header" {
			t.Errorf("%q: refused with %v", tt.offer, e)
		}
		if got != tt.want {
			t.Errorf("%q with %+v: got %q, want %q", tt.offer, tt.options, got, tt.want)
		}
	}
}

func TestNegotiatedState(t *testing.T) {
	r := upgradeRequest("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9")
	h, refused := Accept(r, &DeflateOptions{ServerContextTakeover: true, ClientContextTakeover: true, Threshold: -1, Level: 5})
	if refused != nil {
		t.Fatal(refused)
	}
	d := h.Deflate
	if d.serverBits != 10 || d.out.bits != 10 || d.in.bits != 9 || d.threshold != 0 || d.Level() != 5 {
		t.Errorf("got %+v, out %+v, in %+v", d, d.out, d.in)
	}
	if h, _ = Accept(r, &DeflateOptions{}); h.Deflate.in != nil || h.Deflate.out != nil || h.Deflate.threshold != 1024 {
		t.Errorf("got %+v without context takeover", h.Deflate)
	}
}

func TestIsUpgrade(t *testing.T) {
	r := upgradeRequest()
	r.Header["Upgrade"] = []string{""}
	if IsUpgrade(r) {
		t.Error("an empty Upgrade header counts as none")
	}
	tests := []struct {
		changes []string
		want    bool
	}{
		{nil, true},
		{[]string{"Connection", "keep-alive, UPGRADE"}, true},
		{[]string{"Connection", "keep-alive"}, false},
		{[]string{"Connection", ""}, false},
		{[]string{"Upgrade", ""}, false},
		{[]string{"Upgrade", "h2c"}, true},
	}
	for _, tt := range tests {
		if got := IsUpgrade(upgradeRequest(tt.changes...)); got != tt.want {
			t.Errorf("%q: got %v", tt.changes, got)
		}
	}
}
