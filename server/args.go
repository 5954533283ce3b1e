package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Args are the raw arguments of an event or acknowledgement. Given to Emit, or returned by a FuncAck function, they stand
// for all of their values: a relay keeps order, key order, number text and attachments.
type Args = parser.Args

// None stands for no argument.
type None struct{}

// Args2 stands for two arguments.
type Args2[T1, T2 any] struct {
	First  T1
	Second T2
}

// Args3 stands for three arguments.
type Args3[T1, T2, T3 any] struct {
	First  T1
	Second T2
	Third  T3
}

// tupleDecoder and tupleValues are implemented by the types that stand for a number of arguments other than one, the
// first by pointers to them.
type (
	tupleDecoder interface{ decode(args Args) error }
	tupleValues  interface{ append(list []any) []any }
)

func (*None) decode(Args) error      { return nil }
func (None) append(list []any) []any { return list }

func (a *Args2[T1, T2]) decode(args Args) error {
	return errors.Join(decodeArg(args, 0, &a.First), decodeArg(args, 1, &a.Second))
}

func (a Args2[T1, T2]) append(list []any) []any { return append(list, a.First, a.Second) }

func (a *Args3[T1, T2, T3]) decode(args Args) error {
	return errors.Join(decodeArg(args, 0, &a.First), decodeArg(args, 1, &a.Second), decodeArg(args, 2, &a.Third))
}

func (a Args3[T1, T2, T3]) append(list []any) []any { return append(list, a.First, a.Second, a.Third) }

func decodeArg[T any](args Args, i int, v *T) error {
	if i >= args.Len() {
		return invalidArgument(i, &json.UnmarshalTypeError{Value: "undefined", Type: reflect.TypeFor[T]()})
	}
	if raw, ok := any(v).(*parser.Payload); ok {
		*raw = args.At(i)
		return nil
	}
	if err := args.Unmarshal(i, v); err != nil {
		return invalidArgument(i, err)
	}
	return nil
}

// decodeArgs decodes an argument list into the type that a handler takes.
func decodeArgs[T any](args Args, v *T) error {
	switch t := any(v).(type) {
	case *Args:
		*t = args
		return nil
	case tupleDecoder:
		return t.decode(args)
	}
	return decodeArg(args, 0, v)
}

// decodeAck decodes the arguments of an acknowledgement. A client may acknowledge with nothing at all, which is
// JavaScript's undefined and here the zero value.
func decodeAck[T any](args Args, v *T) error {
	if args.Len() == 0 {
		return nil
	}
	return decodeArgs(args, v)
}

// spread replaces Args and tuples in an argument list by their values. The result is the caller's list if it has none.
func spread(args []any) []any {
	for i, a := range args {
		if !isList(a) {
			continue
		}
		out := append(make([]any, 0, len(args)+2), args[:i]...)
		for _, a := range args[i:] {
			out = appendSpread(out, a)
		}
		return out
	}
	return args
}

func isList(a any) bool {
	switch a.(type) {
	case Args, tupleValues:
		return true
	}
	return false
}

func appendSpread(out []any, a any) []any {
	switch t := a.(type) {
	case Args:
		for i := range t.Len() {
			out = append(out, t.At(i))
		}
		return out
	case tupleValues:
		return t.append(out)
	}
	return append(out, a)
}

// decodeValue decodes one value of the cluster.
func decodeValue[R any](v parser.Payload, r *R) error {
	if raw, ok := any(r).(*parser.Payload); ok {
		*raw = v
		return nil
	}
	if err := v.Unmarshal(r); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidArguments, err)
	}
	return nil
}
