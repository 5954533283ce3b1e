package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// frame is what a broadcast of 64 bytes is on the wire: a text frame with 42["msg","..."].
var frame = append([]byte{0x81, 76}, `42["msg","`+strings.Repeat("x", 64)+`"]`...)

// connectTo has the clients open connections until there are n, and accepts them meanwhile: the kernel's queue is short.
func connectTo(child *children, l net.Listener, conns []net.Conn, n int) ([]net.Conn, error) {
	asked := make(chan error, 1)
	go func() {
		err := child.ask("open", n)
		if err != nil {
			l.Close() // so that nobody waits for connections that do not come
		}
		asked <- err
	}()
	for len(conns) < n {
		conn, err := l.Accept()
		if err != nil {
			return conns, errors.Join(<-asked, err)
		}
		conns = append(conns, conn)
	}
	return conns, <-asked
}

// write returns the CPU per frame, in microseconds, of a loop that writes so many frames at once to each connection. A
// round begins when the clients have read the one before.
func write(clients, frames int) (float64, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	child, err := startClients(listener.Addr().String(), false)
	if err != nil {
		return 0, err
	}
	defer child.end()
	conns, err := connectTo(child, listener, nil, clients)
	if err != nil {
		return 0, err
	}
	raw := make([]syscall.RawConn, len(conns))
	for i, conn := range conns {
		if raw[i], err = conn.(*net.TCPConn).SyscallConn(); err != nil {
			return 0, err
		}
	}
	data := make([]byte, 0, frames*len(frame))
	for range frames {
		data = append(data, frame...)
	}
	var used time.Duration
	for round := range rounds {
		before := ownCPU()
		for _, r := range raw {
			if err := writeNow(r, data); err != nil {
				return 0, err
			}
		}
		if round > 0 { // the first one warms up
			used += ownCPU() - before
		}
		if err := child.ask("read", (round+1)*clients*len(data)); err != nil {
			return 0, err
		}
	}
	return micros(used) / float64((rounds-1)*clients*frames), nil
}

// writeNow writes without waiting for a full buffer, which these few bytes do not fill.
func writeNow(r syscall.RawConn, data []byte) error {
	var n int
	var err error
	if e := r.Write(func(fd uintptr) bool {
		n, err = syscall.Write(int(fd), data)
		return true
	}); e != nil {
		return e
	}
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	return err
}

// accept returns the resident memory per accepted connection in bytes, as the slope between two numbers of them.
func accept(few, many int, hold time.Duration) (float64, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	child, err := startClients(listener.Addr().String(), false)
	if err != nil {
		return 0, err
	}
	defer child.end()
	var conns []net.Conn
	var memory [2]float64
	for i, n := range []int{few, many} {
		if conns, err = connectTo(child, listener, conns, n); err != nil {
			return 0, err
		}
		time.Sleep(hold)
		if memory[i], err = resident(); err != nil {
			return 0, err
		}
	}
	return (memory[1] - memory[0]) / float64(many-few), nil
}

// upgrade returns the CPU per upgrade in microseconds.
func upgrade(clients int) (float64, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	var u upgrader
	web := &http.Server{Handler: &u}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	child, err := startClients(listener.Addr().String(), true)
	if err != nil {
		return 0, err
	}
	defer child.end()
	if err := child.ask("open", min(clients, 100)); err != nil { // warm
		return 0, err
	}
	before := ownCPU()
	if err := child.ask("open", min(clients, 100)+clients); err != nil {
		return 0, err
	}
	used := ownCPU() - before
	if err := web.Close(); err != nil {
		return 0, err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return 0, err
	}
	return micros(used) / float64(clients), nil
}

// upgrader answers a WebSocket handshake, echoes one small frame and keeps the connection.
type upgrader struct {
	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func (u *upgrader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + acceptGUID))
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if err == nil {
		err = echo(conn, buffered.Reader)
	}
	if err != nil {
		conn.Close()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns = append(u.conns, conn)
}

func echo(conn net.Conn, r *bufio.Reader) error {
	var head [6]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	payload := make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(r, payload); err != nil {
		return err
	}
	for i := range payload {
		payload[i] ^= head[2+i%4]
	}
	_, err := conn.Write(append([]byte{0x81, byte(len(payload))}, payload...))
	return err
}

func ownCPU() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		panic(err) // cannot happen with a valid argument
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// resident returns VmRSS of this process in bytes.
func resident() (float64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	number, _, _ := strings.Cut(rest, "kB")
	kb, err := strconv.Atoi(strings.TrimSpace(number))
	return float64(kb) * 1024, err
}
