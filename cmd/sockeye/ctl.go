package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
)

// ctlCommand holds the flags of all commands of `sockeye ctl`.
type ctlCommand struct {
	Admin     string        `env:"SOCKEYE_ADMIN,SOCKEYE_ADMIN_ADDR" default:"http://127.0.0.1:9000" placeholder:"URL" help:"The address for operators of any node, a URL or its --admin-addr; http://127.0.0.1:9000 by default."`
	TokenFile string        `env:"SOCKEYE_ADMIN_TOKEN_FILE" placeholder:"FILE" help:"File with the token of the control API."`
	Token     string        `env:"SOCKEYE_ADMIN_TOKEN" hidden:"" help:"The token itself; only from the environment, where other users do not see it."`
	Timeout   time.Duration `env:"SOCKEYE_CTL_TIMEOUT" default:"10s" help:"How long the node may take for an answer."`
	JSON      bool          `name:"json" env:"-" help:"Print the answer as it is, in JSON."`

	adminClient

	Nodes      ctlNodes      `cmd:"" help:"List the nodes of the cluster."`
	Namespaces ctlNamespaces `cmd:"" help:"List the namespaces, those with most sockets first."`
	Count      ctlCount      `cmd:"" help:"Count sockets, and users."`
	Presence   ctlPresence   `cmd:"" help:"List the users who are there."`
	User       ctlUser       `cmd:"" help:"Show a user's sockets."`
	Publish    ctlPublish    `cmd:"" help:"Send an event to clients."`
	Disconnect ctlDisconnect `cmd:"" help:"Disconnect sockets."`
	Join       ctlJoin       `cmd:"" help:"Make sockets join rooms."`
	Leave      ctlLeave      `cmd:"" help:"Make sockets leave rooms."`
	Revoke     ctlRevoke     `cmd:"" help:"Make the tokens of a user void, and disconnect who has one."`
	Drain      ctlDrain      `cmd:"" help:"Have a node close its connections and take no new ones."`
	Undrain    ctlUndrain    `cmd:"" help:"Have a node take clients again."`
	Rebalance  ctlRebalance  `cmd:"" help:"Move clients from nodes that have more than their share."`
	Trace      ctlTrace      `cmd:"" help:"Show what a user or a socket sends and gets, as it happens."`
}

// Help is what --help says besides the flags.
func (*ctlCommand) Help() string {
	return `The node needs --admin-addr and --admin-token-file (or --admin-client-ca). Exits with status 0 when all is well, 1 when the node has
refused or failed, 3 when the answer lacks nodes that were not heard.

Examples:
  sockeye ctl nodes --token-file token
  sockeye ctl publish --room news headline '{"title":"It works"}'
  sockeye ctl disconnect --user ann --close
  sockeye ctl revoke ann
  sockeye ctl drain chat-2 --wait
  sockeye ctl trace --user ann --payloads`
}

// Validate refuses credentials that are incomplete. It is called by the flag parser.
func (c *ctlCommand) Validate() error {
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout must be positive, got %v", c.Timeout)
	}
	_, err := operatorsURL(c.Admin)
	return errors.Join(c.checkPair(), err)
}

// AfterApply gives the flags to the command that was chosen.
func (c *ctlCommand) AfterApply(k *kong.Context) error {
	k.Bind(c)
	return nil
}

// token returns the token, "" without.
func (c *ctlCommand) token() (string, error) {
	if c.TokenFile == "" {
		return strings.TrimRight(c.Token, " \t\r\n"), nil
	}
	token, err := readToken(c.TokenFile)
	return string(token), err
}

// request asks the node; path is below /v1/ with its parts escaped. A body of nil is none.
func (c *ctlCommand) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	base, err := operatorsURL(c.Admin)
	if err != nil {
		return nil, err
	}
	base = base.JoinPath("/v1/", path)
	base.RawQuery = query.Encode()
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, base.String(), text)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp, nil
}

// maxAnswer bounds the answer of a node, in bytes.
const maxAnswer = 64 << 20

// refusal is the error of an answer that is none.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // as much as has come says what is wrong
	var body struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(text, &body) == nil && body.Error.Message != "" {
		return fmt.Errorf("%s: %s", body.Error.Code, body.Error.Message)
	}
	return fmt.Errorf("the node answers %s", resp.Status)
}

// partialError says what an answer lacks.
type partialError struct {
	missing    []string
	unanswered int
	reason     string
}

// Error names the nodes that are missing.
func (e partialError) Error() string {
	text := "the answer is partial"
	if e.reason != "" {
		text += ", " + e.reason
	}
	if len(e.missing) > 0 {
		text += ", without " + strings.Join(e.missing, ", ")
	}
	if more := e.unanswered - len(e.missing); more > 0 {
		text += fmt.Sprintf(", without %d nodes that have no name here", more)
	}
	return text
}

// ask asks the node and shows the answer, as a table unless JSON is wanted.
func (c *ctlCommand) ask(ctx context.Context, out *streams, method, path string, query url.Values, body any, show func(w io.Writer, answer []byte) error) error {
	answer, err := c.fetch(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	if c.JSON {
		if _, err := out.stdout.Write(answer); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(out.stdout, 0, 8, 2, ' ', 0)
		if err := errors.Join(show(w, answer), w.Flush()); err != nil {
			return err
		}
	}
	return lacking(answer)
}

// fetch asks the node and returns the answer.
func (c *ctlCommand) fetch(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	resp, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// lacking returns a partialError if an answer lacks something.
func lacking(answer []byte) error {
	var p struct {
		Partial    bool
		Missing    []string
		Unanswered int
		Reason     string
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	if p.Partial {
		return partialError{p.Missing, p.Unanswered, p.Reason}
	}
	return nil
}
