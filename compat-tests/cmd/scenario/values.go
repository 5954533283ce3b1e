package main

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// unwrap turns the arguments of a command into what is emitted: {"$bin": hex} is binary data, {"$date": ms} a date,
// {"$json": text} is taken as it is, and {"$undefined": true}, which Go does not have, is null or a key left out.
func unwrap(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = unwrap(v[i])
		}
	case map[string]any:
		if text, ok := v["$bin"].(string); ok {
			data, _ := hex.DecodeString(text)
			return data
		}
		if ms, ok := v["$date"].(float64); ok {
			return time.UnixMilli(int64(ms))
		}
		if text, ok := v["$json"].(string); ok {
			return json.RawMessage(text)
		}
		if isUndefined(v) {
			return nil
		}
		for k, member := range v {
			if isUndefined(member) {
				delete(v, k)
			} else {
				v[k] = unwrap(member)
			}
		}
	}
	return value
}

func isUndefined(value any) bool {
	v, ok := value.(map[string]any)
	return ok && v["$undefined"] == true
}

func unwrapArgs(args []any) []any {
	for i := range args {
		args[i] = unwrap(args[i])
	}
	return args
}

// wrap is the reverse, for the log: a payload without attachments stays the JSON text that it was.
func wrap(p parser.Payload) any {
	if len(p.JSON) == 0 {
		return nil
	}
	if len(p.Attachments) == 0 {
		return json.RawMessage(p.JSON)
	}
	var v any
	if err := p.Unmarshal(&v); err != nil {
		return "(" + err.Error() + ")"
	}
	return wrapValue(v)
}

func wrapValue(value any) any {
	switch v := value.(type) {
	case []byte:
		return map[string]string{"$bin": hex.EncodeToString(v)}
	case []any:
		for i := range v {
			v[i] = wrapValue(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = wrapValue(v[k])
		}
	}
	return value
}

func wrapArgs(args server.Args) []any {
	out := make([]any, args.Len())
	for i := range out {
		out[i] = wrap(args.At(i))
	}
	return out
}
