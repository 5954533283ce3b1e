package parser

// Codec is an encoding of Socket.IO packets between a server and its clients: the counterpart of the option parser of the
// npm packages socket.io and socket.io-client. [JSON] is the default. A codec holds no state of a connection, and its
// methods may be called from any goroutine.
//
// # Payloads
//
// Behind a codec everything is a [Payload]: handlers, acknowledgements, middlewares, relays and the messages between nodes
// know no codec. A codec turns its own form into a Payload where a packet comes in and back where it goes out, once for
// all clients that speak it. The shortest way is through Go values: [Marshal] or [MarshalArgs] in, [Payload.Unmarshal]
// out, at the price of key order and of numbers beyond 2^53. A codec that goes from text to bytes by itself keeps to these
// rules, in both directions:
//
//   - Undefined, a packet without data, is a Payload without JSON. It is not null.
//   - A binary value is an attachment. A [Decoder] numbers the attachments from 0 and puts the placeholder
//     {"_placeholder":true,"num":n} where number n belongs. Append puts the attachment in the place of each placeholder;
//     one attachment may have several. Without attachments such an object is plain data.
//   - A number is its text. Append writes what JSON.parse would read, which has the precision of a double; a Decoder
//     writes what JSON.stringify would, null for NaN and the infinities. A codec that has whole numbers of 64 bits may
//     keep their digits.
//   - A string is UTF-8 with JSON's escapes. A lone surrogate, which JavaScript's strings may hold and UTF-8 may not,
//     stands in JSON as its escape (\ud800). A codec without such a form writes U+FFFD in its place. A Decoder writes the
//     escape, or U+FFFD, and never the three bytes that would be its UTF-8.
//   - Keys keep their order, and of equal keys the last counts. A date is the string of Date.prototype.toISOString.
//
// # Several codecs in one server
//
// A Node server has one parser for all its clients. Here browsers can speak JSON and games something shorter, in one room:
// a server takes a list, see the option Codecs of package server, and asks each codec in turn whether it Recognizes the
// first message of a connection. The client has to be set up for its encoding and for nothing else; a query parameter
// would be a second setting, and one that can contradict what is sent. The first message is soon enough, because in
// protocol v5 the client speaks first: the server has sent nothing that would have needed the codec. Codecs whose
// first messages cannot be told apart do not go together in one server.
type Codec interface {
	// NewDecoder returns the decoder for a connection.
	NewDecoder() Decoder

	// Append appends a packet to dst, as append does, and says in which form it is to be sent. p.Type is never BinaryEvent
	// or BinaryAck, and only Event and Ack have attachments. The payload is shared and must not be changed; the packet
	// comes by value so that it need not leave the sender's stack. The server copies out, and keeps its memory for the next
	// dst.
	//
	// After an error the recipients miss the packet, and a call that sends to one client returns the error. A client that
	// cannot be told of its own CONNECT or DISCONNECT is disconnected.
	Append(dst []byte, p Packet) (out []byte, form Form, err error)

	// Recognizes reports whether first, a text or a binary message, can begin a connection in this codec. A server with
	// one codec does not ask.
	Recognizes(first []byte, binary bool) bool
}

// Form says how a packet that [Codec].Append has appended is sent.
type Form uint8

const (
	// TextWithAttachments is a text, followed by the packet's Attachments as one binary message each.
	TextWithAttachments Form = iota
	// TextAlone is a text that has everything in it.
	TextAlone
	// BinaryAlone is a binary message that has everything in it.
	BinaryAlone
)

// Decoder puts the packets of one connection together. It is for one goroutine at a time. After an error the connection is
// closed, as Node does, and the Decoder not used again.
//
// A packet that it returns, best taken from [NewPacket], belongs to the caller, who may change and recycle it, and passes
// [Packet.Check]. lim has every field filled in; it comes with each call so that an idle connection need not keep it.
type Decoder interface {
	// Text takes a text message, without the Engine.IO digit, and returns the packet that it completes, or nil and no error
	// when other messages have to follow. data is only borrowed.
	Text(lim *Limits, data []byte) (*Packet, error)

	// Binary does the same with a binary message.
	Binary(lim *Limits, data []byte) (*Packet, error)

	// Incomplete returns the namespace of the packet that further messages have to complete, and the bytes that are kept for
	// it; "" and 0 if there is none. A packet whose namespace the client has not joined is not waited for.
	Incomplete() (namespace string, bytes int64)
}

// JSON is the codec of npm's socket.io-parser, which every client speaks unless it is told otherwise: a text in JSON, with
// the attachments behind it.
type JSON struct{}

// NewDecoder returns a decoder that accepts what the npm Decoder accepts, but for what the package's notes say.
func (JSON) NewDecoder() Decoder { return new(jsonDecoder) }

// Append is [Packet.AppendText].
func (JSON) Append(dst []byte, p Packet) ([]byte, Form, error) {
	return p.AppendText(dst), TextWithAttachments, nil
}

// Recognizes reports whether the message is a CONNECT packet.
func (JSON) Recognizes(first []byte, binary bool) bool {
	return !binary && len(first) > 0 && first[0] == '0'+byte(Connect)
}
