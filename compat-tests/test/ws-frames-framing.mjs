// Lengths, chopping, control frames, reserved bits and opcodes, fragmentation, masking, limits.
import { BINARY, CONTINUATION, PING, PONG, RSV1, RSV2, RSV3, TEXT, chop, closeFrame, fragments, frame } from "./lib/rawws.mjs";

const letters = (n) => "abcdefghij".repeat(Math.ceil(n / 10)).slice(0, n);
// An Engine.IO message of n bytes as a text frame: one byte is the packet type.
const message = (n) => (n === 0 ? "" : "4" + letters(n - 1));
const one = (name, bytes, rest = {}) => ({ name, send: [bytes].flat(), ...rest });

const sizes = [0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 4095, 4096, 65535, 65536, 65537, 200000];
const lengths = sizes.flatMap((n) => [
  // An empty text frame is no Engine.IO packet: the server closes.
  one(`text of ${n} bytes`, frame(TEXT, message(n)), n ? {} : { finish: "answer" }),
  one(`binary of ${n} bytes`, frame(BINARY, Buffer.alloc(n, 0xfe))),
]);

const choppings = [[1, 1], [10, 1], [125, 1], [126, 1], [300, 1], [1000, 1], [65535, 997], [65536, 997], [65536, 4096], [200000, 65536]];
const chopped = choppings.flatMap(([n, size]) => [
  one(`text of ${n} bytes in pieces of ${size}`, chop(frame(TEXT, message(n)), size)),
  one(`binary of ${n} bytes in pieces of ${size}`, chop(frame(BINARY, Buffer.alloc(n, 7)), size)),
]);

const encodings = [
  one("5 bytes with a 16-bit length", frame(TEXT, message(5), { length: 16 })),
  one("5 bytes with a 64-bit length", frame(TEXT, message(5), { length: 64 })),
  one("300 bytes with a 64-bit length", frame(BINARY, letters(300), { length: 64 })),
  one("no bytes with a 64-bit length", frame(BINARY, "", { length: 64 })),
  one("no bytes with a 16-bit length, in single bytes", chop(frame(BINARY, "", { length: 16 }), 1)),
  one("ping with a 16-bit length", frame(PING, "p", { length: 16 }), { finish: "end" }),
  one("ping with a 64-bit length", frame(PING, "p", { length: 64 }), { finish: "end" }),
  one("mask of zeros", frame(TEXT, message(20), { mask: Buffer.alloc(4) })),
  one("mask of ones", frame(TEXT, message(20), { mask: Buffer.alloc(4, 255) })),
  one("mask with one byte", frame(TEXT, message(20), { mask: Buffer.from([0, 0, 1, 0]) })),
  ...[2n ** 63n, 2n ** 63n + 5n, 2n ** 64n - 1n, 2n ** 53n, 2n ** 53n - 1n, 2n ** 32n, 2n ** 32n + 1n, 2n ** 31n, 2n ** 31n - 1n].map((n) =>
    one(`length ${n}`, frame(BINARY, "x", { length: n }), { finish: "end" }),
  ),
  one("length with the top bit in single bytes", chop(frame(BINARY, "", { length: 2n ** 63n + 1n }), 1), { finish: "end" }),
];

const batches = [
  one("two messages in one write", Buffer.concat([frame(TEXT, "4a"), frame(TEXT, "4b")])),
  one("twenty messages in one write", Buffer.concat(Array.from({ length: 20 }, (_, i) => frame(i % 2 ? BINARY : TEXT, `4message ${i}`)))),
  one("twenty messages in pieces of 7", chop(Buffer.concat(Array.from({ length: 20 }, (_, i) => frame(TEXT, `4message ${i}`))), 7)),
];

const pings = [
  one("ping", frame(PING, "hello"), { finish: "ping" }),
  one("ping without a payload", frame(PING)),
  one("ping with a payload that is no text", frame(PING, Buffer.from([0, 0xff, 0xfe, 0xc0]))),
  one("ping of 125 bytes", frame(PING, letters(125))),
  one("ping of 125 bytes in single bytes", chop(frame(PING, letters(125)), 1)),
  one("ping of 126 bytes", frame(PING, letters(126)), { finish: "end" }),
  one("ping of 70,000 bytes", frame(PING, letters(70000)), { finish: "end" }),
  one("ten pings", Buffer.concat(Array.from({ length: 10 }, (_, i) => frame(PING, `ping ${i}`)))),
  one("ten pings in single bytes", chop(Buffer.concat(Array.from({ length: 10 }, (_, i) => frame(PING, `ping ${i}`))), 1)),
  one("pong that nobody asked for", frame(PONG, "hello")),
  one("empty pong", frame(PONG)),
  one("pong of 126 bytes", frame(PONG, letters(126)), { finish: "end" }),
  one("pong, then ping", Buffer.concat([frame(PONG, "a"), frame(PING, "b")])),
  one("ping without FIN", frame(PING, "a", { fin: false }), { finish: "end" }),
  one("pong without FIN", frame(PONG, "a", { fin: false }), { finish: "end" }),
  one("message, then ping of 126 bytes", Buffer.concat([frame(TEXT, "4a"), frame(PING, letters(126))]), { finish: "end" }),
];

const bits = [RSV1, RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV2 | RSV3];
const reserved = [
  ...[["text", TEXT], ["binary", BINARY], ["ping", PING], ["pong", PONG], ["close", 8]].flatMap(([name, opcode]) =>
    bits.map((rsv) => one(`reserved bits ${rsv} on ${name}`, frame(opcode, "", { rsv }), { finish: "end" })),
  ),
  one("reserved bits on a continuation", Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(CONTINUATION, "b", { rsv: RSV2 })]), { finish: "end" }),
  one("reserved bits in the second message", Buffer.concat([frame(TEXT, "4a"), frame(TEXT, "4b", { rsv: RSV3 })]), { finish: "end" }),
  one("reserved bits in single bytes", chop(frame(TEXT, "4a", { rsv: RSV1 }), 1), { finish: "end" }),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].flatMap((opcode) => [
    one(`opcode ${opcode}`, frame(opcode), { finish: "end" }),
    one(`opcode ${opcode} with a payload, after a message`, Buffer.concat([frame(TEXT, "4a"), frame(opcode, "payload")]), { finish: "end" }),
  ]),
  one("opcode 3 without FIN", frame(3, "a", { fin: false }), { finish: "end" }),
];

const masking = [
  one("text without a mask", frame(TEXT, "4a", { mask: null }), { finish: "end" }),
  one("binary without a mask", frame(BINARY, "a", { mask: null }), { finish: "end" }),
  one("ping without a mask", frame(PING, "a", { mask: null }), { finish: "end" }),
  one("close without a mask", frame(8, "", { mask: null }), { finish: "end" }),
  one("continuation without a mask", Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(CONTINUATION, "b", { mask: null })]), { finish: "end" }),
];

const fragmentation = [
  one("two fragments", fragments(TEXT, ["4hello ", "world"])),
  one("two binary fragments", fragments(BINARY, ["hello ", "world"])),
  one("fragments in single bytes", chop(fragments(TEXT, ["4hello ", "world"]), 1)),
  one("empty first fragment", fragments(TEXT, ["", "4a"])),
  one("empty last fragment", fragments(TEXT, ["4a", ""])),
  one("empty fragments around", fragments(TEXT, ["", "4", "", "a", ""])),
  one("only empty binary fragments", fragments(BINARY, ["", "", ""])),
  one("a hundred fragments", fragments(BINARY, Array.from({ length: 100 }, (_, i) => `part ${i} `))),
  one("ten thousand tiny fragments", fragments(BINARY, Array(10000).fill("x"))),
  one("as many fragments as allowed", fragments(BINARY, Array(16384).fill("x"))),
  one("one fragment too many", fragments(BINARY, Array(16385).fill("x")), { finish: "end" }),
  one("one fragment too many, all empty", fragments(BINARY, Array(16385).fill("")), { finish: "end" }),
  one("too many fragments without an end", Buffer.concat([frame(TEXT, "4", { fin: false }), ...Array(16384).fill(frame(CONTINUATION, "x", { fin: false }))]), { finish: "end" }),
  one("large fragments", fragments(BINARY, [letters(70000), letters(70000), letters(1)])),
  one("ping between fragments", Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(PING, "p"), frame(CONTINUATION, "b")])),
  one("ping between fragments in single bytes", chop(Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(PING, "p"), frame(CONTINUATION, "b")]), 1)),
  one("pings between all fragments", Buffer.concat([0, 1, 2, 3].flatMap((i) => [frame(i ? CONTINUATION : TEXT, `4${i}`, { fin: i === 3 }), frame(PING, `${i}`)]))),
  one("pong between fragments", Buffer.concat([frame(BINARY, "a", { fin: false }), frame(PONG, "p"), frame(CONTINUATION, "b")])),
  one("close between fragments", Buffer.concat([frame(TEXT, "4a", { fin: false }), closeFrame(1000), frame(CONTINUATION, "b")]), { finish: "end" }),
  one("open message answers pings", frame(TEXT, "4a", { fin: false }), { finish: "ping" }),
  one("continuation of nothing", frame(CONTINUATION, "a"), { finish: "end" }),
  one("continuation of nothing without FIN", frame(CONTINUATION, "a", { fin: false }), { finish: "end" }),
  one("continuation after a whole message", Buffer.concat([frame(TEXT, "4a"), frame(CONTINUATION, "b")]), { finish: "end" }),
  one("continuation after a fragmented message", Buffer.concat([fragments(TEXT, ["4a", "b"]), frame(CONTINUATION, "c")]), { finish: "end" }),
  one("text inside a message", Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(TEXT, "4b")]), { finish: "end" }),
  one("binary inside a message", Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(BINARY, "b")]), { finish: "end" }),
  one("open text inside an empty open message", Buffer.concat([frame(TEXT, "", { fin: false }), frame(TEXT, "4b", { fin: false })]), { finish: "end" }),
  one("two fragmented messages", Buffer.concat([fragments(TEXT, ["4a", "b"]), fragments(BINARY, ["c", "d"])])),
  one("fragmented, then whole", Buffer.concat([fragments(TEXT, ["4a", "b"]), frame(TEXT, "4c")])),
];

const small = (name, bytes, rest = {}) => one(`limit 1000: ${name}`, bytes, { server: "small", ...rest });
const limits = [
  small("text of 1000", frame(TEXT, message(1000))),
  small("text of 1001", frame(TEXT, message(1001)), { finish: "end" }),
  small("binary of 1000", frame(BINARY, letters(1000))),
  small("binary of 1001", frame(BINARY, letters(1001)), { finish: "end" }),
  small("binary of 1001 in single bytes", chop(frame(BINARY, letters(1001)), 1), { finish: "end" }),
  small("only the header of 1001", frame(BINARY, letters(1001)).subarray(0, 4), { finish: "end" }),
  small("a million bytes", frame(BINARY, letters(1000000)), { finish: "end" }),
  small("fragments of 1000 in all", fragments(BINARY, [letters(500), letters(500)])),
  small("fragments of 1001 in all", fragments(BINARY, [letters(500), letters(501)]), { finish: "end" }),
  small("fragments of 1001 in all, with an empty one", fragments(BINARY, [letters(1000), "", "x"]), { finish: "end" }),
  small("ping after 1000 bytes of an open message", Buffer.concat([frame(BINARY, letters(1000), { fin: false }), frame(PING, letters(125))]), { finish: "ping" }),
  small("two messages of 1000", Buffer.concat([frame(BINARY, letters(1000)), frame(BINARY, letters(1000))])),
  small("message, then one that is too long", Buffer.concat([frame(TEXT, "4a"), frame(TEXT, message(1001))]), { finish: "end" }),
  small("violation behind one that is too long", Buffer.concat([frame(TEXT, message(1001)), frame(3)]), { finish: "end" }),
  one("default limit: 1,000,000", frame(BINARY, letters(1000000))),
  one("default limit: 1,000,001", frame(BINARY, letters(1000001)), { finish: "end" }),
];

export const framing = [...lengths, ...chopped, ...encodings, ...batches, ...pings, ...reserved, ...masking, ...fragmentation, ...limits];
