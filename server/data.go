package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// Data holds values that an application attaches to a socket. They are kept as JSON, because FetchSockets shows them to
// the other nodes of the cluster. All methods may be called concurrently.
type Data struct {
	mu     sync.Mutex
	values map[string]json.RawMessage
}

// Set stores a value under a key. It fails, and keeps the old value, if the value has no JSON form.
func (d *Data) Set(key string, value any) error {
	raw, err := encodeJSON(value)
	if err != nil {
		return fmt.Errorf("set %q: %w", key, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.values == nil {
		d.values = make(map[string]json.RawMessage)
	}
	d.values[key] = raw
	return nil
}

// Load decodes the value of a key into the variable that v points to. It reports whether there was one.
func (d *Data) Load(key string, v any) (bool, error) {
	d.mu.Lock()
	raw, ok := d.values[key]
	d.mu.Unlock()
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("load %q: %w", key, err)
	}
	return true, nil
}

// Delete removes a key.
func (d *Data) Delete(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.values, key)
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

// encodeJSON is json.Marshal without the escapes for HTML, which JavaScript does not write.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// Data returns the socket's values.
func (s *Socket) Data() *Data {
	if d := s.data.Load(); d != nil {
		return d
	}
	s.data.CompareAndSwap(nil, new(Data))
	return s.data.Load()
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
