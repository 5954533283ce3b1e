package chaos

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// user is a client that connects anew, maybe to another node, when it is told to.
//
// A goroutine reads while it is connected; it notes what arrives and answers heartbeats and questions.
type user struct {
	// Static after construction.
	name    string
	traffic *traffic

	mu sync.Mutex // also orders writes
	// Guarded by mu.
	conn    net.Conn
	node    *node // nil until it has let the user in, and when the connection has ended
	session int   // counts connections
	leaving bool  // the connection may end, and nothing is sent any more
	moving  bool  // the connection may end
	deaf    bool  // holds are not acknowledged
	held    int   // holds that came
	acks    map[int]time.Time
	nextAck int

	reading sync.WaitGroup
}

// connect joins on a node. It returns when the node has let the user in.
func (u *user) connect(n *node) error {
	conn, err := net.DialTimeout("tcp", n.addr, patience)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	_, err = io.WriteString(conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: chaos\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err == nil {
		var res *http.Response
		if res, err = http.ReadResponse(r, nil); err == nil && res.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(res.Status)
		}
	}
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("%s connects to %s: %w", u.name, n.name, err)
	}
	ready := make(chan struct{})
	u.mu.Lock()
	u.conn, u.leaving, u.moving, u.deaf, u.acks = conn, false, false, false, make(map[int]time.Time)
	u.session++
	u.writeLocked(fmt.Sprintf(`40{"user":%q}`, u.name))
	u.mu.Unlock()
	ended := make(chan error, 1)
	u.reading.Go(func() { ended <- u.read(n, conn, r, ready) })
	select {
	case <-ready:
		_ = conn.SetDeadline(time.Time{})
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.conn == conn {
			u.node = n
		}
		return nil
	case err := <-ended:
		return fmt.Errorf("%s connects to %s: %w", u.name, n.name, err)
	}
}

// leave ends the connection, if there is one, without a word.
func (u *user) leave() {
	u.expectEnd()
	u.mu.Lock()
	if u.conn != nil {
		_ = u.conn.Close()
	}
	u.mu.Unlock()
	u.reading.Wait()
}

// expectEnd says that the connection is about to end.
func (u *user) expectEnd() {
	u.mu.Lock()
	u.leaving = true
	u.mu.Unlock()
}

// expectMove says that the node is about to end the connection; the user goes on until then.
func (u *user) expectMove() {
	u.mu.Lock()
	u.moving = true
	u.mu.Unlock()
}

// setDeaf says whether holds stay unanswered.
func (u *user) setDeaf(deaf bool) {
	u.mu.Lock()
	u.deaf, u.held = deaf, 0
	u.mu.Unlock()
}

// holds returns how many holds have come since setDeaf.
func (u *user) holds() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.held
}

// on returns the node that the user is connected to, or nil, and which connection it is.
func (u *user) on() (*node, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.node, u.session
}

// send sends a message to another user. It reports false if the user is not connected.
func (u *user) send(m message) bool {
	body, _ := json.Marshal(m)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.node == nil || u.leaving {
		return false
	}
	id := u.nextAck
	u.nextAck++
	u.acks[id] = time.Now()
	return u.writeLocked(fmt.Sprintf(`42%d["send",%s]`, id, body)) == nil
}

// writeLocked sends a packet. Messages are small and nodes read on, so that this does not block, except while a node is frozen
// for longer than the buffers of the kernel last.
func (u *user) writeLocked(packet string) error {
	_, err := u.conn.Write(websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpText), [4]byte{1, 2, 3, 4}, []byte(packet)))
	return err
}

// read takes packets until the connection ends.
func (u *user) read(n *node, conn net.Conn, r *bufio.Reader, ready chan struct{}) error {
	for {
		packet, err := readPacket(r)
		if err == nil {
			err = u.take(packet, ready)
		}
		if err == nil {
			continue
		}
		_ = conn.Close()
		u.mu.Lock()
		leaving := u.leaving || u.moving
		u.node, u.conn = nil, nil
		u.mu.Unlock()
		if !leaving {
			u.traffic.fault("%s lost its connection to node %s: %v", u.name, n.name, err)
		}
		return err
	}
}

// readPacket reads one frame, which servers do not fragment.
func readPacket(r *bufio.Reader) (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	length := uint64(head[1] & 0x7f)
	var long [8]byte
	switch length {
	case 126:
		if _, err := io.ReadFull(r, long[6:]); err != nil {
			return "", err
		}
		length = binary.BigEndian.Uint64(long[:])
	case 127:
		if _, err := io.ReadFull(r, long[:]); err != nil {
			return "", err
		}
		length = binary.BigEndian.Uint64(long[:])
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return "", err
	}
	if op := websocket.Opcode(head[0] & 0x0f); op != websocket.OpText {
		return "", fmt.Errorf("frame with opcode %d: %q", op, payload)
	}
	return string(payload), nil
}

// take handles one packet.
func (u *user) take(packet string, ready chan struct{}) error {
	switch {
	case packet == "2":
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.writeLocked("3")
	case strings.HasPrefix(packet, "0"), strings.HasPrefix(packet, "40"), packet == "6":
		return nil
	case strings.HasPrefix(packet, "42"):
		id, args := cutID(packet[2:])
		return u.event(id, args, ready)
	case strings.HasPrefix(packet, "43"):
		id, args := cutID(packet[2:])
		return u.acknowledged(id, args)
	}
	return fmt.Errorf("packet %q", packet)
}

// cutID cuts the id of an acknowledgement off: "" without one.
func cutID(packet string) (id, args string) {
	i := strings.IndexByte(packet, '[')
	if i < 0 {
		return packet, ""
	}
	return packet[:i], packet[i:]
}

func (u *user) event(id, args string, ready chan struct{}) error {
	var name string
	var m message
	if err := json.Unmarshal([]byte(args), &[]any{&name, &m}); err != nil {
		return err
	}
	switch name {
	case "ready":
		close(ready)
	case "receive":
		u.traffic.arrived(u, m)
	case "question", "hold":
		u.mu.Lock()
		defer u.mu.Unlock()
		if name == "hold" {
			u.held++
		}
		if name == "question" || !u.deaf {
			return u.writeLocked(fmt.Sprintf(`43%s[%q]`, id, u.name))
		}
	default:
		return fmt.Errorf("event %s", args)
	}
	return nil
}

func (u *user) acknowledged(id, args string) error {
	n, err := strconv.Atoi(id)
	if err != nil {
		return err
	}
	var refusal string
	if err := json.Unmarshal([]byte(args), &[]any{&refusal}); err != nil {
		return err
	}
	u.mu.Lock()
	sent, ok := u.acks[n]
	delete(u.acks, n)
	u.mu.Unlock()
	if !ok {
		return fmt.Errorf("acknowledgement %s%s of nothing", id, args)
	}
	u.traffic.acknowledged(sent, refusal)
	return nil
}
