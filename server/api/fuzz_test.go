package api

import (
	"encoding/json"
	"testing"
)

// FuzzPublication decodes and encodes what a caller may send. Whatever is accepted becomes JSON with as many attachments as it names.
func FuzzPublication(f *testing.F) {
	for _, seed := range []string{
		`{"all":true,"event":"a"}`, `{"rooms":["a"],"event":"a","args":[1,"x",{"$binary":"AA=="}]}`, `{"all":true,"event":"a","args":[{"\u0024binary":""},{"$binary":1}]}`,
		`{"all":true,"event":"a","args":[{"_placeholder":true,"num":0},{"$binary":"AA=="}]}`, `{"all":true,"event":"disconnect","args":[]}`, `{"users":[""],"event":""}`,
		`{"all":true,"event":"a","args":["$binary","x",{"a":{"$binary":"AA=="},"b":[{"$binary":"?"}]}]}`, `null`, `{"args":[[[[[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decode[publication](body)
		if err != nil {
			return
		}
		_ = p.selection.check()
		if _, err := p.encode(); err != nil {
			return
		}
		attachments := 0
		for _, raw := range p.Args {
			arg, err := argument(raw)
			if err != nil {
				t.Fatalf("%s was accepted, and then refused: %v", raw, err)
			}
			if !json.Valid(arg.JSON) {
				t.Fatalf("%s became %s", raw, arg.JSON)
			}
			attachments += len(arg.Attachments)
		}
		if attachments > maxAttachments {
			t.Fatalf("%s has %d attachments", body, attachments)
		}
	})
}
