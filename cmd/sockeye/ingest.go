package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sockeye-io/sockeye/adapter/kafkaadapter"
)

// ingestReport is how often `sockeye ingest` tells what it has done.
const ingestReport = time.Minute

// ingestCommand holds the flags of `sockeye ingest`, which makes events of the records of topics.
type ingestCommand struct {
	clusterFlags

	Topic       []string `required:"" placeholder:"NAME" help:"Topic whose records become events; may be given several times. Headers say what becomes of a record: event (its name, required), namespace, room, user, except (these three also several times) and id (idempotency key). The value is a JSON array with the arguments, or the one argument."`
	Group       string   `placeholder:"NAME" help:"Consumer group: processes with the same one share the work. <prefix>.ingest by default."`
	DeadLetters string   `placeholder:"TOPIC" help:"Topic for records that cannot become events, which is there already. By default they are counted and logged."`
	PassID      bool     `name:"pass-id" help:"Give each event one more argument, the last: the idempotency key, or topic/partition/offset of a record without one. Clients can leave out with it what they get twice."`
	UserPrefix  string   `name:"user-room-prefix" placeholder:"TEXT" help:"What stands before a user's id in the name of the user's room; nothing by default."`
}

// Validate refuses what cannot be done. It is called by the flag parser.
func (c *ingestCommand) Validate() error {
	if kind := c.kind(); kind != kafkaKind {
		return fmt.Errorf("ingest needs %s", kafkaKind.chosenBy())
	}
	return c.check(kafkaKind, c.flags())
}

// Run makes events of records until the process is told to end.
func (c *ingestCommand) Run(ctx context.Context, out *streams) error {
	log := slog.New(slog.NewTextHandler(out.stderr, nil))
	opts, err := c.kafkaOptions(log)
	if err != nil {
		return usageError{err}
	}
	emitter, err := kafkaadapter.NewEmitter(opts)
	if err != nil {
		return usageError{err}
	}
	defer emitter.Close()
	ingest, err := kafkaadapter.NewIngest(opts, &kafkaadapter.IngestOptions{
		Topics: trimmed(c.Topic), Group: c.Group, DeadLetters: c.DeadLetters, PassID: c.PassID, UserRoomPrefix: c.UserPrefix,
	}, emitter.Emitter)
	if err != nil {
		return usageError{err}
	}
	log.Info("records become events", "topics", c.Topic)
	reported := make(chan struct{})
	reporting, cancel := context.WithCancel(ctx)
	go func() {
		defer close(reported)
		reportIngest(reporting, ingest, log)
	}()
	err = ingest.Run(ctx)
	cancel()
	<-reported
	return err
}

// reportIngest tells from time to time, and at the end, what was done.
func reportIngest(ctx context.Context, ingest *kafkaadapter.Ingest, log *slog.Logger) {
	tick := time.NewTicker(ingestReport)
	defer tick.Stop()
	var told uint64
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ended = true
		}
		s := ingest.Stats()
		if done := s.Events + s.Repeated + s.Dead + s.Retries; done != told || ended {
			log.Info("ingested", "events", s.Events, "repeated", s.Repeated, "dead", s.Dead, "retries", s.Retries)
			told = done
		}
	}
}
