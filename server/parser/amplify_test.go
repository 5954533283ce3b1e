package parser

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// counting is a json.Unmarshaler that adds up what it is given.
type counting struct{}

var countedBytes int

func (c *counting) UnmarshalJSON(text []byte) error {
	countedBytes += len(text)
	return nil
}

// TestUnmarshalRepeatedAttachment names one attachment many times. The text must not be blown up by its base64 form.
func TestUnmarshalRepeatedAttachment(t *testing.T) {
	const size, times = 1 << 20, 1000
	list := "[" + strings.TrimSuffix(strings.Repeat(slot0+",", times), ",") + "]"
	for name, target := range map[string]any{
		"one unmarshaler":   new(counting),
		"many unmarshalers": new([]counting),
	} {
		countedBytes = 0
		p := Payload{JSON: json.RawMessage(list), Attachments: [][]byte{make([]byte, size)}}
		if err := p.Unmarshal(target); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: error %v, want ErrTooLarge", name, err)
		}
		if countedBytes > 2*size {
			t.Errorf("%s: the unmarshalers were given %d bytes", name, countedBytes)
		}
	}
	p := Payload{JSON: json.RawMessage(list), Attachments: [][]byte{make([]byte, size)}}
	var same [][]byte
	if err := p.Unmarshal(&same); err != nil || len(same) != times || &same[0][0] != &same[times-1][0] {
		t.Errorf("binary targets share the attachment: %v", err)
	}
	p = Payload{JSON: json.RawMessage("[" + slot0 + "," + slot1 + "]"), Attachments: [][]byte{make([]byte, size), {1}}}
	if err := p.Unmarshal(new([]counting)); err != nil {
		t.Errorf("each attachment once: %v", err)
	}
}
