// Package parser reads and writes Socket.IO v5 packets. It is made of pure functions over bytes: no connection, no
// goroutine, no clock.
//
// # Codecs
//
// A [Codec] is an encoding of packets between server and client. [JSON] is the default one, that of npm socket.io-parser
// 4.2.7, and the only one here; others are packages of their own or a user's. What every codec has in common is the
// [Payload], raw JSON with attachments, which is all that handlers, relays and other nodes see of a packet: see Codec for
// how another form becomes one. Marshalling and all that looks into payloads serves every codec.
//
// # Reading
//
// A [Decoder] per connection takes the text and binary messages in the order in which they arrived and returns a
// [Packet] when one is complete. The JSON of a packet is checked but stays raw: [Packet.Event], [Payload.Args] and
// [Payload.Unmarshal] look into it when somebody needs to, and a relay passes it on byte by byte, with its key order,
// its number spelling and its escaped lone surrogates.
//
// # Writing
//
// [Marshal], [MarshalArgs] and [MarshalEvent] turn Go values into a [Payload] as JSON.stringify would turn their
// JavaScript counterparts, and every []byte into a binary attachment. The Append method of a codec, which for JSON is
// [Packet.AppendText], puts the header in front. As in the reference there is no limit on what is written, but the decoders
// of current clients refuse more than ten attachments.
//
// # Differences from the reference
//
// The Decoder of JSON accepts and refuses what the npm Decoder accepts and refuses, except for these, all of them refused
// here:
//
//   - an acknowledgement id above 2^53-1, and one with white space between its digits (there the id is NaN);
//   - JSON nested deeper than [Limits].MaxDepth levels;
//   - a packet whose text and attachments together exceed [Limits].MaxBytes.
//
// And one is accepted with a slightly different result: a placeholder whose num is a fraction inside the range stands
// for undefined there and for null here, so that an object keeps the key when the packet is sent on.
//
// In writing, an attachment that a relayed payload names more than once is sent once, and plain data in the shape of a
// placeholder beside binary is an error; the reference sends it, and receivers misread it or disconnect.
//
// Text that is not valid UTF-8 is read as Node reads it, with U+FFFD in the place of what is invalid.
package parser
