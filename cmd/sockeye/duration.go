package main

import (
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
)

// durations reads the flags that are durations. Node's options are in milliseconds, so that a number without a unit is asked
// about instead of guessed.
var durations = kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(
	func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
			return err
		}
		d, err := parseDuration(text)
		if err != nil {
			return err
		}
		target.Set(reflect.ValueOf(d))
		return nil
	}))

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil {
		return d, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	switch limit := time.Duration(1<<63 - 1).Seconds(); {
	case err != nil || n != n || n >= limit || n <= -limit:
		return 0, fmt.Errorf("%q is no duration, want one such as 10s, 1m30s or 500ms", text)
	case n >= 1000 || n <= -1000:
		return 0, fmt.Errorf("%q has no unit, want %vs or %vms", text, decimal(n/1000), decimal(n))
	}
	return 0, fmt.Errorf("%q has no unit, want %vs or %vms", text, decimal(n), decimal(n*1000))
}

// decimal writes a number as a duration may have it, without an exponent.
func decimal(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
