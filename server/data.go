package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Data holds values that an application attaches to a socket. They are kept as JSON, because FetchSockets shows them to
// the other nodes of the cluster; what is for this node alone is kept by a [State]. All methods may be called concurrently.
type Data struct {
	socket *Socket // static

	mu sync.Mutex
	// Guarded by mu.
	values map[string]json.RawMessage
	bytes  int64       // of keys and values, see valueSize
	free   bool        // the connection is not charged, or not any more
	states map[any]any // by the address of the State
}

// valueSize is what a value counts towards Options.MaxData, and what the connection is charged.
func valueSize(key string, raw json.RawMessage) int64 { return int64(len(key)+len(raw)) + valueCost }

// restoredData holds the values of a socket that goes on.
func restoredData(s *Socket, values map[string]json.RawMessage) *Data {
	d := &Data{socket: s, values: values}
	for key, raw := range values {
		d.bytes += valueSize(key, raw)
	}
	d.free = s.client.keep(d.bytes) != nil
	return d
}

// Set stores a value under a key. It fails, and keeps the old value, if the value has no JSON form, or with ErrLimit if the
// socket has too much data, see Options.MaxData.
func (d *Data) Set(key string, value any) error {
	raw, err := encodeJSON(value)
	if err == nil {
		err = d.put(key, raw)
	}
	if err != nil {
		return fmt.Errorf("set %q: %w", key, err)
	}
	d.socket.dataChanged(key)
	return nil
}

func (d *Data) put(key string, raw json.RawMessage) error {
	n, c := valueSize(key, raw), d.socket.client
	if err := c.keep(n); err != nil {
		return err
	}
	most := int64(c.server.opts.MaxData)
	freed, ok := d.replace(key, raw, n, most)
	c.session.ReleaseState(freed)
	if !ok {
		return c.server.exceeded(limitData, fmt.Sprintf("%d bytes more of data", n), most)
	}
	return nil
}

// replace stores a value of n bytes, for which the connection has been charged, and returns what is to be given back. It
// reports false if there would be more than most bytes.
func (d *Data) replace(key string, raw json.RawMessage, n, most int64) (freed int64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var former int64
	if old, ok := d.values[key]; ok {
		former = valueSize(key, old)
	}
	if d.bytes-former+n > most && n > former {
		return n, false
	}
	if d.values == nil {
		d.values = make(map[string]json.RawMessage)
	}
	d.values[key] = raw
	d.bytes += n - former
	if d.free {
		return n, true
	}
	return former, true
}

// discharge notes that the connection is charged no more, and returns what it was charged.
func (d *Data) discharge() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.free {
		return 0
	}
	d.free = true
	return d.bytes
}

// Load decodes the value of a key into the variable that v points to. It reports whether there was one.
func (d *Data) Load(key string, v any) (bool, error) {
	d.mu.Lock()
	raw, ok := d.values[key]
	d.mu.Unlock()
	if !ok {
		return false, nil
	}
	if err := (parser.Payload{JSON: bytes.Clone(raw)}).Unmarshal(v); err != nil {
		return true, fmt.Errorf("load %q: %w", key, err)
	}
	return true, nil
}

// Delete removes a key.
func (d *Data) Delete(key string) {
	d.mu.Lock()
	raw, ok := d.values[key]
	var freed int64
	if ok {
		n := valueSize(key, raw)
		delete(d.values, key)
		d.bytes -= n
		if !d.free {
			freed = n
		}
	}
	d.mu.Unlock()
	d.socket.client.session.ReleaseState(freed)
	if ok {
		d.socket.dataChanged(key)
	}
}

// OnDataChange registers a function that is told when a value of a socket's Data has been set or deleted. It runs on the goroutine
// that has done so, possibly after a later change was told, and must not block. The returned function removes it.
func (n *Namespace) OnDataChange(f func(s *Socket, key string)) (remove func()) {
	return n.onDataChange(f)
}

// dataChanged tells the OnDataChange functions.
func (s *Socket) dataChanged(key string) {
	if r := s.nsp.recovery; r != nil {
		r.changed(s)
	}
	each(s.nsp.hooks().data, func(f *slot[dataFunc]) {
		_ = s.nsp.server.protect("OnDataChange", s.nsp.name, s.id, func() error {
			f.value(s, key)
			return nil
		})
	})
}

// Keys returns the keys in sorted order.
func (d *Data) Keys() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	keys := make([]string, 0, len(d.values))
	for k := range d.values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// MarshalJSON returns all values as one object.
func (d *Data) MarshalJSON() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.values) == 0 {
		return []byte("{}"), nil
	}
	return encodeJSON(d.values)
}

// encodeJSON is json.Marshal without the escapes for HTML, which JavaScript does not write, and with lone surrogates as
// parser.Payload.Unmarshal leaves them.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if bytes.Contains(buf.Bytes(), []byte(`\ufffd`)) { // written for what is not UTF-8
		if p, err := parser.Marshal(v); err == nil && len(p.Attachments) == 0 {
			return p.JSON, nil
		}
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// Data returns the socket's values.
func (s *Socket) Data() *Data {
	if d := s.data.Load(); d != nil {
		return d
	}
	s.data.CompareAndSwap(nil, &Data{socket: s})
	d := s.data.Load()
	if s.phase.Load() == phaseClosed {
		s.client.session.ReleaseState(d.discharge()) // leaveAll may have found no data yet
	}
	return d
}

// dataJSON is what other nodes see, without creating an empty Data.
func (s *Socket) dataJSON() json.RawMessage {
	if d := s.data.Load(); d != nil {
		if raw, err := d.MarshalJSON(); err == nil {
			return raw
		}
	}
	return json.RawMessage("{}")
}
