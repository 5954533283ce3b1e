package engine

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func trust(t testing.TB, texts ...string) TrustedProxies {
	t.Helper()
	proxies, err := ParseTrustedProxies(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return proxies
}

// header makes a header of "Name: value" lines.
func header(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func TestPeer(t *testing.T) {
	const proxy, stranger = "10.0.0.1:80", "203.0.113.9:80"
	for name, c := range map[string]struct {
		remote string
		lines  []string
		want   Peer
	}{
		"no proxy":             {stranger, nil, Peer{"203.0.113.9", "own", false}},
		"a proxy says nothing": {proxy, nil, Peer{"10.0.0.1", "own", false}},
		"a stranger lies": {stranger, []string{"X-Forwarded-For: 10.0.0.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: a",
			"Forwarded: for=10.0.0.7;proto=https;host=a"}, Peer{"203.0.113.9", "own", false}},
		"one hop":        {proxy, []string{"X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: a:1"}, Peer{"198.51.100.7", "a:1", true}},
		"client lies":    {proxy, []string{"X-Forwarded-For: 10.0.0.7, 198.51.100.7"}, Peer{"198.51.100.7", "own", false}},
		"in a line each": {proxy, []string{"X-Forwarded-For: 10.0.0.7", "X-Forwarded-For: 198.51.100.7"}, Peer{"198.51.100.7", "own", false}},
		"client lies about everything": {proxy, []string{"X-Forwarded-For: 8.8.8.8, 198.51.100.7", "X-Forwarded-Proto: https, http",
			"X-Forwarded-Host: evil, good"}, Peer{"198.51.100.7", "good", false}},
		"two hops": {proxy, []string{"X-Forwarded-For: 8.8.8.8, 198.51.100.7, 10.9.9.9", "X-Forwarded-Proto: http, https, http",
			"X-Forwarded-Host: evil, good, inner"}, Peer{"198.51.100.7", "good", true}},
		"two hops, the second keeps what it gets": {proxy, []string{"X-Forwarded-For: 198.51.100.7, 10.9.9.9", "X-Forwarded-Proto: https",
			"X-Forwarded-Host: good"}, Peer{"198.51.100.7", "good", true}},
		"trusted all the way":  {proxy, []string{"X-Forwarded-For: 10.0.0.9, 10.0.0.8", "X-Forwarded-Proto: https"}, Peer{"10.0.0.9", "own", true}},
		"unknown behind proxy": {proxy, []string{"X-Forwarded-For: 8.8.8.8, unknown, 10.0.0.8"}, Peer{"10.0.0.8", "own", false}},
		"empty":                {proxy, []string{"X-Forwarded-For: "}, Peer{"10.0.0.1", "own", false}},
		"with a port":          {proxy, []string{"X-Forwarded-For: 198.51.100.7:4711"}, Peer{"198.51.100.7", "own", false}},
		"IPv6":                 {proxy, []string{"X-Forwarded-For: 2001:db8::1"}, Peer{"2001:db8::1", "own", false}},
		"IPv6 in brackets":     {proxy, []string{"X-Forwarded-For: [2001:db8::1]"}, Peer{"2001:db8::1", "own", false}},
		"IPv6 with a port":     {proxy, []string{"X-Forwarded-For: [2001:DB8::1]:80"}, Peer{"2001:db8::1", "own", false}},
		"IPv4 in IPv6":         {"[::ffff:10.0.0.1]:80", []string{"X-Forwarded-For: 198.51.100.7, ::ffff:10.0.0.3"}, Peer{"198.51.100.7", "own", false}},
		"an IPv6 proxy":        {"[fd00::1]:80", []string{"X-Forwarded-For: 198.51.100.7"}, Peer{"198.51.100.7", "own", false}},
		"over a Unix socket":   {"@", []string{"X-Forwarded-For: 198.51.100.7"}, Peer{"198.51.100.7", "own", false}},
		"wss":                  {proxy, []string{"X-Forwarded-Proto: WSS"}, Peer{"10.0.0.1", "own", true}},

		"Forwarded":            {proxy, []string{"Forwarded: for=198.51.100.7;proto=https;host=a"}, Peer{"198.51.100.7", "a", true}},
		"Forwarded, quoted":    {proxy, []string{`Forwarded: For="[2001:db8::1]:47011" ; Proto=HTTPS; by=x; host="a\:1"`}, Peer{"2001:db8::1", "a:1", true}},
		"Forwarded, two hops":  {proxy, []string{`Forwarded: for=8.8.8.8;proto=https, for=198.51.100.7;host="x,y;z", for=10.0.0.3;proto=https`}, Peer{"198.51.100.7", "x,y;z", false}},
		"Forwarded in lines":   {proxy, []string{"Forwarded: for=8.8.8.8", "Forwarded: for=198.51.100.7, for=10.0.0.3"}, Peer{"198.51.100.7", "own", false}},
		"Forwarded, hidden":    {proxy, []string{"Forwarded: for=8.8.8.8, for=_hidden;proto=https, for=10.0.0.3"}, Peer{"10.0.0.3", "own", true}},
		"Forwarded, malformed": {proxy, []string{`Forwarded: for=8.8.8.8, for="1, for=10.0.0.3`}, Peer{"10.0.0.1", "own", false}},
		"Forwarded, twice":     {proxy, []string{`Forwarded: for=1.1.1.1;for=2.2.2.2;proto=https`}, Peer{"10.0.0.1", "own", false}},
		"both: the one that all proxies know": {proxy, []string{"Forwarded: for=8.8.8.8;proto=https;host=evil",
			"X-Forwarded-For: 198.51.100.7"}, Peer{"198.51.100.7", "own", false}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.remote, Host: "own", Header: header(c.lines...)}
			if got := trust(t, "10.0.0.0/8", "fd00::1", "127.0.0.1").Peer(r); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got := TrustedProxies(nil).Peer(r); got.Host != "own" || got.Secure || got.Address != remoteIP(r) {
				t.Errorf("nobody is trusted, got %+v", got)
			}
		})
	}
}

func TestParseTrustedProxies(t *testing.T) {
	for _, text := range []string{"", "10.0.0.0/33", "localhost", "10.0.0.1:80", "10.0.0", "[::1]"} {
		if _, err := ParseTrustedProxies("::1", text); err == nil || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got := trust(t, " 10.0.0.1", "::ffff:10.1.0.0/112"); !got.Contains(netip.MustParseAddr("10.0.0.1")) ||
		got.Contains(netip.MustParseAddr("10.0.0.2")) || !got.Contains(netip.MustParseAddr("::ffff:10.1.2.3")) {
		t.Errorf("got %v", got)
	}
}

// FuzzPeer checks what must hold of every header: a stranger's says nothing, and the address is the connection's or one
// that a header names.
func FuzzPeer(f *testing.F) {
	for _, seed := range []string{"", "1.1.1.1", "a, [::1]:80", `for="[::1]:1";proto=https, for=_x`, `for="\`, ",,;=", `a="b"c;`} {
		f.Add(seed, seed)
	}
	proxies := trust(f, "10.0.0.0/8")
	f.Fuzz(func(t *testing.T, list, elements string) {
		for _, h := range []http.Header{{"X-Forwarded-For": {list}, "X-Forwarded-Proto": {elements}}, {"Forwarded": {elements, list}}} {
			r := &http.Request{RemoteAddr: "10.0.0.1:1", Host: "own", Header: h}
			peer := proxies.Peer(r)
			addr, err := netip.ParseAddr(peer.Address)
			if err != nil {
				t.Fatalf("address %q of %q", peer.Address, h)
			}
			path := forwardedPath(h)
			named := func(text string) bool { a, ok := parseAddr(text); return ok && a == addr }
			if peer.Address != "10.0.0.1" && !slices.ContainsFunc(path.addresses, named) {
				t.Fatalf("address %q of %q", peer.Address, h)
			}
			r.RemoteAddr = "192.0.2.1:1"
			if got := proxies.Peer(r); got != (Peer{"192.0.2.1", "own", false}) {
				t.Fatalf("a stranger's %q gives %+v", h, got)
			}
		}
	})
}

// TestTrustedProxies looks at what a session's handshake says on both transports, and what AllowRequest can learn.
func TestTrustedProxies(t *testing.T) {
	for _, c := range []struct {
		proxies TrustedProxies
		address string
		secure  bool
	}{
		{nil, "127.0.0.1", false},
		{trust(t, "192.0.2.0/24"), "127.0.0.1", false},
		{trust(t, "127.0.0.0/8"), "198.51.100.7", true},
	} {
		var allowed []string
		g := newRigOn(t, &Options{TrustedProxies: c.proxies, AllowRequest: func(r *http.Request) error {
			allowed = append(allowed, c.proxies.Peer(r).Address)
			return nil
		}}, true, 0)
		answer := g.must("GET", "/engine.io/?EIO=4&transport=polling", "", "X-Forwarded-For", "8.8.8.8, 198.51.100.7", "X-Forwarded-Proto", "https")
		polling := parseOpen(t, answer.body).SID
		_, websocket := g.openWS("", "X-Forwarded-For: 8.8.8.8, 198.51.100.7\r\n", "X-Forwarded-Proto: https\r\n")
		for _, sid := range []string{polling, websocket} {
			h := g.recorder(sid).s.Handshake()
			if h.Address() != c.address || h.Secure() != c.secure {
				t.Errorf("%v trusted: address %q, secure %v", c.proxies, h.Address(), h.Secure())
			}
			if got := h.Headers()["x-forwarded-for"]; got != "8.8.8.8, 198.51.100.7" {
				t.Errorf("the header is %q", got)
			}
		}
		if want := []string{c.address, c.address}; !slices.Equal(allowed, want) {
			t.Errorf("AllowRequest saw %q, want %q", allowed, want)
		}
	}
}

// TestForwardedHostIsOwn opens websockets from a page whose host or port only the proxy knows.
func TestForwardedHostIsOwn(t *testing.T) {
	const own, foreign = http.StatusSwitchingProtocols, http.StatusBadRequest
	proxy := trust(t, "127.0.0.1", "10.0.0.0/8")
	for _, c := range []struct {
		trusted TrustedProxies
		origin  string // without the scheme
		headers string
		status  int
	}{
		{proxy, "chat.example", "X-Forwarded-Host: chat.example", own},
		{proxy, "chat.example", "X-Forwarded-Host: evil.example, chat.example:443", own},
		{proxy, "chat.example", "X-Forwarded-Host: chat.example, other.example", foreign},
		{proxy, "chat.example", "X-Forwarded-Host: evil.example, chat.example, inner\r\nX-Forwarded-For: 198.51.100.7, 10.0.0.2", own},
		{proxy, "evil.example", "X-Forwarded-Host: evil.example, chat.example, inner\r\nX-Forwarded-For: 198.51.100.7, 10.0.0.2", foreign},
		{proxy, "chat.example", "Forwarded: host=chat.example", own},
		{proxy, "chat.example", "X-Forwarded-Proto: https", foreign},
		{trust(t, "192.0.2.1"), "chat.example", "X-Forwarded-Host: chat.example", foreign},
		{nil, "chat.example", "X-Forwarded-Host: chat.example", foreign},

		{proxy, "test:8443", "X-Forwarded-Port: 8443", own},
		{proxy, "test", "X-Forwarded-Port: 8443", own}, // another proxy, on the default port, is in front
		{proxy, "test", "X-Forwarded-Port: 443", own},
		{proxy, "test:444", "X-Forwarded-Port: 8443", foreign},
		{proxy, "other:8443", "X-Forwarded-Port: 8443", foreign},
		{nil, "test:8443", "X-Forwarded-Port: 8443", foreign},
		{proxy, "chat.example:8443", "X-Forwarded-Host: chat.example\r\nX-Forwarded-Port: 8443", own},
		{proxy, "chat.example:8443", "X-Forwarded-Host: chat.example:9\r\nX-Forwarded-Port: 8443", foreign},
		{proxy, "[2001:db8::1]:8443", "X-Forwarded-Host: [2001:db8::1]\r\nX-Forwarded-Port: 8443", own},
		{proxy, "test:8443", "X-Forwarded-Port: 9, 8443, 7\r\nX-Forwarded-For: 198.51.100.7, 10.0.0.2", own},
		{proxy, "test:9", "X-Forwarded-Port: 9, 8443, 7\r\nX-Forwarded-For: 198.51.100.7, 10.0.0.2", foreign},
		{proxy, "test:8443", "Forwarded: host=test\r\nX-Forwarded-Port: 8443", own},
	} {
		g := newRigOn(t, &Options{TrustedProxies: c.trusted, CORS: &CORS{Origins: []string{"https://partner.example"}}}, true, 0)
		client := g.upgrade("/engine.io/?EIO=4&transport=websocket", "Origin: https://"+c.origin+"\r\n", c.headers+"\r\n")
		if got := client.res.StatusCode; got != c.status {
			t.Errorf("%v trusted, origin %s, %q: status %d, want %d", c.trusted, c.origin, c.headers, got, c.status)
		}
	}
}
