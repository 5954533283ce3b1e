package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
)

// children is the process of the clients. It is told what to do in lines, and answers each with "ok" when it is done:
// "open N" opens connections until there are N, "read N" waits until N bytes have been read in all.
type children struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
}

func startClients(address string, upgrades bool) (*children, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-dial", address, fmt.Sprintf("-upgrade=%v", upgrades))
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &children{cmd, orders, bufio.NewReader(answers)}, cmd.Start()
}

func (c *children) ask(order string, n int) error {
	if _, err := fmt.Fprintln(c.orders, order, n); err != nil {
		return err
	}
	answer, err := c.answers.ReadString('\n')
	if err != nil || answer != "ok\n" {
		return fmt.Errorf("the clients answered %q: %w", answer, err)
	}
	return nil
}

func (c *children) end() {
	c.orders.Close()
	_ = c.cmd.Wait() // it has said on its standard error what went wrong
}

// dialer is the other side of children.
type dialer struct {
	address  string
	upgrades bool

	mu    sync.Mutex
	conns []net.Conn // guarded by mu

	read  atomic.Int64
	moved chan struct{} // holds a token when read has grown
}

func dial(address string, upgrades bool) error {
	d := &dialer{address: address, upgrades: upgrades, moved: make(chan struct{}, 1)}
	for {
		var order string
		var n int
		if _, err := fmt.Scanln(&order, &n); err != nil {
			return nil // the orders have ended
		}
		if order == "open" {
			if err := d.open(n); err != nil {
				return err
			}
		} else {
			for d.read.Load() < int64(n) {
				<-d.moved
			}
		}
		fmt.Println("ok")
	}
}

// open opens connections, 50 at a time.
func (d *dialer) open(n int) error {
	d.mu.Lock()
	missing := int64(n - len(d.conns))
	d.mu.Unlock()
	var left atomic.Int64
	left.Store(missing)
	failures := make(chan error, 50)
	var openers sync.WaitGroup
	for range cap(failures) {
		openers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := d.one(); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	openers.Wait()
	select {
	case err := <-failures:
		return err
	default:
		return nil
	}
}

func (d *dialer) one() error {
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		return err
	}
	if d.upgrades {
		if err := shake(conn); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.conns = append(d.conns, conn)
	d.mu.Unlock()
	go d.drain(conn)
	return nil
}

// shake makes the handshake and has one frame echoed.
func shake(conn net.Conn) error {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: floor\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 1024)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade answered %s", res.Status)
	}
	if _, err := conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, '4', '0'}); err != nil {
		return err
	}
	var echoed [4]byte
	if _, err := io.ReadFull(r, echoed[:]); err != nil {
		return err
	}
	if string(echoed[:]) != "\x81\x0240" {
		return fmt.Errorf("the frame came back as %q", echoed)
	}
	return nil
}

// drain reads until the connection ends.
func (d *dialer) drain(conn net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		d.read.Add(int64(n))
		select {
		case d.moved <- struct{}{}:
		default:
		}
	}
}
