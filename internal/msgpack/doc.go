// Package msgpack carries [parser.Payload] values, which are raw JSON with attachments, to and from MessagePack in the
// way the Node adapters do it, so that Go and Node nodes understand each other over Redis. It is made of pure functions
// over bytes.
//
// # Writing
//
// [AppendPayload] writes what a Node server would write that holds the same data as JavaScript values: notepack.io 3.0.1
// for the classic and the sharded adapter and the emitter ([Notepack]), @msgpack/msgpack 2.8 for the streams adapter
// ([MessagePack]). The bytes are the same:
//
//   - every number is a double first; whole ones take the smallest integer form, the others are float64. [MessagePack]
//     writes whole numbers beyond 2^53-1 as float64, [Notepack] up to 64 bits as integers;
//   - of equal keys of an object the last value stands at the place of the first, and keys that are array indices (0 to
//     4294967294) come first in ascending order, as in every JavaScript object;
//   - attachments are bin, null is nil, and a payload without JSON (undefined) is nil too.
//
// Four things differ on purpose:
//
//   - whole numbers beyond 64 bits are float64; notepack drops their upper bits, and the peer reads another number;
//   - a lone surrogate is U+FFFD in [Notepack], which is what the package writes in strings of more than 32 UTF-16
//     units; in shorter ones it merges the surrogate with the character behind it. [MessagePack] keeps lone surrogates
//     in strings of up to 200 units, as the package does;
//   - the key "__proto__" is left out. @msgpack/msgpack refuses a frame that has it, notepack makes its value the
//     object's prototype;
//   - the limit of nesting is [MaxWriteDepth] in both. The decoder of notepack, which throws in the middle of Node's
//     message handler, runs out of stack at about 3,500 levels; the encoder of @msgpack/msgpack refuses more than 100.
//
// # Reading
//
// [Decode] and [Reader] accept what both packages write, and the older forms of notepack 2:
//
//   - bin is an attachment, and so is ext 8, 16 or 32 of type 0 (an ArrayBuffer);
//   - ext -1 with 4, 8 or 12 bytes and fixext 8 of type 0 are dates: the ISO string that JSON.stringify makes of them,
//     null if they are beyond what a Date can hold;
//   - fixext 1 of type 0 is undefined: left out of objects, null in arrays, at the top a payload without JSON;
//   - any other extension is an array of its type and an attachment, as notepack reads it;
//   - NaN and the infinities are null; integers beyond 2^53 become the nearest double;
//   - invalid UTF-8 becomes U+FFFD as in Node's Buffer, only an encoded surrogate, which @msgpack/msgpack writes, is
//     kept in JSON's escaped form;
//   - a map key that is a number, nil, a boolean or bin becomes the string that JavaScript makes of it; another one is
//     [ErrKey]. The key "__proto__" is left out with its value;
//   - keys stay in the order of the frame and equal keys stay; JSON.parse makes the same object of it.
//
// A map in the shape of a placeholder beside bin cannot be told from an attachment and is [ErrPlaceholder].
//
// Every length is compared with what is left of the frame before anything is allocated for it. Frames that are cut short,
// go on after their value or pass a limit are errors, never panics.
package msgpack
