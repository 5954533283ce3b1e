package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// wireVersion is the major version of the messages. Members have the same. Whatever the version is, a hello on the common
// channel has v, kind, from, name, version and settings in this form.
const wireVersion = 1

// Kinds of messages. Every kind tells what a beat tells.
const (
	kindHello  = "hello"  // all: who the sender is; an inbox: the same, as a welcome or because it was asked for
	kindBeat   = "beat"   // all: the sender lives; an inbox: the answer to a ping, or to the hello of a known member
	kindTopics = "topics" // all: what the sender serves has changed
	kindAsk    = "ask"    // an inbox: say hello to mine
	kindPing   = "ping"   // an inbox: say that you live to mine
	kindOver   = "over"   // an inbox: a life of yours was declared over
	kindBye    = "bye"    // all: the sender goes
)

// message is what one body says.
type message struct {
	V      int    `json:"v"`
	Kind   string `json:"kind"`
	From   ID     `json:"from"`
	Life   int    `json:"life,omitempty"` // number of the sender's life; none is the first
	Every  int64  `json:"every"`          // milliseconds after which the sender says something again, but for jitter
	Topics uint64 `json:"topics"`         // version of what the sender serves; in a hello and a kindTopics of what is told there

	Draining bool `json:"draining,omitempty"` // see Node

	Mark uint64 `json:"mark,omitempty"` // of a ping, and of the beat that answers it: which one it is

	identity // of a hello

	// Of a hello: what the sender serves. It may be told in several bodies, all with the same version.
	Part   int      `json:"part,omitempty"`
	Parts  int      `json:"parts,omitempty"`
	Serves []string `json:"serves,omitempty"`

	// Of kindTopics: the version that changed, and how.
	Was      uint64   `json:"was,omitempty"`
	Served   []string `json:"served,omitempty"`
	Unserved []string `json:"unserved,omitempty"`

	Of int `json:"of,omitempty"` // of kindOver: the number of the receiver's life
}

// identity is who the sender of a hello is.
type identity struct {
	Name     string            `json:"name,omitempty"`
	Tag      string            `json:"tag,omitempty"`
	Address  string            `json:"address,omitempty"`
	Key      string            `json:"key,omitempty"` // never on the common channel
	Started  time.Time         `json:"started,omitzero"`
	Version  string            `json:"version,omitempty"`
	Adapter  string            `json:"adapter,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
}

func identityOf(n *Node, settings map[string]string) identity {
	return identity{Name: n.Name, Tag: n.Tag, Address: n.Address, Key: string(n.Key), Started: n.Started, Version: n.Version, Adapter: n.Adapter, Settings: settings}
}

// describe writes the identity into n.
func (i *identity) describe(n *Node) {
	n.Name, n.Tag, n.Address, n.Key = i.Name, i.Tag, i.Address, Secret(i.Key)
	n.Started, n.Version, n.Adapter = i.Started.UTC(), i.Version, i.Adapter
}

func (m *message) every() time.Duration { return time.Duration(m.Every) * time.Millisecond }

func (m *message) encode() ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s: %w", m.Kind, err)
	}
	return body, nil
}

var (
	errTooLong = errors.New("body is too long")
	errForm    = errors.New("field of another form")
)

// decode reads a body. Of another version's bodies only what every version has is read.
func decode(body []byte) (*message, error) {
	if len(body) > maxBody {
		return nil, errTooLong
	}
	m := new(message)
	err := json.Unmarshal(body, m)
	if err != nil || m.V != wireVersion {
		var other struct {
			V        int               `json:"v"`
			Kind     string            `json:"kind"`
			From     ID                `json:"from"`
			Name     string            `json:"name"`
			Version  string            `json:"version"`
			Settings map[string]string `json:"settings"`
		}
		if err := json.Unmarshal(body, &other); err != nil {
			return nil, err
		}
		if other.V == wireVersion {
			return nil, err
		}
		m = &message{V: other.V, Kind: other.Kind, From: other.From}
		m.identity = identity{Name: other.Name, Version: other.Version, Settings: other.Settings}
	}
	if m.Life == 0 {
		m.Life = 1
	}
	if m.Kind == kindHello && m.Parts == 0 {
		m.Parts = 1
	}
	return m, m.check()
}

// check refuses what no node of this version says.
func (m *message) check() error {
	if m.V < 1 || !m.From.valid() || m.Life < 0 || m.Life > maxLife || m.Every > maxInterval.Milliseconds() {
		return errForm
	}
	if m.V == wireVersion && m.Every < 1 {
		return errForm
	}
	if m.Kind == kindHello {
		if err := m.identity.check(m.V); err != nil {
			return err
		}
	}
	if m.Part < 0 || m.Parts < 0 || m.Parts > maxParts || m.Part > 0 && m.Part >= m.Parts {
		return errForm
	}
	for _, topics := range [][]string{m.Serves, m.Served, m.Unserved} {
		if len(topics) > maxTopics {
			return errForm
		}
		for _, topic := range topics {
			if !validText(topic) {
				return errForm
			}
		}
	}
	return nil
}

// validText reports whether a name, an address, a topic and the like can be told.
func validText(s string) bool { return len(s) <= maxName && utf8.ValidString(s) }

func (i *identity) check(version int) error {
	if i.Name == "" {
		return fmt.Errorf("name is empty: %w", errForm)
	}
	for _, s := range []string{i.Name, i.Address, i.Version, i.Adapter} {
		if !validText(s) {
			return fmt.Errorf("%.20q has over %d bytes or is not UTF-8: %w", s, maxName, errForm)
		}
	}
	if !validText(i.Key) {
		return fmt.Errorf("key has over %d bytes or is not UTF-8: %w", maxName, errForm)
	}
	if version == wireVersion && !validTag(i.Tag) {
		return fmt.Errorf("tag %.20q is not 4 characters of A-Z a-z 0-9 - _: %w", i.Tag, errForm)
	}
	if len(i.Settings) > maxSettings {
		return fmt.Errorf("there are over %d settings: %w", maxSettings, errForm)
	}
	for flag, value := range i.Settings {
		if !validText(flag) || !validText(value) {
			return fmt.Errorf("setting %.20q has over %d bytes or is not UTF-8: %w", flag, maxName, errForm)
		}
	}
	return nil
}
