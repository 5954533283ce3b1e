package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/sockeye-io/sockeye/bench/computing"
)

// Servers that answer the load generator's echoes and know of Socket.IO only what that takes: packets are found by their first bytes.
const (
	serveGoroutines = "goroutines" // net.Conn, a goroutine for each connection
	serveHot        = "hot"        // a poller that waits without the scheduler, and answers on its own goroutine
	serveGobwas     = "gobwas"     // net/http and gobwas/ws, a goroutine for each connection
)

const (
	acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 section 1.3
	openPacket = `0{"sid":"floor","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
	readSize   = 4 << 10
	maxMessage = 1 << 20
)

var work computing.Set

// compute answers the event of this name.
var compute = work.Set

// serve runs one of the servers until a signal ends the program.
func serve(kind string, port int) error {
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	failed := make(chan error, 1)
	go func() { failed <- serveOn(kind, listener) }()
	select {
	case <-ended:
		return nil
	case err := <-failed:
		return err
	}
}

// serveOn serves until the listener is closed.
func serveOn(kind string, l net.Listener) error {
	switch kind {
	case serveGobwas:
		return http.Serve(l, http.HandlerFunc(serveGobwasConn))
	case serveGoroutines:
		return acceptAll(l, echoAll)
	case serveHot:
		p, err := newPoller()
		if err != nil {
			return err
		}
		go p.run()
		return errors.Join(acceptAll(l, p.adopt), p.stop())
	}
	return fmt.Errorf("unknown server %q", kind)
}

// acceptAll gives each connection to take after the handshakes of WebSocket and Engine.IO, on a goroutine of its own.
func acceptAll(l net.Listener, take func(*net.TCPConn) error) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			if upgradeBare(conn) != nil || take(conn.(*net.TCPConn)) != nil {
				conn.Close()
			}
		}()
	}
}

// upgradeBare reads a request and says yes. The client sends nothing more before it has the answer.
func upgradeBare(conn net.Conn) error {
	req, err := http.ReadRequest(bufio.NewReaderSize(conn, 1024))
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + acceptGUID))
	reply := fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	_, err = conn.Write(appendFrame(reply, openPacket, nil))
	return err
}

// echoAll is the server with a goroutine for each connection.
func echoAll(conn *net.TCPConn) error {
	var partial, out []byte
	buf := make([]byte, readSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if partial, out, err = feed(partial, buf[:n], out[:0]); err != nil {
			return err
		}
		if len(out) == 0 {
			continue
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
	}
}

// serveGobwasConn is the server made of common parts.
func serveGobwasConn(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	go func() {
		defer conn.Close()
		if wsutil.WriteServerText(conn, []byte(openPacket)) != nil {
			return
		}
		for {
			packet, op, err := wsutil.ReadClientData(conn)
			if err != nil {
				return
			}
			if head, tail := answer(packet); op == ws.OpText && head != "" {
				if wsutil.WriteServerText(conn, append([]byte(head), tail...)) != nil {
					return
				}
			}
		}
	}()
}

// feed takes what has been read behind partial, appends the answers to out and returns the part of a message that is left over.
func feed(partial, data, out []byte) (rest, answers []byte, err error) {
	if len(partial) > 0 {
		data = append(partial, data...)
	}
	for {
		op, payload, size, err := cutFrame(data)
		switch {
		case err != nil:
			return nil, out, err
		case size == 0 && len(data) == 0:
			return partial[:0], out, nil
		case size == 0:
			return append([]byte(nil), data...), out, nil
		case op == 8: // close
			return nil, out, io.EOF
		}
		if head, tail := answer(payload); op == 1 && head != "" {
			out = appendFrame(out, head, tail)
		}
		data = data[size:]
	}
}

// cutFrame unmasks the first frame of data in place; size 0 means that it is not whole.
func cutFrame(data []byte) (op byte, payload []byte, size int, err error) {
	if len(data) < 2 {
		return 0, nil, 0, nil
	}
	length, head := int(data[1]&0x7f), 2
	switch length {
	case 126:
		if head = 4; len(data) >= head {
			length = int(binary.BigEndian.Uint16(data[2:]))
		}
	case 127:
		if head = 10; len(data) >= head {
			length = int(binary.BigEndian.Uint64(data[2:]))
		}
	}
	if data[0]&0x80 == 0 || data[1]&0x80 == 0 || length < 0 || length > maxMessage {
		return 0, nil, 0, errors.New("not a whole masked message")
	}
	if len(data) < head+4+length {
		return 0, nil, 0, nil
	}
	key, payload := data[head:head+4], data[head+4:head+4+length]
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return data[0] & 15, payload, head + 4 + length, nil
}

// appendFrame appends a text frame with head and tail.
func appendFrame(out []byte, head string, tail []byte) []byte {
	switch n := len(head) + len(tail); {
	case n < 126:
		out = append(out, 0x81, byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x81, 126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x81, 127), uint64(n))
	}
	return append(append(out, head...), tail...)
}

// answer returns the answer to a packet in two parts, of which the second is part of the packet; "" for none.
func answer(packet []byte) (head string, tail []byte) {
	if rest, ok := bytes.CutPrefix(packet, []byte(`42["message",`)); ok {
		return `42["message-back",`, rest
	}
	if string(packet) == "40" {
		return `40{"sid":"floor"}`, nil
	}
	rest, event := bytes.CutPrefix(packet, []byte("42"))
	id, args, ok := bytes.Cut(rest, []byte("["))
	if !event || !ok || len(id) == 0 {
		return "", nil
	}
	if n, ok := bytes.CutPrefix(args, []byte(`"compute",`)); ok {
		count, _ := strconv.Atoi(string(bytes.TrimSuffix(n, []byte("]")))) // 0 ends it
		return fmt.Sprintf("43%s[%d]", id, compute(count)), nil
	}
	return fmt.Sprintf("43%s[]", id), nil // join
}
