package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/limits"
)

// limitFlags are how fast and how much one client may take. The library has more of them, see package limits.
type limitFlags struct {
	Limits           string               `default:"internal" enum:"internal,public" help:"Preset: internal limits nothing; public is for the open internet, and refuses pages of other origins unless a --cors flag lets them in."`
	LimitConnections *int                 `placeholder:"N" help:"Most connections of one address, and eight times as many of one network; 0 is no limit."`
	LimitHandshakes  *limitRate           `placeholder:"RATE" help:"New connections of one address. A RATE is PER_SECOND[:BURST], or off."`
	LimitEvents      *limitRate           `placeholder:"RATE" help:"Events of one client, in all its namespaces. A RATE of what clients send may end in :slow (read more slowly), :drop (with an error) or :disconnect."`
	LimitEvent       map[string]limitRate `placeholder:"NAME=RATE;..." help:"Events of one name, instead of --limit-events."`
	LimitBytes       *limitRate           `placeholder:"RATE" help:"Bytes that one client sends; :drop is not possible."`
	LimitEventBytes  *int                 `placeholder:"BYTES" help:"Longest payload of one event, attachments included; 0 is no limit but --max-http-buffer-size for each message."`
	LimitUserEvents  *limitRate           `placeholder:"RATE" help:"Events of one user on all its connections and nodes together."`
	LimitUserConns   *int                 `name:"limit-user-connections" placeholder:"N" help:"Most connections of one user on this node; 0 is no limit."`
}

// limitRate is how often something may happen: "50", "50:200", "50:200:drop", "off".
type limitRate limits.Rate

// Decode reads a rate. It is called by the flag parser.
func (r *limitRate) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("rate", &text); err != nil {
		return err
	}
	rate, err := parseRate(text)
	*r = limitRate(rate)
	return err
}

// rateActions are the words for what happens to what is too much.
var rateActions = map[string]limits.Action{"slow": limits.SlowDown, "drop": limits.Drop, "disconnect": limits.Disconnect}

// MarshalText implements encoding.TextMarshaler: it writes what Decode reads.
func (r limitRate) MarshalText() ([]byte, error) {
	if r.PerSecond == 0 {
		return []byte("off"), nil
	}
	text := strconv.AppendFloat(nil, r.PerSecond, 'f', -1, 64)
	if r.Burst != 0 {
		text = strconv.AppendInt(append(text, ':'), int64(r.Burst), 10)
	}
	for word, action := range rateActions {
		if r.Action != 0 && action == r.Action {
			text = append(append(text, ':'), word...)
		}
	}
	return text, nil
}

// set replaces a rate by what the flag says, if it was given.
func (r *limitRate) set(rate *limits.Rate) {
	if r != nil {
		*rate = limits.Rate(*r)
	}
}

func parseRate(text string) (r limits.Rate, err error) {
	if text == "off" {
		return r, nil
	}
	bad := fmt.Errorf("%q is no rate, want one such as 50, 50:200, 50:200:drop or off", text)
	parts := strings.Split(text, ":")
	if action, ok := rateActions[parts[len(parts)-1]]; ok {
		r.Action = action
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 0 || len(parts) > 2 {
		return r, bad
	}
	if r.PerSecond, err = strconv.ParseFloat(parts[0], 64); err != nil || !(r.PerSecond > 0) {
		return r, bad
	}
	if len(parts) == 2 {
		if r.Burst, err = strconv.Atoi(parts[1]); err != nil || r.Burst <= 0 {
			return r, bad
		}
	}
	return r, nil
}

// options are the preset with what the other flags change.
func (f *limitFlags) options() *limits.Options {
	o := limits.Internal()
	if f.Limits == "public" {
		o = limits.Public()
	}
	if n := f.LimitConnections; n != nil {
		o.ConnectionsPerAddress, o.ConnectionsPerNetwork = *n, 8**n
	}
	f.LimitHandshakes.set(&o.HandshakesPerAddress)
	f.LimitEvents.set(&o.Events)
	f.LimitBytes.set(&o.Bytes)
	f.LimitUserEvents.set(&o.UserEvents)
	if n := f.LimitEventBytes; n != nil {
		o.EventBytes = *n
	}
	if n := f.LimitUserConns; n != nil {
		o.ConnectionsPerUser = *n
	}
	if f.LimitHandshakes != nil && o.HandshakesPerNetwork.PerSecond > 0 {
		// The network's limit must leave room for the address's.
		own, all := limits.Rate(*f.LimitHandshakes), &o.HandshakesPerNetwork
		all.PerSecond = max(all.PerSecond, 5*own.PerSecond)
		all.Burst = max(all.Burst, 5*own.Burst)
	}
	if len(f.LimitEvent) > 0 {
		o.EventOverrides = make(map[string]limits.Rate, len(f.LimitEvent))
		for name, rate := range f.LimitEvent {
			o.EventOverrides[name] = limits.Rate(rate)
		}
	}
	return o
}

func (f *limitFlags) validateLimits() error {
	if n := f.LimitConnections; n != nil && (*n < 0 || *n > 1<<24) {
		return fmt.Errorf("--limit-connections must be from 0 to %d, got %d", 1<<24, *n)
	}
	if f.LimitBytes != nil && f.LimitBytes.Action == limits.Drop {
		return errors.New("--limit-bytes cannot drop, want slow or disconnect")
	}
	if f.LimitHandshakes != nil && f.LimitHandshakes.Action != 0 {
		return errors.New("--limit-handshakes takes no action, what is too much is refused")
	}
	_, err := limits.New(f.options())
	return err
}

// install puts the limits in front of what the options have already.
func (f *limitFlags) install(opts *server.Options) (*limits.Limits, error) {
	l, err := limits.New(f.options())
	if err != nil {
		return nil, err
	}
	l.Install(opts)
	return l, nil
}
