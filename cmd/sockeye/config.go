package main

import (
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// checkConfigCommand is `sockeye check-config`, with the flags of serve.
type checkConfigCommand struct{ serveCommand }

// Help is what --help says besides the flags.
func (*checkConfigCommand) Help() string {
	return `Takes the flags, the environment and the file of --config as sockeye serve would, and starts nothing. Exits with status 0 if a node would
start with them, else with 2.

Examples:
  sockeye check-config --config /etc/sockeye/sockeye.yaml`
}

// Run checks what the flag parser has not checked already.
func (c *checkConfigCommand) Run(out *streams) error {
	if err := c.check(); err != nil {
		return usageError{err}
	}
	_, err := fmt.Fprintln(out.stdout, "the configuration is valid")
	return err
}

// check makes what Run would make, but for what listens or connects.
func (c *serveCommand) check() error {
	log := slog.New(slog.DiscardHandler)
	if _, err := c.certificate(); err != nil {
		return err
	}
	if _, _, err := c.adminCredentials(log); err != nil {
		return err
	}
	if c.kind() != "" {
		if err := c.checkPeer(); err != nil {
			return err
		}
		if err := c.checkBroker(c.brokerUser(nil), log); err != nil {
			return err
		}
	}
	alone := *c
	alone.nodeFlags = nodeFlags{}
	node, err := alone.newApp(log)
	if err != nil {
		return err
	}
	return alone.stop(node)
}

// configCommand is `sockeye config`, with the flags of serve.
type configCommand struct{ serveCommand }

// Help is what --help says besides the flags.
func (*configCommand) Help() string {
	return `Prints what sockeye serve would take from the flags, the environment, the file of --config and the defaults, in this order, as such a file.
Secrets are printed as ` + hidden + `.

Examples:
  SOCKEYE_PING_INTERVAL=10s sockeye config --config /etc/sockeye/sockeye.yaml --addr :4000`
}

// Run prints the configuration.
func (c *configCommand) Run(out *streams, ctx *kong.Context) error {
	return writeConfig(out.stdout, ctx.Selected().Flags)
}

// hidden stands for a secret, as in url.URL.Redacted. It is too short to be one.
const hidden = "xxxxx"

// Values of a flag's tag `secret`: what must not be shown.
const (
	secretWhole = "whole" // all of it
	secretURL   = "url"   // the passwords in it
)

// writeConfig writes a configuration file with the flags' values; what is empty or unset is left out.
func writeConfig(w io.Writer, flags []*kong.Flag) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	group := ""
	for _, f := range inGroups(flags) {
		if slices.Contains(notInFile, f.Name) || f.Hidden || f.Target.IsZero() && f.Default == "" && f.Target.Kind() != reflect.Bool {
			continue
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: f.Name}
		if f.Group != nil && f.Group.Title != group {
			group = f.Group.Title
			key.HeadComment = "\n# " + group
		}
		root.Content = append(root.Content, key, shown(f.Target, f.Tag.Get("secret")))
	}
	encoder := yaml.NewEncoder(w)
	if err := encoder.Encode(root); err != nil {
		return err
	}
	return encoder.Close()
}

// inGroups sorts flags as --help does: group by group, in the order of each group's first flag.
func inGroups(flags []*kong.Flag) []*kong.Flag {
	order := map[string]int{}
	title := func(f *kong.Flag) string {
		if f.Group == nil {
			return ""
		}
		return f.Group.Title
	}
	for i, f := range flags {
		if _, known := order[title(f)]; !known {
			order[title(f)] = i
		}
	}
	sorted := slices.Clone(flags)
	slices.SortStableFunc(sorted, func(a, b *kong.Flag) int { return order[title(a)] - order[title(b)] })
	return sorted
}

// shown writes a value as the flag takes it.
func shown(v reflect.Value, secret string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode}
	marshaler, isText := v.Interface().(encoding.TextMarshaler)
	switch value := v.Interface().(type) {
	case time.Duration:
		node.Value = value.String()
	case slog.Level:
		node.Value = strings.ToLower(value.String())
	default:
		switch {
		case isText && v.Kind() != reflect.Pointer:
			text, err := marshaler.MarshalText()
			if err != nil {
				text = []byte(err.Error())
			}
			node.SetString(string(text))
		case v.Kind() == reflect.Pointer:
			return shown(v.Elem(), secret)
		case v.Kind() == reflect.Map:
			node.Kind, node.Style = yaml.MappingNode, yaml.FlowStyle
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			for _, key := range keys {
				node.Content = append(node.Content, shown(key, ""), shown(v.MapIndex(key), secret))
			}
		case v.Kind() == reflect.Slice:
			node.Kind, node.Style = yaml.SequenceNode, yaml.FlowStyle
			for i := range v.Len() {
				node.Content = append(node.Content, shown(v.Index(i), secret))
			}
		case v.Kind() == reflect.String:
			node.SetString(withoutSecrets(v.String(), secret))
		case v.Kind() == reflect.Bool:
			node.Value = strconv.FormatBool(v.Bool())
		default:
			node.Value = fmt.Sprint(value)
		}
	}
	return node
}

func withoutSecrets(text, secret string) string {
	switch secret {
	case "":
		return text
	case secretURL:
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			return hidden
		}
		query := u.Query()
		for key := range query {
			if strings.Contains(strings.ToLower(key), "password") {
				query.Set(key, hidden)
			}
		}
		u.RawQuery = query.Encode()
		return u.Redacted()
	}
	return hidden
}
