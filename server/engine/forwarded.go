package engine

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// TrustedProxies are the addresses of proxies that may say for whom they ask. A single address is a prefix of full length. A
// proxy on a Unix socket has the address 127.0.0.1 here.
//
// What a proxy says is in X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Port, or, in requests with none
// of these, in Forwarded (RFC 7239). Every proxy must append to or replace the one of both that it uses, and remove the other if
// its clients could send it. In a list the value of the outermost trusted proxy counts, counted from the right: what stands
// left of it is from the client. The port counts for the Origin check alone, and only where the host has none.
type TrustedProxies []netip.Prefix

// ParseTrustedProxies reads prefixes and addresses, such as "10.0.0.0/8" and "::1".
func ParseTrustedProxies(texts ...string) (TrustedProxies, error) {
	proxies := make(TrustedProxies, 0, len(texts))
	for _, text := range texts {
		text = strings.TrimSpace(text)
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("trusted proxy %q is neither an address nor a prefix such as 10.0.0.0/8", text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		proxies = append(proxies, prefix)
	}
	return proxies, nil
}

// Peer is who asks: the other end of the connection, or whom trusted proxies name.
type Peer struct {
	Address string // IP address without port
	Host    string // the host, with its port if there is one, as the client addressed it
	Secure  bool   // whether the client's connection is TLS
}

// Peer returns who has sent a request. Proxies are asked only while they are trusted, from the nearest on: the first address
// that is not a trusted proxy's is the client's, and what lies beyond it is what the client claims and counts for nothing. Where
// there is no valid address the nearest one before it is taken. It may be called with any request, for example in AllowRequest.
func (t TrustedProxies) Peer(r *http.Request) Peer {
	peer, _ := t.peerAndPort(r)
	return peer
}

// peerAndPort returns also the port on which the client asked a proxy, "" where none says so.
func (t TrustedProxies) peerAndPort(r *http.Request) (peer Peer, port string) {
	if client, ok := passedOn(r); ok {
		return client, ""
	}
	peer = Peer{Address: remoteIP(r), Host: r.Host, Secure: r.TLS != nil}
	if len(t) == 0 {
		return peer, ""
	}
	if addr, ok := proxyAddr(peer.Address); !ok || !t.Contains(addr) {
		return peer, ""
	}
	path := forwardedPath(r.Header)
	hop := 0 // how many proxies behind the one that is connected are trusted
	for ; hop < len(path.addresses); hop++ {
		addr, ok := parseAddr(fromRight(path.addresses, hop))
		if !ok {
			break
		}
		peer.Address = addr.String()
		if !t.Contains(addr) {
			break
		}
	}
	if proto := strings.ToLower(fromRight(path.protos, hop)); proto != "" {
		peer.Secure = proto == "https" || proto == "wss"
	}
	if host := fromRight(path.hosts, hop); host != "" {
		peer.Host = host
	}
	return peer, fromRight(path.ports, hop)
}

// Contains reports whether an address is a trusted proxy's. An IPv4 address in IPv6 form counts as IPv4.
func (t TrustedProxies) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range t {
		if prefix.Contains(addr) {
			return true
		}
		if inner := prefix.Addr(); inner.Is4In6() && prefix.Bits() >= 96 &&
			netip.PrefixFrom(inner.Unmap(), prefix.Bits()-96).Contains(addr) {
			return true
		}
	}
	return false
}

// forwarded is the way of a request in the words of the proxies, the nearest proxy's last.
type forwarded struct{ addresses, protos, hosts, ports []string }

// fromRight returns the value of a hop, counted from the nearest proxy. A proxy in front that replaces what it gets instead
// of appending leaves fewer values than hops; then the first one holds for all of them.
func fromRight(values []string, hop int) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1-min(hop, len(values)-1)]
}

func forwardedPath(h http.Header) forwarded {
	const forName, protoName = "X-Forwarded-For", "X-Forwarded-Proto"
	const hostName, portName = "X-Forwarded-Host", "X-Forwarded-Port"
	if h[forName] == nil && h[protoName] == nil && h[hostName] == nil && h[portName] == nil {
		return parseForwarded(h["Forwarded"])
	}
	return forwarded{splitList(h[forName]), splitList(h[protoName]), splitList(h[hostName]), splitList(h[portName])}
}

func splitList(lines []string) []string {
	var values []string
	for _, line := range lines {
		for value := range strings.SplitSeq(line, ",") {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// parseForwarded reads Forwarded headers (RFC 7239, section 4). An element without a parameter gives "" for it, so that the
// hops stay aligned; so does a malformed element for all of them.
func parseForwarded(lines []string) (f forwarded) {
	for _, line := range lines {
		for more := true; more; {
			var element map[string]string
			element, line, more = forwardedElement(line)
			f.addresses = append(f.addresses, element["for"])
			f.protos = append(f.protos, element["proto"])
			f.hosts = append(f.hosts, element["host"])
		}
	}
	return f
}

// forwardedElement reads the first element of a list: pairs up to a comma that is not quoted. More is true if it ended in one.
func forwardedElement(s string) (element map[string]string, rest string, more bool) {
	element = make(map[string]string, 4)
	valid := true
	for {
		end := strings.IndexAny(s, "=,;")
		if end >= 0 && s[end] == '=' {
			name := strings.ToLower(strings.TrimSpace(s[:end]))
			value, after, ok := forwardedValue(s[end+1:])
			_, twice := element[name]
			valid = valid && ok && !twice
			element[name], s = value, after
			end = strings.IndexAny(s, ",;")
		}
		blank := s
		if end >= 0 {
			blank = s[:end]
		}
		valid = valid && strings.TrimSpace(blank) == ""
		if end >= 0 && s[end] == ';' {
			s = s[end+1:]
			continue
		}
		if !valid {
			element = nil
		}
		if end < 0 {
			return element, "", false
		}
		return element, s[end+1:], true
	}
}

// forwardedValue reads a token, or a quoted string with its escapes.
func forwardedValue(s string) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ",;")
		if end < 0 {
			end = len(s)
		}
		return strings.TrimSpace(s[:end]), s[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// parseAddr reads an IP address as proxies write it: bare, with a port, or an IPv6 address in brackets.
func parseAddr(text string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	} else if inner, ok := strings.CutPrefix(text, "["); ok {
		text, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap().WithZone(""), err == nil
}

// proxyAddr is the address of the connection's other end. That of a Unix socket has none, which net/http shows as "@".
func proxyAddr(address string) (netip.Addr, bool) {
	if address == "@" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	return parseAddr(address)
}

func remoteIP(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}
