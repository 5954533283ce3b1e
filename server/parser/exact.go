package parser

import (
	"bytes"
	"encoding"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

var (
	unmarshalerType     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// unmarshalExact is json.Unmarshal with what [Payload.Unmarshal] says about lone surrogates and whole numbers.
func unmarshalExact(text json.RawMessage, v any) error {
	if err := checkJSON(text, maxDepth); err != nil {
		return err
	}
	return Payload{JSON: text}.fill(reflect.ValueOf(v).Elem())
}

// maxWhole is the number of digits of the longest integers that Go has.
const maxWhole = 20

// isWhole tells whether text is a JSON number that is an integer and is not spelled like one in Go.
func isWhole(text []byte) bool {
	_, ok := wholeText(text)
	return ok
}

// wholeText spells a JSON number that is an integer of at most 20 digits as Go does. ok is false if it is none, or is
// spelled so already.
func wholeText(text []byte) (whole string, ok bool) {
	unsigned := bytes.TrimPrefix(text, []byte("-"))
	if len(unsigned) == 0 || !jsontext.IsDigit(unsigned[0]) {
		return "", false
	}
	negative := len(unsigned) < len(text)
	if plain := len(bytes.TrimLeft(unsigned, "0123456789")) == 0; plain && string(text) != "-0" || jsontext.ScanNumber(text, 0) != len(text) {
		return "", false
	}
	mantissa, exponent := splitNumber(string(unsigned))
	digits, fraction, _ := strings.Cut(mantissa, ".")
	digits += fraction
	point := len(digits) - len(fraction) + exponent // where the decimal point stands
	padded := len(digits)
	digits = strings.TrimLeft(digits, "0")
	point -= padded - len(digits)
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return "0", true
	}
	if point < len(digits) || point > maxWhole {
		return "", false
	}
	digits += strings.Repeat("0", point-len(digits))
	if negative {
		digits = "-" + digits
	}
	return digits, true
}

// splitNumber splits a number without a sign. An exponent that no integer can have is a large one.
func splitNumber(text string) (mantissa string, exponent int) {
	i := strings.IndexAny(text, "eE")
	if i < 0 {
		return text, 0
	}
	exponent, err := strconv.Atoi(text[i+1:])
	const large = math.MaxInt32
	if err != nil || exponent > large || exponent < -large {
		exponent = large
		if text[i+1] == '-' {
			exponent = -large
		}
	}
	return text[:i], exponent
}

func holdsBinary(list []placeholder) bool {
	for _, f := range list {
		if f.kind == kindBinary {
			return true
		}
	}
	return false
}

// fillFound stores what was found at s, which is no part of anything that was found too.
func (d *filler) fillFound(v reflect.Value, s span, f placeholder) error {
	switch f.kind {
	case kindBinary:
		return d.fillBinary(v, s, f)
	case kindText:
		return d.fillText(v, s)
	case kindWhole:
		return d.fillWhole(v, s)
	}
	return d.mismatch(v, s)
}

// fillText stores a string with a lone surrogate.
func (d *filler) fillText(v reflect.Value, s span) error {
	if v.Addr().Type().Implements(unmarshalerType) || v.Type() == numberType {
		return json.Unmarshal(d.span(s), v.Addr().Interface())
	}
	text, err := unquote(d.span(s))
	if err != nil {
		return err
	}
	u, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case ok:
		return u.UnmarshalText([]byte(text))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Interface && v.NumMethod() == 0:
		v.Set(reflect.ValueOf(text))
	default:
		return json.Unmarshal(d.span(s), v.Addr().Interface())
	}
	return nil
}

// fillWhole stores a whole number. Targets that are no integers are left to encoding/json.
func (d *filler) fillWhole(v reflect.Value, s span) error {
	p := v.Addr().Type()
	if p.Implements(unmarshalerType) || p.Implements(textUnmarshalerType) {
		return json.Unmarshal(d.span(s), v.Addr().Interface())
	}
	text, _ := wholeText(d.span(s))
	switch {
	case v.CanInt():
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v.OverflowInt(n) {
			return d.mismatch(v, s)
		}
		v.SetInt(n)
	case v.CanUint():
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || v.OverflowUint(n) {
			return d.mismatch(v, s)
		}
		v.SetUint(n)
	default:
		return json.Unmarshal(d.span(s), v.Addr().Interface())
	}
	return nil
}
