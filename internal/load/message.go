package load

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"
)

// Operations that the coordinator asks a worker for. They are done one after the other; stop is obeyed at once and makes
// the others end early. A worker ends when its commands end.
const (
	opSetup     = "setup"     // first, with a plan
	opConnect   = "connect"   // until there are so many clients; answered by evDone
	opBroadcast = "broadcast" // from this worker's sender; answered by evAcked
	opExchange  = "exchange"  // so many messages between the clients; answered by evDone
	opSteady    = "steady"    // so many messages at fixed times; answered by evDone
	opCompute   = "compute"   // have the server compute with so many threads; answered by evAcked
	opEnter     = "enter"     // log in, join rooms; answered by evDone
	opJoins     = "joins"     // so many pairs of a join and a leave; answered by evDone
	opChurn     = "churn"     // so many reconnects; answered by evDone
	opCollect   = "collect"   // have the server collect garbage; answered by evAcked
	opStream    = "stream"    // send messages from this worker's sender, until hushed
	opDrops     = "drops"     // lose connections and come back, from a time on (Number, of Unix in ns); answered by evDone
	opHush      = "hush"      // answered by evHushed
	opSettle    = "settle"    // until so many messages have come, or no more do; answered by evDone
	opReset     = "reset"     // forget latencies; answered by evDone
	opReport    = "report"    // answered by evReport
	opStop      = "stop"
)

// What a worker says.
const (
	evDone     = "done"
	evAcked    = "acked"
	evReceived = "received" // all clients have got all copies of the numbered broadcast
	evHushed   = "hushed"   // the stream has ended, after so many messages
	evProgress = "progress"
	evReport   = "report"
	evFailed   = "failed" // the worker cannot go on
)

type command struct {
	Op     string `json:"op"`
	Plan   *plan  `json:"plan,omitempty"`
	Count  int    `json:"count,omitempty"`
	Number int64  `json:"number,omitempty"`
}

type event struct {
	Op       string  `json:"op"`
	Number   int64   `json:"number,omitempty"`
	Answer   int64   `json:"answer,omitempty"`   // the server's, of evAcked
	Clients  int     `json:"clients,omitempty"`  // connected so far, of evProgress
	Messages int64   `json:"messages,omitempty"` // received so far, of evProgress
	Report   *report `json:"report,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// plan is one worker's share of a run.
type plan struct {
	Target      Target        `json:"target"`
	Others      []Target      `json:"others,omitempty"`
	Via         Target        `json:"via"` // of the sender
	Worker      int           `json:"worker"`
	Workers     int           `json:"workers"`
	First       int           `json:"first"`   // number of this worker's first client
	Clients     int           `json:"clients"` // of all workers
	Rooms       int           `json:"rooms,omitempty"`
	To          string        `json:"to"` // what messages of an exchange go to, if Targeted
	Sources     []string      `json:"sources,omitempty"`
	Room        string        `json:"room"`
	Tag         string        `json:"tag"`
	Size        int           `json:"size"`
	Binary      bool          `json:"binary,omitempty"` // payloads are attachments
	Copies      int64         `json:"copies"`
	Targeted    bool          `json:"targeted,omitempty"` // exchange: to another client, not back to the sender
	InFlight    int           `json:"in_flight"`
	Rate        float64       `json:"rate,omitempty"`
	Senders     int           `json:"senders,omitempty"`      // of messages at fixed times
	MessageRate float64       `json:"message_rate,omitempty"` // of all senders
	Concurrency int           `json:"concurrency"`
	Timeout     time.Duration `json:"timeout"`
	Drops       *drops        `json:"drops,omitempty"`
}

// report is what a worker has seen. Counts add up over workers.
type report struct {
	Opened     int64            `json:"opened"` // connections that came about
	Failed     int64            `json:"failed"` // and that did not
	Lost       int64            `json:"lost"`   // ended without this side's doing
	Reasons    map[string]int64 `json:"reasons,omitempty"`
	Sent       int64            `json:"sent"` // exchange and churn only
	Got        int64            `json:"got"`
	Late       int64            `json:"late"`
	Double     int64            `json:"double"`
	Foreign    int64            `json:"foreign"`
	CPU        time.Duration    `json:"cpu"`
	Latency    string           `json:"latency,omitempty"`
	Connecting string           `json:"connecting,omitempty"`
	Behind     string           `json:"behind,omitempty"`

	// Of connections that are lost.
	Drops     int64  `json:"drops,omitempty"`
	Back      int64  `json:"back,omitempty"` // clients that have come back
	Resumed   int64  `json:"resumed,omitempty"`
	Again     int64  `json:"again,omitempty"` // attempts to come back that failed
	Resuming  string `json:"resuming,omitempty"`
	Answering string `json:"answering,omitempty"`
	Catching  string `json:"catching,omitempty"`
}

func (r *report) add(other *report) {
	r.Opened += other.Opened
	r.Failed += other.Failed
	r.Lost += other.Lost
	r.Sent += other.Sent
	r.Got += other.Got
	r.Late += other.Late
	r.Double += other.Double
	r.Foreign += other.Foreign
	r.CPU += other.CPU
	r.Drops += other.Drops
	r.Back += other.Back
	r.Resumed += other.Resumed
	r.Again += other.Again
	if r.Reasons == nil {
		r.Reasons = maps.Clone(other.Reasons)
		return
	}
	for reason, n := range other.Reasons {
		r.Reasons[reason] += n
	}
}

// times are the histograms, in one order everywhere.
func (r *report) times() []*string {
	return []*string{&r.Latency, &r.Connecting, &r.Resuming, &r.Answering, &r.Catching, &r.Behind}
}

// lines writes values as JSON, one a line. It may be used from any goroutine.
type lines struct {
	mu  sync.Mutex
	enc *json.Encoder // guarded by mu
}

func newLines(w io.Writer) *lines { return &lines{enc: json.NewEncoder(w)} }

func (l *lines) write(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.enc.Encode(v); err != nil {
		return fmt.Errorf("write to the other side: %w", err)
	}
	return nil
}
