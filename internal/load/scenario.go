package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// scenario connects the clients and does what the run is for.
func (r *run) scenario(ctx context.Context) error {
	switch r.cfg.Scenario {
	case Idle:
		return r.idle(ctx)
	case Connects:
		return r.connects(ctx)
	}
	if err := r.connect(ctx, r.cfg.Clients); err != nil {
		return err
	}
	if err := r.enter(ctx); err != nil {
		return err
	}
	switch r.cfg.Scenario {
	case Burst, Single:
		r.result.Copies = r.cfg.Copies
		return r.broadcasts(ctx)
	case Churn:
		return r.between(ctx, opChurn)
	case Joins:
		return r.between(ctx, opJoins)
	case Sparse:
		return r.between(ctx, opSteady)
	case Busy:
		return r.busy(ctx)
	case Jitter, Avalanche:
		return r.lossy(ctx)
	default:
		return r.between(ctx, opExchange)
	}
}

func (r *run) connect(ctx context.Context, clients int) error {
	r.phase = "connecting"
	return r.each(ctx, func(i int) command {
		return command{Op: opConnect, Count: share(clients, i, len(r.workers))}
	})
}

// enter has the clients of targeted log in or join the rooms that the scenario is about.
func (r *run) enter(ctx context.Context) error {
	if r.cfg.Scenario != Targeted || r.cfg.To == ToSocket && r.cfg.Rooms == 0 {
		return nil
	}
	r.phase = "entering"
	return r.each(ctx, func(int) command { return command{Op: opEnter} })
}

// begin starts the measured part.
func (r *run) begin(ctx context.Context) error {
	err := r.each(ctx, func(int) command { return command{Op: opReset} })
	if err != nil {
		return err
	}
	if r.result.Server != nil {
		r.before, err = r.cfg.Server.read()
	}
	if err == nil && r.result.Via != nil {
		r.via, err = r.cfg.ViaServer.read()
	}
	r.began = time.Now()
	return err
}

// stop ends the measured part, in which operations were done.
func (r *run) stop(operations int64) error {
	res := &r.result
	res.Seconds = time.Since(r.began).Seconds()
	if res.Seconds > 0 {
		res.PerSecond = float64(operations) / res.Seconds
	}
	return res.Server.note(r.cfg.Server, r.before, operations)
}

// note reads what a server has used since before.
func (s *ServerUse) note(p Process, before usage, operations int64) error {
	if s == nil {
		return nil
	}
	now, err := p.read()
	if err != nil {
		return err
	}
	s.CPUSeconds = (now.cpu - before.cpu).Seconds()
	s.Operations, s.ResidentLast = operations, now.resident
	if operations > 0 {
		s.CPUMicros = s.CPUSeconds * 1e6 / float64(operations)
	}
	return nil
}

// connects measures connecting itself.
func (r *run) connects(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	err := r.connect(ctx, r.cfg.Clients)
	return errors.Join(err, r.stop(int64(r.connected())))
}

func (r *run) connected() int {
	n := 0
	for _, w := range r.workers {
		n += w.clients
	}
	return n
}

// idle reads memory at each step, some time after the last connect.
func (r *run) idle(ctx context.Context) error {
	if r.result.Server != nil && len(r.cfg.Steps) == 1 {
		if err := r.remember(ctx, 0); err != nil {
			return err
		}
	}
	for _, clients := range r.cfg.Steps {
		if err := r.connect(ctx, clients); err != nil {
			return err
		}
		r.phase = "idle"
		if err := r.begin(ctx); err != nil {
			return err
		}
		hold, cancel := context.WithTimeout(ctx, r.cfg.Hold)
		err := r.await(hold, 0, func(*remote) bool { return false })
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		if err := r.stop(int64(float64(clients) * time.Since(r.began).Seconds())); err != nil {
			return err
		}
		if r.result.Server != nil {
			if err := r.remember(ctx, clients); err != nil {
				return err
			}
		}
	}
	return nil
}

// remember adds a point to the memory curve.
func (r *run) remember(ctx context.Context, clients int) error {
	now, err := r.cfg.Server.read()
	if err != nil {
		return err
	}
	point := MemoryPoint{Clients: clients, Resident: now.resident}
	if r.cfg.Collect {
		if point.AfterGC, err = r.collect(ctx); err != nil {
			return err
		}
	}
	s := r.result.Server
	s.Memory = append(s.Memory, point)
	s.ResidentLast = now.resident
	if len(s.Memory) > 1 {
		s.PerClient = slope(s.Memory, func(p MemoryPoint) int64 { return p.Resident })
		s.PerClientGC = slope(s.Memory, func(p MemoryPoint) int64 { return p.AfterGC })
	}
	return nil
}

// collect has the server collect its garbage, and reads what is left.
func (r *run) collect(ctx context.Context) (int64, error) {
	if _, err := r.ask(ctx, "gc", command{Op: opCollect}); err != nil {
		return 0, err
	}
	now, err := r.cfg.Server.read()
	return now.resident, err
}

// ask has the first worker ask the server for something, and returns the number that it answers with.
func (r *run) ask(ctx context.Context, name string, c command) (int64, error) {
	first := r.workers[0]
	c.Number = first.acked + 1
	if err := first.commands.write(c); err != nil {
		return 0, err
	}
	err := r.await(ctx, r.cfg.Timeout, func(w *remote) bool { return w != first || w.acked >= c.Number })
	if errors.Is(err, errNoProgress) {
		return 0, fmt.Errorf("the server does not acknowledge the event %q, which the scenario needs", name)
	}
	return first.answer, err
}

// busy has the server compute while clients send at fixed times.
func (r *run) busy(ctx context.Context) error {
	if _, err := r.ask(ctx, "compute", command{Op: opCompute, Count: r.cfg.Computing}); err != nil {
		return err
	}
	began := time.Now()
	if err := r.between(ctx, opSteady); err != nil {
		return err
	}
	done, err := r.ask(ctx, "compute", command{Op: opCompute})
	r.result.Computed = float64(done) / time.Since(began).Seconds()
	return err
}

// broadcasts makes rounds of broadcasts, each when the one before has arrived everywhere or is given up.
func (r *run) broadcasts(ctx context.Context) error {
	r.phase = "warming up"
	for range r.cfg.Warmup {
		if err := r.round(ctx); err != nil {
			return err
		}
	}
	r.phase = "broadcasting"
	if err := r.begin(ctx); err != nil {
		return err
	}
	var err error
	rounds := 0
	for rounds < r.cfg.Rounds && err == nil {
		if err = r.round(ctx); err == nil {
			rounds++
		}
	}
	broadcasts := int64(rounds) * int64(r.cfg.Copies)
	return errors.Join(err, r.stop(broadcasts*int64(r.connected())), r.result.Via.note(r.cfg.ViaServer, r.via, broadcasts))
}

func (r *run) round(ctx context.Context) error {
	r.rounds++
	number := r.rounds
	if err := r.workers[0].commands.write(command{Op: opBroadcast, Number: number}); err != nil {
		return err
	}
	err := r.await(ctx, r.cfg.Timeout, func(w *remote) bool {
		return w.received >= number && (w != r.workers[0] || w.acked >= number)
	})
	if errors.Is(err, errNoProgress) {
		return nil // counted as lost in the end
	}
	return err
}

// between has the workers exchange messages or churn, each its share.
func (r *run) between(ctx context.Context, op string) error {
	do := func(n int) error {
		return r.each(ctx, func(i int) command { return command{Op: op, Count: share(n, i, len(r.workers))} })
	}
	if r.cfg.Warmup > 0 {
		r.phase = "warming up"
		if err := do(r.cfg.Warmup); err != nil {
			return err
		}
	}
	r.phase = "measuring"
	if err := r.begin(ctx); err != nil {
		return err
	}
	before := r.messages()
	err := do(r.cfg.Messages)
	return errors.Join(err, r.stop(r.messages()-before))
}

func (r *run) messages() int64 {
	var n int64
	for _, w := range r.workers {
		n += w.messages
	}
	return n
}

// lossy has messages sent at a steady rate while clients lose their connections and come back.
func (r *run) lossy(ctx context.Context) error {
	r.phase = "dropping"
	if err := r.begin(ctx); err != nil {
		return err
	}
	before := r.messages()
	if err := r.workers[0].commands.write(command{Op: opStream}); err != nil {
		return err
	}
	begin := time.Now().UnixNano()
	if err := r.each(ctx, func(int) command { return command{Op: opDrops, Number: begin} }); err != nil {
		return err
	}
	r.workers[0].done = false
	if err := r.workers[0].commands.write(command{Op: opHush}); err != nil {
		return err
	}
	if err := r.await(ctx, 0, func(w *remote) bool { return w.done }); err != nil {
		return err
	}
	r.phase = "settling"
	err := r.each(ctx, func(int) command { return command{Op: opSettle, Number: r.sent} })
	return errors.Join(err, r.stop(r.messages()-before))
}
