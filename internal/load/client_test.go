package load

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// nowhere is a link that goes nowhere.
type nowhere struct{ written [][]byte }

func (*nowhere) open(context.Context) error        { return nil }
func (*nowhere) read(func([]byte)) error           { return io.EOF }
func (*nowhere) goodbye() error                    { return nil }
func (*nowhere) cut()                              {}
func (*nowhere) limit(context.Context) func() bool { return func() bool { return true } }
func (*nowhere) writeWith([]byte, []byte) error    { return nil }
func (l *nowhere) write(p []byte) error {
	l.written = append(l.written, bytes.Clone(p))
	return nil
}

// journal writes down what a client hears.
type journal struct{ lines []string }

func (j *journal) OnEvent(_ *Client, args []byte) { j.lines = append(j.lines, "event "+string(args)) }
func (j *journal) OnAck(_ *Client, _ int, args []byte) {
	j.lines = append(j.lines, "ack "+string(args))
}
func (j *journal) OnEnd(*Client, error, bool) {}

func TestPackets(t *testing.T) {
	var j journal
	var l nowhere
	c := &Client{target: &Target{}, link: &l, handler: &j, ackID: -1}
	for _, p := range []string{`0{"sid":"abc"}`, `40{"sid":"xyz"}`, "2", "2probe", `42["a",1]`, `427["b"]`, `4312["c"]`, "", "4", "6"} {
		c.packet([]byte(p))
	}
	if !c.opened || !c.joined || c.SID != "xyz" || c.failure != nil {
		t.Errorf("client %+v", c)
	}
	if got, want := strings.Join(j.lines, "; "), `event ["a",1]; event ["b"]; ack ["c"]`; got != want {
		t.Errorf("heard %s, want %s", got, want)
	}
	if got := string(bytes.Join(l.written, []byte(" "))); got != "3 3probe" {
		t.Errorf("wrote %s", got)
	}
	for _, p := range []string{"1", "41", `44{"message":"no"}`, "0{}"} {
		c := &Client{target: &Target{}, link: &l, handler: &j, ackID: -1}
		if c.packet([]byte(p)); c.failure == nil {
			t.Errorf("%q is no failure", p)
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, p := range []string{`0{"sid":"abc"}`, `40{"sid":"xyz"}`, "2", `427["b"]`, `4312["c"]`, "41", `0{"sid":"`} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var j journal
		c := &Client{target: &Target{}, link: &nowhere{}, handler: &j, ackID: -1}
		c.packet(p)
		for _, line := range j.lines {
			if _, args, _ := strings.Cut(line, " "); !bytes.HasSuffix(p, []byte(args)) {
				t.Errorf("%q gave %q", p, line)
			}
		}
	})
}

func TestParseTarget(t *testing.T) {
	for raw, want := range map[string]Target{
		"http://localhost:3000":       {Address: "localhost:3000", Host: "localhost:3000", Path: "/socket.io/"},
		"127.0.0.1:3000":              {Address: "127.0.0.1:3000", Host: "127.0.0.1:3000", Path: "/socket.io/"},
		"wss://example.com/chat/":     {Address: "example.com:443", Host: "example.com", Path: "/chat/", TLS: true},
		"ws://[::1]:80/":              {Address: "[::1]:80", Host: "[::1]:80", Path: "/socket.io/"},
		"https://example.com:8443/io": {Address: "example.com:8443", Host: "example.com:8443", Path: "/io", TLS: true},
	} {
		want.Transport = WebSocket
		if got, err := ParseTarget(raw); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", raw, got, err, want)
		}
	}
	for _, raw := range []string{"ftp://x", "http://", "http://x?y=1", "http://%zz"} {
		if got, err := ParseTarget(raw); err == nil {
			t.Errorf("%q was taken as %+v", raw, got)
		}
	}
}

// TestNotASocketIOServer holds that whoever measures the wrong thing is told so in one sentence.
func TestNotASocketIOServer(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	web := func(h http.HandlerFunc) string {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	page := web(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>welcome</html>") })
	refuses := web(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"code":0,"message":"Transport unknown"}`, http.StatusBadRequest)
	})
	for _, tc := range []struct{ name, address, want string }{
		{"nobody", nobody, "no server listens at " + nobody},
		{"missing", web(http.NotFound), "status 404: not a Socket.IO server, or one with another path"},
		{"page", page, "not a Socket.IO server"},
		{"refusal", refuses, `refused the handshake with status 400: {"code":0,"message":"Transport unknown"}`},
		{"mail", speak(t, "220 mail ESMTP\r\n"), "does not speak HTTP"},
		{"closes", speak(t, ""), "closed the connection"},
	} {
		for _, transport := range []string{WebSocket, Polling} {
			t.Run(tc.name+" "+transport, func(t *testing.T) {
				cfg := Config{Target: Target{Address: tc.address, Host: "x", Path: "/socket.io/", Transport: transport}, Scenario: Echo, Timeout: 10 * time.Second}
				if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want one with %q", err, tc.want)
				}
			})
		}
	}
}

// speak answers every connection's first line with a text and closes it.
func speak(t *testing.T, text string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(conn)
			for line, err := r.ReadString('\n'); err == nil && line != "\r\n"; line, err = r.ReadString('\n') {
			}
			io.WriteString(conn, text)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return listener.Addr().String()
}
