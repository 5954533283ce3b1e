package servertest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Socket is a client in one namespace. Its methods are for the test's goroutine.
type Socket struct {
	c         *Client
	namespace string
	id        string
}

// Event is an event that came from the server.
type Event struct {
	Name string
	Args server.Args

	socket *Socket
	id     int64
}

// Connect joins a namespace with auth as the handshake's payload, nil for none. It fails the test if the server refuses
// or does not answer within Options.Timeout.
func (c *Client) Connect(namespace string, auth any) *Socket {
	c.t.Helper()
	p, err := c.join(namespace, auth)
	if err != nil {
		c.t.Fatalf("servertest: connect to %s: %v", namespace, err)
	}
	if p.Type == parser.ConnectError {
		c.t.Fatalf("servertest: connect to %s: refused with %s", namespace, p.JSON)
	}
	var reply struct{ SID string }
	if err := p.Unmarshal(&reply); err != nil || reply.SID == "" {
		c.t.Fatalf("servertest: connect to %s: no id in the answer %s", namespace, p.JSON)
	}
	return &Socket{c: c, namespace: p.Namespace, id: reply.SID}
}

// ConnectRefused tries to join a namespace and returns the refusal. It fails the test if the server lets the client in
// or does not answer.
func (c *Client) ConnectRefused(namespace string, auth any) *server.ClientError {
	c.t.Helper()
	p, err := c.join(namespace, auth)
	if err != nil {
		c.t.Fatalf("servertest: connect to %s: %v", namespace, err)
	}
	if p.Type == parser.Connect {
		c.t.Fatalf("servertest: connect to %s: was not refused", namespace)
	}
	refusal := new(server.ClientError)
	if err := json.Unmarshal(p.JSON, refusal); err != nil {
		c.t.Fatalf("servertest: connect to %s: refused with %s: %v", namespace, p.JSON, err)
	}
	return refusal
}

// join sends CONNECT and returns the answer.
func (c *Client) join(namespace string, auth any) (*parser.Packet, error) {
	p := &parser.Packet{Type: parser.Connect, Namespace: namespace, ID: parser.NoID}
	if auth != nil {
		payload, err := parser.Marshal(auth)
		if err != nil {
			return nil, err
		}
		p.Payload = payload
	}
	if err := c.send(p); err != nil {
		return nil, err
	}
	// The query of a namespace is not part of its name.
	name, _, _ := strings.Cut(canonical(namespace), "?")
	return c.await(func(p *parser.Packet) bool {
		return p.Namespace == name && (p.Type == parser.Connect || p.Type == parser.ConnectError)
	})
}

// canonical is the form in which the decoder reports a namespace.
func canonical(name string) string {
	if name == "" {
		return "/"
	}
	return name
}

// send sends a Socket.IO packet with its attachments.
func (c *Client) send(p *parser.Packet) error {
	data, form, err := c.opts.Codec.Append(nil, *p)
	if err != nil {
		return err
	}
	packets := []Packet{{Data: string(data), Binary: form == parser.BinaryAlone}}
	if form != parser.BinaryAlone {
		packets[0].Data = "4" + packets[0].Data
	}
	if form == parser.TextWithAttachments {
		for _, a := range p.Attachments {
			packets = append(packets, Packet{Data: string(a), Binary: true})
		}
	}
	ctx, cancel := c.patience()
	defer cancel()
	return c.Write(ctx, packets...)
}

// await returns the first Socket.IO packet that match wants. Others stay for those who ask for them.
func (c *Client) await(match func(*parser.Packet) bool) (*parser.Packet, error) {
	for i := 0; ; i++ {
		if i == len(c.packets) {
			p, err := c.decode()
			if err != nil {
				return nil, err
			}
			c.packets = append(c.packets, p)
		}
		if p := c.packets[i]; match(p) {
			c.packets = append(c.packets[:i], c.packets[i+1:]...)
			return p, nil
		}
	}
}

// decode reads the next Socket.IO packet.
func (c *Client) decode() (*parser.Packet, error) {
	lim := parser.Limits{}.WithDefaults()
	for {
		in, err := c.next()
		if err != nil {
			return nil, err
		}
		var p *parser.Packet
		switch {
		case in.Binary:
			p, err = c.decoder.Binary(&lim, []byte(in.Data))
		case strings.HasPrefix(in.Data, "4"):
			p, err = c.decoder.Text(&lim, []byte(in.Data[1:]))
		default:
			err = fmt.Errorf("%v is not a message", in)
		}
		if err != nil {
			return nil, fmt.Errorf("packet %v: %w", in, err)
		}
		if p != nil {
			p.Namespace = canonical(p.Namespace)
			return p, nil
		}
	}
}

// ID returns the socket's id, as the server knows it.
func (s *Socket) ID() string { return s.id }

// Client returns the connection, which all sockets of a client share.
func (s *Socket) Client() *Client { return s.c }

// Emit sends an event. []byte anywhere in args becomes an attachment.
func (s *Socket) Emit(event string, args ...any) {
	s.c.t.Helper()
	s.emit(parser.NoID, event, args)
}

func (s *Socket) emit(id int64, event string, args []any) {
	s.c.t.Helper()
	payload, err := parser.MarshalEvent(event, args...)
	if err == nil {
		err = s.c.send(&parser.Packet{Type: parser.Event, Namespace: s.namespace, ID: id, Payload: payload})
	}
	if err != nil {
		s.c.t.Fatalf("servertest: emit %q: %v", event, err)
	}
}

// EmitWithAck sends an event and returns the arguments of its acknowledgement. It fails the test if none comes within
// Options.Timeout. Events that come meanwhile wait for Expect.
func (s *Socket) EmitWithAck(event string, args ...any) server.Args {
	s.c.t.Helper()
	id := s.c.ackID
	s.c.ackID++
	s.emit(id, event, args)
	p, err := s.await(func(p *parser.Packet) bool { return p.Type == parser.Ack && p.ID == id })
	var list server.Args
	if err == nil {
		list, err = p.Args()
	}
	if err != nil {
		s.c.t.Fatalf("servertest: acknowledgement of %q: %v", event, err)
	}
	return list
}

// Expect returns the next event of this namespace. It fails the test if that has another name, or, when any args are
// given, other arguments, or if none comes within Options.Timeout. Arguments are compared as the values that they are in
// JSON, attachments byte by byte. Since order is checked, an expected event also proves that no other came before it.
func (s *Socket) Expect(event string, args ...any) *Event {
	s.c.t.Helper()
	e, p := s.next(fmt.Sprintf("event %q", event))
	if e.Name != event {
		s.c.t.Fatalf("servertest: got event %s, want %q", p.JSON, event)
	}
	if len(args) > 0 {
		if err := sameArgs(p.Payload, event, args); err != nil {
			s.c.t.Fatalf("servertest: event %q: %v", event, err)
		}
	}
	return e
}

// Next returns the next event of this namespace, whatever it is. It fails the test if none comes within Options.Timeout.
func (s *Socket) Next() *Event {
	s.c.t.Helper()
	e, _ := s.next("an event")
	return e
}

func (s *Socket) next(what string) (*Event, *parser.Packet) {
	s.c.t.Helper()
	p, err := s.await(func(p *parser.Packet) bool { return p.Type == parser.Event })
	e := &Event{socket: s}
	if err == nil {
		e.id = p.ID
		e.Name, e.Args, err = p.Event()
	}
	if err != nil {
		s.c.t.Fatalf("servertest: waiting for %s: %v", what, err)
	}
	return e, p
}

// sameArgs compares the payload of an event with the one that event and args would give.
func sameArgs(got parser.Payload, event string, args []any) error {
	want, err := parser.MarshalEvent(event, args...)
	if err != nil {
		return err
	}
	var g, w any
	if err := got.Unmarshal(&g); err != nil {
		return err
	}
	if err := want.Unmarshal(&w); err != nil {
		return err
	}
	if !reflect.DeepEqual(g, w) {
		return fmt.Errorf("got %s, want %s", show(got), show(want))
	}
	return nil
}

func show(p parser.Payload) string {
	text := string(p.JSON)
	for i, a := range p.Attachments {
		text += fmt.Sprintf(", attachment %d %v", i, Packet{Data: string(a), Binary: true})
	}
	return text
}

// Ack acknowledges the event. It fails the test if the server has not asked for that.
func (e *Event) Ack(args ...any) {
	c := e.socket.c
	c.t.Helper()
	if e.id == parser.NoID {
		c.t.Fatalf("servertest: event %q asks for no acknowledgement", e.Name)
	}
	payload, err := parser.MarshalArgs(args...)
	if err == nil {
		err = c.send(&parser.Packet{Type: parser.Ack, Namespace: e.socket.namespace, ID: e.id, Payload: payload})
	}
	if err != nil {
		c.t.Fatalf("servertest: acknowledge %q: %v", e.Name, err)
	}
}

// Disconnect leaves the namespace; the server does not answer that. The connection stays open.
func (s *Socket) Disconnect() {
	s.c.t.Helper()
	p := &parser.Packet{Type: parser.Disconnect, Namespace: s.namespace, ID: parser.NoID}
	if err := s.c.send(p); err != nil {
		s.c.t.Fatalf("servertest: disconnect from %s: %v", s.namespace, err)
	}
}

// ExpectDisconnect waits until the server takes the socket out of the namespace. It fails the test after Options.Timeout,
// or when the whole connection ends instead, for which there is Client.ExpectClosed. Events that came before stay for
// Expect.
func (s *Socket) ExpectDisconnect() {
	s.c.t.Helper()
	_, err := s.c.await(func(p *parser.Packet) bool { return p.Namespace == s.namespace && p.Type == parser.Disconnect })
	if err != nil {
		s.c.t.Fatalf("servertest: waiting to be disconnected from %s: %v", s.namespace, err)
	}
}

// await returns the first packet of the namespace that match wants, or an error if the server ends the membership first.
func (s *Socket) await(match func(*parser.Packet) bool) (*parser.Packet, error) {
	gone := false
	p, err := s.c.await(func(p *parser.Packet) bool {
		if p.Namespace != s.namespace {
			return false
		}
		gone = p.Type == parser.Disconnect
		return gone || match(p)
	})
	if err == nil && gone {
		s.c.packets = append(s.c.packets, p) // ExpectDisconnect still finds it
		return nil, fmt.Errorf("the server has disconnected the socket from %s", s.namespace)
	}
	return p, err
}
