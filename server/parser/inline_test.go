package parser

import (
	"errors"
	"strings"
	"testing"
)

func TestInline(t *testing.T) {
	for _, tt := range []struct {
		name, text  string
		attachments [][]byte
		want        string
		err         error
	}{
		{name: "undefined"},
		{name: "no attachments", text: `[{"_placeholder":true,"num":0}]`, want: `[{"_placeholder":true,"num":0}]`},
		{
			name: "nested", text: ` ["a",{"b":[{"_placeholder":true,"num":1}],"c":{"num":0,"_placeholder":true}}]`,
			attachments: [][]byte{{0, 255}, {}},
			want:        ` ["a",{"b":[{"type":"Buffer","data":[]}],"c":{"type":"Buffer","data":[0,255]}}]`,
		},
		{name: "alone", text: `{"_placeholder":true,"num":0}`, attachments: [][]byte{{7}}, want: `{"type":"Buffer","data":[7]}`},
		{name: "fraction", text: `[{"_placeholder":true,"num":0.5}]`, attachments: [][]byte{{7}}, want: `[null]`},
		{name: "unused", text: `[1]`, attachments: [][]byte{{7}}, want: `[1]`},
		{name: "out of range", text: `[{"_placeholder":true,"num":1}]`, attachments: [][]byte{{7}}, err: ErrAttachments},
		{name: "malformed", text: `[`, attachments: [][]byte{{7}}, err: ErrPayload},
		{name: "deep", text: strings.Repeat("[", 5000) + strings.Repeat("]", 5000), attachments: [][]byte{{7}}, err: ErrTooDeep},
		{
			name: "repeated", text: `[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`,
			attachments: [][]byte{{7}}, err: ErrTooLarge,
		},
	} {
		p, err := Payload{JSON: []byte(tt.text), Attachments: tt.attachments}.Inline()
		if !errors.Is(err, tt.err) || string(p.JSON) != tt.want || len(p.Attachments) > 0 {
			t.Errorf("%s: %s, %d attachments, error %v; want %s, error %v", tt.name, p.JSON, len(p.Attachments), err, tt.want, tt.err)
		}
	}
}
