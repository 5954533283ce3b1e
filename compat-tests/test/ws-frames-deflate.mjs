// permessage-deflate: negotiation, good and bad compressed messages, limits.
import zlib from "node:zlib";
import { BINARY, CLOSE, CONTINUATION, PING, RSV1, RSV2, TEXT, chop, deflate, fragments, frame } from "./lib/rawws.mjs";

const PMD = "permessage-deflate";
const one = (name, bytes, rest = {}) => ({ name, send: [bytes].flat(), server: "deflate", offer: PMD, ...rest });
const compressed = (data, opcode = TEXT) => frame(opcode, deflate(data), { rsv: RSV1 });

const hello = "4hello hello hello hello";
const long = "4" + JSON.stringify(Array.from({ length: 200 }, (_, i) => ({ user: "alice", n: i })));
const finalBlock = (data) => zlib.deflateRawSync(Buffer.from(data));

// Each parameter alone, in pairs, twice, with values in and out of range. Both sides answer "no context takeover".
const offers = [
  PMD,
  `${PMD}; client_max_window_bits`,
  ...[8, 9, 12, 15].flatMap((n) => [`${PMD}; client_max_window_bits=${n}`, `${PMD}; server_max_window_bits=${n}`]),
  `${PMD}; server_no_context_takeover`,
  `${PMD}; client_no_context_takeover`,
  `${PMD}; client_no_context_takeover; server_no_context_takeover`,
  `${PMD}; server_max_window_bits=10; client_max_window_bits; client_no_context_takeover`,
  `${PMD}; client_max_window_bits="10"`,
  `${PMD};client_max_window_bits ;server_no_context_takeover`,
  `${PMD}; server_max_window_bits=9, ${PMD}`,
  `x-webkit-deflate-frame, ${PMD}; client_max_window_bits`,
  "foo; bar=1",
  "PERMESSAGE-DEFLATE",
];
const negotiation = [
  ...offers.map((offer) => one(`offer ${offer}`, frame(TEXT, "4" + long), { offer })),
  one("no offer", frame(TEXT, "4" + long), { offer: undefined }),
  one("offer to a server without the extension", frame(TEXT, hello), { server: "plain" }),
  one("compressed message to a server without the extension", compressed(hello), { server: "plain", finish: "end" }),
  one("compressed message after no offer", compressed(hello), { offer: undefined, finish: "end" }),
];

const messages = [
  one("compressed text", compressed(hello)),
  one("compressed binary", compressed(Buffer.alloc(300, 5), BINARY)),
  one("compressed empty binary", compressed("", BINARY)),
  one("compressed empty text", compressed(""), { finish: "answer" }),
  one("compressed message without a byte", frame(BINARY, "", { rsv: RSV1 })),
  one("compressed long text", compressed(long)),
  one("compressed long text in pieces of 100", chop(compressed(long), 100)),
  one("compressed text in single bytes", chop(compressed(hello), 1)),
  one("not compressed", frame(TEXT, hello)),
  one("long and not compressed", frame(TEXT, long)),
  one("at the threshold", frame(TEXT, "4" + "x".repeat(1023))),
  one("below the threshold", frame(TEXT, "4" + "x".repeat(1022))),
  one("binary above the threshold", frame(BINARY, Buffer.alloc(5000, 3))),
  one("compressed and plain in turn", Buffer.concat([compressed(hello), frame(TEXT, "4a"), compressed(long), frame(BINARY, "b")])),
  one("the same message ten times", Buffer.concat(Array(10).fill(compressed(hello)))),
  one("stored block", frame(TEXT, deflate(hello, { level: 0 }), { rsv: RSV1 })),
  one("fixed codes", frame(TEXT, deflate(hello, { strategy: zlib.constants.Z_FIXED }), { rsv: RSV1 })),
  one("Huffman only", frame(TEXT, deflate(long, { strategy: zlib.constants.Z_HUFFMAN_ONLY }), { rsv: RSV1 })),
  one("small window", frame(TEXT, deflate(long, { windowBits: 9 }), { rsv: RSV1 }), { offer: `${PMD}; client_max_window_bits=9` }),
  one("final block", frame(TEXT, finalBlock(hello), { rsv: RSV1 })),
  one("final block and an empty one", frame(TEXT, Buffer.concat([finalBlock(hello), Buffer.from([0])]), { rsv: RSV1 })),
  one("final block, then another message", Buffer.concat([frame(TEXT, finalBlock(hello), { rsv: RSV1 }), compressed(hello)])),
  one("bytes behind a final block", frame(TEXT, Buffer.concat([finalBlock(hello), deflate("more")]), { rsv: RSV1 })),
  one("a megabyte of nothing", compressed(Buffer.alloc(1000000), BINARY)),
  one("noise", compressed(zlib.deflateSync(Buffer.from(long)), BINARY)),
];

const whole = deflate(hello);
const fragmented = [
  one("two compressed fragments", fragments(TEXT, [whole.subarray(0, 9), whole.subarray(9)], { rsv: RSV1 })),
  one("each compressed byte a fragment", fragments(TEXT, chop(whole, 1), { rsv: RSV1 })),
  one("empty compressed fragments", fragments(TEXT, ["", whole, ""], { rsv: RSV1 })),
  one("ping between compressed fragments", Buffer.concat([frame(TEXT, whole.subarray(0, 9), { rsv: RSV1, fin: false }), frame(PING, "p"), frame(CONTINUATION, whole.subarray(9))])),
  one("compressed long text in fragments of 50", fragments(TEXT, chop(deflate(long), 50), { rsv: RSV1 })),
  one("open compressed message", frame(TEXT, whole, { rsv: RSV1, fin: false }), { finish: "ping" }),
  one("RSV1 on a continuation", Buffer.concat([frame(TEXT, whole.subarray(0, 9), { rsv: RSV1, fin: false }), frame(CONTINUATION, whole.subarray(9), { rsv: RSV1 })]), { finish: "end" }),
  one("RSV1 on a continuation of a plain message", Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(CONTINUATION, whole, { rsv: RSV1 })]), { finish: "end" }),
];

const bad = [
  one("RSV1 on a ping", frame(PING, "a", { rsv: RSV1 }), { finish: "end" }),
  one("RSV1 on a close", frame(CLOSE, "", { rsv: RSV1 }), { finish: "end" }),
  one("RSV2 beside RSV1", frame(TEXT, whole, { rsv: RSV1 | RSV2 }), { finish: "end" }),
  one("reserved block type", frame(TEXT, Buffer.from([6]), { rsv: RSV1 }), { finish: "end" }),
  one("reserved block type in an open fragment", frame(TEXT, Buffer.from([6]), { rsv: RSV1, fin: false }), { finish: "end" }),
  one("good fragment, then a bad one", Buffer.concat([frame(TEXT, whole, { rsv: RSV1, fin: false }), frame(CONTINUATION, Buffer.from([0, 6, 6, 6, 6, 6]), { fin: false })]), { finish: "end" }),
  one("lengths of a stored block", frame(TEXT, Buffer.from([0, 5, 0, 5, 0, 1, 2, 3, 4, 5]), { rsv: RSV1 }), { finish: "end" }),
  one("distance beyond the start", frame(TEXT, Buffer.from([0x4b, 0x04, 0x62, 0x00]), { rsv: RSV1 }), { finish: "end" }),
  one("context of the message before", contextual(), { finish: "end" }),
  one("not compressed at all", frame(TEXT, hello, { rsv: RSV1 }), { finish: "end" }),
  one("random bytes", frame(BINARY, Buffer.from("ffeeddccbbaa99887766554433221100", "hex"), { rsv: RSV1 }), { finish: "end" }),
  one("cut in the middle", frame(BINARY, deflate(long).subarray(0, 100), { rsv: RSV1 })),
  one("stored block without its bytes", frame(BINARY, Buffer.from([0, 10, 0, 0xf5, 0xff, 65, 66, 67]), { rsv: RSV1 })),
  one("text that is not UTF-8", compressed(Buffer.from([0x34, 0xff])), { finish: "end" }),
  one("text that is not UTF-8, in two fragments", fragments(TEXT, chop(deflate(Buffer.from([0x34, 0xed, 0xa0, 0x80])), 3), { rsv: RSV1 }), { finish: "end" }),
  one("bad packet", compressed("x"), { finish: "answer" }),
];

// The second message refers to the first, which no context takeover forbids.
function contextual() {
  const stream = (data, dictionary) => zlib.deflateRawSync(data, { finishFlush: zlib.constants.Z_SYNC_FLUSH, dictionary }).subarray(0, -4);
  const noise = zlib.deflateSync(Buffer.from(long)).subarray(0, 200);
  return Buffer.concat([frame(BINARY, stream(noise), { rsv: RSV1 }), frame(BINARY, stream(noise, noise), { rsv: RSV1 })]);
}

const bomb = (n) => deflate(Buffer.alloc(n, 120));
const small = (name, bytes, rest = {}) => one(`limit 1000: ${name}`, bytes, { server: "small deflate", ...rest });
const limits = [
  small("inflates to 1000", frame(BINARY, bomb(1000), { rsv: RSV1 })),
  small("inflates to 1001", frame(BINARY, bomb(1001), { rsv: RSV1 }), { finish: "end" }),
  small("inflates to 900,000", frame(BINARY, bomb(900000), { rsv: RSV1 }), { finish: "end" }),
  small("inflates to 1001 in an open fragment", frame(BINARY, bomb(1001), { rsv: RSV1, fin: false }), { finish: "end" }),
  small("inflates to 1001 over two fragments", fragments(BINARY, chop(bomb(1001), 5), { rsv: RSV1 }), { finish: "end" }),
  small("compressed form of 1001 bytes", frame(BINARY, Buffer.alloc(1001), { rsv: RSV1 }), { finish: "end" }),
  small("two messages of 1000", Buffer.concat(Array(2).fill(frame(BINARY, bomb(1000), { rsv: RSV1 })))),
  one("inflates to 1,000,001", frame(BINARY, bomb(1000001), { rsv: RSV1 }), { finish: "end" }),
  one("inflates to 100 MB", frame(BINARY, bomb(100e6), { rsv: RSV1 }), { finish: "end" }),
];

export const deflated = [...negotiation, ...messages, ...fragmented, ...bad, ...limits];
