package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// probeTime is how long a server may take for one answer before anything else asks something of it.
const probeTime = 5 * time.Second

// NotBenchError says that there is a Socket.IO server that does not answer an event that the scenario needs.
type NotBenchError struct {
	Address, Event string
	Waited         time.Duration
}

// Error implements error.
func (e *NotBenchError) Error() string {
	return fmt.Sprintf("%s is a Socket.IO server, but does not answer the event %s within %v", e.Address, e.Event, e.Waited)
}

// probe makes one client that asks for what the scenario needs, so that a server that is not there, is another kind of
// server, or does not know the events, is told in one sentence and before there is any load.
func probe(ctx context.Context, cfg *Config) error {
	p := prober{cfg: cfg, where: cfg.Target.Address + cfg.Target.Path, patience: min(cfg.Timeout, probeTime)}
	// First without the room, to tell a server that speaks the protocol from one that knows the event.
	c, err := p.connect(ctx, "", discard{},
		fmt.Errorf("%s: no answer within %v to the handshake or to joining the namespace", p.where, p.patience))
	if err != nil {
		return err
	}
	c.Cut()
	answer := firstAnswer{ended: make(chan error, 1), come: make(chan struct{}, 1)}
	event, packets := "", func(string) []string { return nil }
	scenario := cfg.Scenario
	if cfg.dropping() && cfg.Rooms > 1 {
		scenario = Targeted // it needs the same event
	}
	switch scenario {
	case Echo, Churn:
		event, answer.name = "message(...)", []byte(`["message-back"`)
		packets = func(string) []string { return []string{`42["message","probe"]`} }
	case Burst, Single, Jitter, Avalanche:
		event, answer.name = "bcast(n, payload, ack)", []byte(`["msg"`)
		packets = func(string) []string { return []string{`421["bcast",1,"probe"]`} }
	case Targeted:
		event, answer.name = "direct(room, payload)", []byte(`["msg"`)
		packets = func(sid string) []string { return []string{`42["direct","` + sid + `","probe"]`} }
		if cfg.To == ToUser {
			event = "login(user, ack) and tell(user, payload)"
			packets = func(sid string) []string {
				return []string{`421["login","` + sid + `"]`, `42["tell","` + sid + `","probe"]`}
			}
		}
	case Joins:
		event, answer.acks = "leave(room, ack)", true
		packets = func(string) []string { return []string{`421["leave","` + Room + `"]`} }
	}
	if c, err = p.connect(ctx, Room, &answer, p.missing("join(room, ack)")); err != nil {
		return err
	}
	if event != "" {
		for _, packet := range packets(c.SID) {
			err = errors.Join(err, c.Emit([]byte(packet)))
		}
		if err == nil {
			err = p.await(ctx, &answer, event)
		}
	}
	if err != nil {
		c.Cut()
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	return c.Close(ctx)
}

// prober asks a server for one thing after the other.
type prober struct {
	cfg      *Config
	where    string
	patience time.Duration // for each
}

func (p *prober) missing(event string) error { return &NotBenchError{p.where, event, p.patience} }

func (p *prober) connect(ctx context.Context, room string, h Handler, late error) (*Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.patience, late)
	defer cancel()
	return Connect(ctx, &p.cfg.Target, nil, room, 0, h)
}

func (p *prober) await(ctx context.Context, answer *firstAnswer, event string) error {
	timer := time.NewTimer(p.patience)
	defer timer.Stop()
	select {
	case <-answer.come:
		return nil
	case err := <-answer.ended:
		return fmt.Errorf("%s: after the event %s: %w", p.where, event, err)
	case <-timer.C:
		return p.missing(event)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// firstAnswer tells of the first event with a name, or of the first acknowledgement.
type firstAnswer struct {
	name  []byte // as the arguments begin
	acks  bool   // acknowledgements are what is awaited, not events
	come  chan struct{}
	ended chan error
}

// OnEvent implements Handler.
func (a *firstAnswer) OnEvent(_ *Client, args []byte) {
	if !a.acks && bytes.HasPrefix(args, a.name) {
		a.tell()
	}
}

// OnAck implements Handler.
func (a *firstAnswer) OnAck(*Client, int, []byte) {
	if a.acks {
		a.tell()
	}
}

func (a *firstAnswer) tell() {
	select {
	case a.come <- struct{}{}:
	default:
	}
}

// OnEnd implements Handler.
func (a *firstAnswer) OnEnd(_ *Client, err error, _ bool) { a.ended <- err }

type discard struct{}

// OnEvent implements Handler.
func (discard) OnEvent(*Client, []byte) {}

// OnAck implements Handler.
func (discard) OnAck(*Client, int, []byte) {}

// OnEnd implements Handler.
func (discard) OnEnd(*Client, error, bool) {}
