package parser

import "errors"

// Errors of Decoders. Node closes the connection with the reason "parse error" on each of them.
var (
	// ErrUnknownType is returned for a text that starts with anything but a packet type.
	ErrUnknownType = errors.New("unknown packet type")
	// ErrAttachments is returned for an attachment count that is not a positive integer, and for a placeholder that
	// stands for none of the attachments.
	ErrAttachments = errors.New("illegal attachments")
	// ErrTooManyAttachments is returned for an attachment count above [Limits].MaxAttachments.
	ErrTooManyAttachments = errors.New("too many attachments")
	// ErrTooLarge is returned when an incomplete packet would hold more than [Limits].MaxBytes, and by [Payload.Unmarshal].
	ErrTooLarge = errors.New("packet with attachments too large")
	// ErrPayload is returned for JSON that is malformed or of the wrong kind for its packet type.
	ErrPayload = errors.New("invalid payload")
	// ErrTooDeep is returned for JSON nested deeper than [Limits].MaxDepth, and by the Marshal functions for values
	// nested deeper than 4096 levels or containing themselves.
	ErrTooDeep = errors.New("nested too deeply")
	// ErrID is returned for an acknowledgement id that is not an integer up to 2^53-1.
	ErrID = errors.New("illegal acknowledgement id")
	// ErrNamespace is returned by [Packet.Check] for a namespace that has no leading slash, holds a comma or is not UTF-8.
	ErrNamespace = errors.New("illegal namespace")
	// ErrUnexpectedText is returned for a text while attachments are awaited.
	ErrUnexpectedText = errors.New("text while attachments are awaited")
	// ErrUnexpectedBinary is returned for a binary message while none is awaited.
	ErrUnexpectedBinary = errors.New("binary message while none is awaited")
	// ErrNoEvent is returned by [Packet.Event] for a packet that carries no event name.
	ErrNoEvent = errors.New("packet carries no event")
)
