package server

import "github.com/sockeye-io/sockeye/server/parser"

// ObservedKind says what a socket has sent or got.
type ObservedKind string

// What is observed.
const (
	ObservedReceived     ObservedKind = "received"     // an event of the client, before it is queued
	ObservedRefused      ObservedKind = "refused"      // an event that Options.Hooks refuse, and that is not handled
	ObservedHandled      ObservedKind = "handled"      // the last callback of an event has returned
	ObservedAckReceived  ObservedKind = "ack_received" // an acknowledgement of the client
	ObservedSent         ObservedKind = "sent"         // an event for the client, before it is queued
	ObservedAckSent      ObservedKind = "ack_sent"     // an acknowledgement for the client, before it is queued
	ObservedDisconnected ObservedKind = "disconnected"
)

// Observation is one thing that an observed socket has sent or got. It is valid during the call that it is given to.
type Observation struct {
	Kind  ObservedKind
	Event string // name of the event; "" for acknowledgements
	// ID is that of the acknowledgement, or that an event asks for; -1 without. Both directions have their own.
	ID    int64
	Bytes int // length of the payload, attachments included; 0 for ObservedHandled
	// Result belongs to ObservedHandled, Reason to ObservedDisconnected.
	Result EventResult
	Reason Reason

	args Args
}

// Args returns the arguments, which may be kept.
func (o *Observation) Args() Args { return o.args }

// Observe has f told what the socket sends and gets from now on, until stop is called or the socket has gone: for traces of a few
// sockets. It costs other sockets nothing. f runs on the goroutine that does the work, must be quick and must not block, and may be called from
// many goroutines at once. A panic in it is contained.
func (s *Socket) Observe(f func(o Observation)) (stop func()) {
	s.client.observed.Store(true)
	return register(s.registry(), "Observe", f, func(h *hooks) *[]*slot[func(Observation)] { return &h.observers })
}

func (s *Socket) observed() bool { return len(s.ownHooks().observers) > 0 }

// observe tells the observers.
func (s *Socket) observe(o Observation) {
	each(s.ownHooks().observers, func(f *slot[func(Observation)]) {
		_ = s.nsp.server.protect("Observe", s.nsp.name, s.id, func() error {
			f.value(o)
			return nil
		})
	})
}

// observeEvent tells of an event.
func (s *Socket) observeEvent(kind ObservedKind, p *parser.Packet) {
	name, args, err := p.Event()
	if err != nil {
		return // it is no event, which whoever reads it next will say
	}
	s.observe(Observation{Kind: kind, Event: name, ID: p.ID, Bytes: payloadSize(&p.Payload), args: args})
}

// observeAck tells of an acknowledgement.
func (s *Socket) observeAck(kind ObservedKind, p *parser.Packet) {
	args, err := p.Args()
	if err != nil {
		return
	}
	s.observe(Observation{Kind: kind, ID: p.ID, Bytes: payloadSize(&p.Payload), args: args})
}

func (s *Socket) observeHandled(id int64, r EventResult) {
	if s.observed() {
		s.observe(Observation{Kind: ObservedHandled, Event: r.Name, ID: id, Result: r})
	}
}
