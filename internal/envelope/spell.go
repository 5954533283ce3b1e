package envelope

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/sockeye-io/sockeye/server/parser"
)

const placeholder = `{"_placeholder":true,"num":`

// spelledOut returns a payload, as parser.Marshal makes it, as JSON alone: binary as Node's Buffer has it in JSON,
// {"type":"Buffer","data":[1,2]}.
func spelledOut(p parser.Payload) (json.RawMessage, error) {
	if len(p.Attachments) == 0 {
		return p.JSON, nil
	}
	var out []byte
	for rest := string(p.JSON); ; {
		// The placeholder cannot be part of a string, whose quotes are escaped.
		before, after, found := strings.Cut(rest, placeholder)
		out = append(out, before...)
		if !found {
			return out, nil
		}
		num, after, _ := strings.Cut(after, "}")
		n, err := strconv.Atoi(num)
		if err != nil || n < 0 || n >= len(p.Attachments) {
			return nil, parser.ErrAttachments
		}
		out = append(out, `{"type":"Buffer","data":[`...)
		for i, b := range p.Attachments[n] {
			if i > 0 {
				out = append(out, ',')
			}
			out = strconv.AppendUint(out, uint64(b), 10)
		}
		out = append(out, "]}"...)
		rest = after
	}
}
