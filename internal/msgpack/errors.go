package msgpack

import "errors"

// Errors of writing.
var (
	// ErrPayload is returned for a payload whose JSON is malformed.
	ErrPayload = errors.New("msgpack: malformed JSON")
	// ErrAttachments is returned for a placeholder that stands for none of the attachments.
	ErrAttachments = errors.New("msgpack: illegal attachments")
)

// Errors of reading.
var (
	// ErrMalformed is returned for a frame that is cut short, declares more than it holds, or has a byte in the place of
	// a type that stands for none.
	ErrMalformed = errors.New("msgpack: malformed")
	// ErrTrailing is returned for bytes after the value.
	ErrTrailing = errors.New("msgpack: trailing bytes")
	// ErrKind is returned by a [Reader] when the next value is of another kind than the one asked for.
	ErrKind = errors.New("msgpack: value of another kind")
	// ErrKey is returned for a map key that is an array, a map or an extension.
	ErrKey = errors.New("msgpack: illegal map key")
	// ErrPlaceholder is returned for plain data in the shape of a placeholder beside binary data.
	ErrPlaceholder = errors.New("msgpack: data in the shape of a placeholder")
)

// Errors of both.
var (
	// ErrTooDeep is returned for nesting beyond [MaxWriteDepth] in writing, [Limits].MaxDepth in reading.
	ErrTooDeep = errors.New("msgpack: nested too deeply")
	// ErrTooLarge is returned for a frame longer than [Limits].MaxBytes, a value with more attachments than
	// [Limits].MaxAttachments, and in writing for 4 GiB and more.
	ErrTooLarge = errors.New("msgpack: too large")
)
