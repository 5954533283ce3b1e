// Close frames, close codes and connections that end without one.
import { BINARY, CLOSE, CONTINUATION, PING, TEXT, chop, closeFrame, frame } from "./lib/rawws.mjs";

const one = (name, bytes, rest = {}) => ({ name, send: [bytes].flat(), finish: "end", ...rest });

// Around each border of the allowed ranges, and far outside.
const codes = [0, 1, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 1100, 1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 9999, 65535];
const byCode = codes.map((code) => one(`code ${code}`, closeFrame(code)));

const reasons = [
  one("no code", frame(CLOSE)),
  one("no code, in single bytes", chop(frame(CLOSE), 1)),
  one("a payload of one byte", frame(CLOSE, "a")),
  one("code and reason", closeFrame(1000, "bye")),
  one("code and reason in single bytes", chop(closeFrame(1000, "bye"), 1)),
  one("the longest reason", closeFrame(1000, "a".repeat(123))),
  one("a reason that is too long", closeFrame(1000, "a".repeat(124))),
  one("reason in UTF-8", closeFrame(3000, "κόσμε €")),
  one("reason that is not UTF-8", closeFrame(1000, Buffer.from([0xce, 0xba, 0xed, 0xa0, 0x80]))),
  one("reason cut inside a character", closeFrame(1000, Buffer.from([0x61, 0xe2, 0x82]))),
  one("bad code and bad reason", closeFrame(1005, Buffer.from([0xff]))),
  one("without FIN", frame(CLOSE, "", { fin: false })),
];

const after = [
  one("message, then close", Buffer.concat([frame(TEXT, "4a"), closeFrame(1000)])),
  one("close, then a message", Buffer.concat([closeFrame(1000), frame(TEXT, "4a")])),
  one("close, then a message in pieces", [closeFrame(1000), frame(TEXT, "4a"), frame(TEXT, "4b")]),
  one("close, then a ping", Buffer.concat([closeFrame(1000), frame(PING, "a")])),
  one("close, then garbage", Buffer.concat([closeFrame(1001), Buffer.alloc(100, 0xff)])),
  one("close, then another close", Buffer.concat([closeFrame(1000), closeFrame(1001)])),
  one("close, then the rest of a message", Buffer.concat([frame(BINARY, "a", { fin: false }), closeFrame(1000), frame(CONTINUATION, "b")])),
  one("close, then half a megabyte", Buffer.concat([closeFrame(1000), frame(BINARY, Buffer.alloc(500000))])),
  one("violation, then half a megabyte", Buffer.concat([frame(3), frame(BINARY, Buffer.alloc(500000))])),
  one("violation, then a close", Buffer.concat([frame(3), closeFrame(1000)])),
];

const halves = [
  one("end of the stream", Buffer.alloc(0), { halfClose: true }),
  one("end of the stream after a close", closeFrame(1000), { halfClose: true }),
  one("end of the stream inside a header", frame(TEXT, "4a").subarray(0, 1), { halfClose: true }),
  one("end of the stream inside a mask", frame(TEXT, "4a").subarray(0, 4), { halfClose: true }),
  one("end of the stream inside a payload", frame(TEXT, "4hello").subarray(0, 8), { halfClose: true }),
  one("end of the stream inside a ping", frame(PING, "hello").subarray(0, 8), { halfClose: true }),
  one("end of the stream inside a fragmented message", frame(TEXT, "4a", { fin: false }), { halfClose: true }),
  one("end of the stream after a violation", frame(3), { halfClose: true }),
];

export const closing = [...byCode, ...reasons, ...after, ...halves];
