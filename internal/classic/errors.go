package classic

import (
	"errors"
	"fmt"
)

// Errors of decoding, beside those of the formats themselves.
var (
	// ErrMalformed is wrapped by the errors of frames that Node would not send.
	ErrMalformed = errors.New("classic adapter: malformed message")
	// ErrUnknownRequest is wrapped by the error of a request of a type that 8.3 does not know. Node is silent then and so are
	// we: an answer without the key that Node awaits is worse than none, because it is counted and then does not complete the
	// call.
	ErrUnknownRequest = errors.New("classic adapter: unknown request type")

	errNoObject  = errors.New("not an object")
	errNoOptions = errors.New("neither an object nor a list")
)

// other says of what could not be read if it looks as if it were in another encoding than that of this node.
func (c *Codec) other(body []byte, err error) error {
	if err == nil || len(body) == 0 {
		return err
	}
	var like string
	switch first := body[0]; {
	case first == '[' || first == '{':
		like = nameJSON
	case first&0xf0 == 0x80, first&0xf0 == 0x90, first >= 0xdc && first <= 0xdf: // maps and arrays
		like = nameMessagePack
	}
	if like == "" || like == c.encoding.Name() {
		return err
	}
	return fmt.Errorf("it looks like %s, but the parser of this node is %s; nodes and emitters need the same one: %w", like, c.encoding.Name(), err)
}

func frameError(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// refused completes an error with who has sent the message, "" if it does not say so.
func refused(sender string, err error) error {
	cause := ErrMalformed
	if errors.Is(err, ErrUnknownRequest) {
		cause = ErrUnknownRequest
	}
	return &refusal{sender, cause, err}
}

// refusal is the error of a message of which the sender may be known.
type refusal struct {
	sender     string
	cause, err error
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("%v from %.40q", r.cause, r.sender)
	if r.err == r.cause {
		return text
	}
	return fmt.Sprintf("%s: %v", text, r.err)
}

func (r *refusal) Unwrap() []error { return []error{r.cause, r.err} }

// fieldError says in which field of a message something is wrong.
type fieldError struct {
	field string // with the names of those that it is in, such as opts.rooms
	err   error
}

// maxField is how much of the name of a field is told, in bytes.
const maxField = 40

func inField(name string, err error) error {
	if err == nil {
		return nil
	}
	if inner, ok := err.(*fieldError); ok {
		return &fieldError{name + "." + inner.field, inner.err}
	}
	return &fieldError{name, err}
}

func (e *fieldError) Error() string { return fmt.Sprintf("field %s: %v", e.field, e.err) }

func (e *fieldError) Unwrap() error { return e.err }
