package parser

import (
	"encoding/json"
	"fmt"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

func scanError(code int) error {
	if code == jsontext.TooDeep {
		return ErrTooDeep
	}
	return fmt.Errorf("%w: malformed JSON", ErrPayload)
}

// checkJSON checks that raw is one JSON value of at most depth levels.
func checkJSON(raw json.RawMessage, depth int) error {
	end := jsontext.ScanValue(raw, jsontext.SkipSpace(raw, 0), depth)
	if end < 0 {
		return scanError(end)
	}
	if jsontext.SkipSpace(raw, end) != len(raw) {
		return scanError(jsontext.Malformed)
	}
	return nil
}
