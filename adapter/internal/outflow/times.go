package outflow

import "time"

const (
	// PassingAge is how long a message waits at most that is of no use later: whoever asked gives up soon.
	PassingAge = 2 * time.Second
	// LookAfter is how often a queue is searched for what is too old.
	LookAfter = 250 * time.Millisecond
	// TryRefused is how often a message is let through of a sort that the broker has refused. A refusal is forgotten after TryRefusedFor.
	TryRefused    = time.Second
	TryRefusedFor = 5 * time.Second
	// CloseWithin bounds the sending of what is queued when the server closes.
	CloseWithin = time.Second
)
