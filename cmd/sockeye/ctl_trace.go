package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

type ctlTrace struct {
	User     string `env:"-" help:"All sockets of this user; or"`
	Socket   string `env:"-" placeholder:"ID" help:"This socket."`
	Payloads bool   `env:"-" help:"Show the arguments too."`
}

// Validate is called by the flag parser.
func (q *ctlTrace) Validate() error {
	if (q.User == "") == (q.Socket == "") {
		return errors.New("--user or --socket is needed")
	}
	return nil
}

// maxTraceLine bounds a line of a trace, in bytes.
const maxTraceLine = 1 << 20

// Run prints what is sent and got until it is interrupted, or the socket has gone.
func (q *ctlTrace) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	query := make(url.Values)
	for name, value := range map[string]string{"user": q.User, "socket": q.Socket} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if q.Payloads {
		query.Set("payloads", "true")
	}
	resp, err := c.request(ctx, "GET", "trace", query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxTraceLine)
	name := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "event":
			name = value
		case field != "data":
		case c.JSON:
			if _, err := fmt.Fprintf(out.stdout, `{"event":%q,"data":%s}`+"\n", name, value); err != nil {
				return err
			}
		default:
			if err := showTraced(out.stdout, name, value); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return nil // it was interrupted, as it has to be
	}
	return lines.Err()
}

// traced is any event of a trace.
type traced struct {
	Time                                                  time.Time
	Node, Namespace, Socket, Kind, Event, Outcome, Reason string
	Ack                                                   *int64
	Bytes                                                 int
	Ms                                                    *float64
	Queued                                                int64
	Args                                                  json.RawMessage
	Withheld                                              bool

	Sockets int
	Nodes   []string
	Missing []string
	Count   int64
}

// traceArrows show the direction of what was seen.
var traceArrows = map[string]string{"received": "->", "refused": "-x", "ack_received": "->", "sent": "<-", "ack_sent": "<-"}

// showTraced prints one event of a trace.
func showTraced(w io.Writer, name, text string) error {
	var e traced
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return fmt.Errorf("the trace does not fit: %w", err)
	}
	var line string
	switch name {
	case "watching":
		line = fmt.Sprintf("watching %d sockets on %s", e.Sockets, strings.Join(e.Nodes, ", "))
		if len(e.Missing) > 0 {
			line += ", not heard: " + strings.Join(e.Missing, ", ")
		}
	case "dropped":
		line = fmt.Sprintf("%d more on %s than a trace carries", e.Count, e.Node)
	default:
		line = e.line()
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

func (e *traced) line() string {
	parts := []string{e.Time.Format("15:04:05.000"), e.Node, e.Socket}
	if e.Namespace != "/" {
		parts = append(parts, e.Namespace)
	}
	if arrow := traceArrows[e.Kind]; arrow != "" {
		parts = append(parts, arrow)
	}
	parts = append(parts, e.Kind)
	if e.Event != "" {
		parts = append(parts, fmt.Sprintf("%q", e.Event))
	}
	if e.Ack != nil {
		parts = append(parts, fmt.Sprint("#", *e.Ack))
	}
	if e.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%dB", e.Bytes))
	}
	if e.Ms != nil {
		parts = append(parts, fmt.Sprintf("%.3fms", *e.Ms))
	}
	if e.Queued > 0 {
		parts = append(parts, fmt.Sprintf("behind %dB", e.Queued))
	}
	if e.Outcome != "" && e.Outcome != "handled" {
		parts = append(parts, e.Outcome)
	}
	if e.Reason != "" {
		parts = append(parts, e.Reason)
	}
	if e.Withheld {
		parts = append(parts, "(long)")
	}
	if len(e.Args) > 0 {
		parts = append(parts, string(e.Args))
	}
	return strings.Join(parts, " ")
}
