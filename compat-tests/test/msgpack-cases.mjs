// Values and frames for msgpack.test.mjs, made from a seed so that a failure can be repeated.
import { random } from "./lib/random.mjs";

const characters = ["a", "b", "Z", "0", " ", '"', "\\", "/", "\n", "\u0000", "\u007f", "é", "ÿ", "߿", "ࠀ", "€", "\u2028", "\ufeff", "\ufffd", "\uffff", "😀", "\u{10ffff}"];
const lengths = [0, 1, 2, 5, 8, 15, 16, 31, 32, 33, 63, 199, 200, 201, 255, 256, 300];
const keys = ["a", "b", "c", "type", "data", "0", "1", "2", "10", "007", "-1", "1.5", "4294967294", "4294967295", "99999999999", "", "é", "constructor", "toString", "_placeholder", "num", "a\nb"];
const edges = [0, 31, 32, 33, 127, 128, 129, 255, 256, 32767, 32768, 32769, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 40, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, 2 ** 62, 2 ** 63, 2 ** 64 - 2048];

function text(r) {
  const length = r.pick(lengths);
  const alphabet = r.below(3) === 0 ? characters : [r.pick(characters)];
  let s = "";
  while (s.length < length) s += r.pick(alphabet);
  return s;
}

function number(r) {
  switch (r.below(5)) {
    case 0: return r.pick(edges) * r.pick([1, -1]);
    case 1: return r.below(300) - 100;
    case 2: return (r.next() - 0.5) * 10 ** (r.below(40) - 20);
    case 3: return Math.round((r.next() - 0.5) * 2 ** r.below(64));
    default: return new Float64Array(new Uint32Array([r.below(2 ** 32), r.below(2 ** 32)]).buffer)[0];
  }
}

/** A number that JSON can hold and notepack does not garble. */
function plainNumber(r) {
  for (;;) {
    const n = number(r);
    if (Number.isFinite(n) && (!Number.isInteger(n) || (n < 2 ** 64 && n >= -(2 ** 63)))) return n;
  }
}

const binary = (r) => Buffer.alloc(r.pick(lengths), r.below(256));

/** A number of items; the larger ones cross the sizes at which heads grow. */
const count = (r) => (r.below(12) === 0 ? r.pick([15, 16, 17, 31, 40]) : r.below(5));

function object(r, depth, leaf) {
  const o = {};
  for (let n = count(r); n > 0; n--) {
    const key = r.below(4) === 0 ? text(r) : r.below(4) === 0 ? String(r.below(30)) : r.pick(keys);
    const item = value(r, depth - 1, leaf);
    // Beside binary data a true would make a placeholder of the object.
    o[key] = key === "_placeholder" && item === true ? 1 : item;
  }
  return o;
}

function value(r, depth, leaf) {
  const kind = depth > 0 ? r.below(3) : 2;
  if (kind === 0) return Array.from({ length: count(r) }, () => value(r, depth - 1, leaf));
  if (kind === 1) return object(r, depth, leaf);
  return leaf(r);
}

function jsonLeaf(r) {
  switch (r.below(8)) {
    case 0: return null;
    case 1: return true;
    case 2: return false;
    case 3: return binary(r);
    case 4: case 5: return text(r);
    default: return plainNumber(r);
  }
}

const lone = ["\ud83d", "\ude00", "\ud800x", "\udc00\ud800"];

function anyLeaf(r) {
  switch (r.below(9)) {
    case 0: return undefined;
    case 1: return new Date(Math.round((r.next() - 0.5) * 10 ** r.below(17)));
    case 2: return r.pick([NaN, Infinity, -Infinity, -0, new Date(NaN), new Date(8.64e15), new Date(-8.64e15)]);
    case 3: return new Uint8Array(binary(r));
    case 4: return number(r);
    default: return jsonLeaf(r);
  }
}

/** Values that the reference's JSON and binary attachments can carry. */
export function carriedValues(n) {
  const r = random(11);
  return Array.from({ length: n }, () => value(r, 3, jsonLeaf));
}

/** Values that a Node server may emit, dates and undefined included. */
export function emittedValues(n) {
  const r = random(12);
  return Array.from({ length: n }, () => value(r, 3, anyLeaf));
}

/** Texts with lone surrogates, of all lengths. */
export function brokenTexts(n) {
  const r = random(13);
  return Array.from({ length: n }, () => {
    const s = text(r);
    const at = r.below(s.length + 1);
    return s.slice(0, at) + r.pick(lone) + s.slice(at);
  });
}

/** JSON texts as only other writers than JSON.stringify make them: spaces, escapes, equal keys, long numbers. */
export function spelledTexts(n) {
  const r = random(14);
  const space = () => r.pick(["", "", " ", "\n\t"]);
  const escaped = (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");
  const unit = (c) => (c < " " || /["\\]/.test(c) ? escaped(c) : c);
  const quoted = (s) => `"${[...s].map((c) => (r.below(3) ? unit(c) : c.split("").map(escaped).join(""))).join("")}"`;
  const word = () => r.pick(['"a\\/b"', "1.0", "1e3", "-0", "0.1e1", "-0.0", "1E-7", "1e400", "-1e400", "1e-400", "12345678901234567", "9007199254740993", "9223372036854775807", "-9223372036854775808", "0.30000000000000004", "123456789012345", "1234567890123456", "100000000000000000e-5"]);
  const spelled = (depth) => {
    const kind = depth > 0 ? r.below(3) : 2;
    if (kind === 2) return r.below(2) ? word() : quoted(text(r));
    const items = Array.from({ length: count(r) }, () => {
      const v = space() + spelled(depth - 1) + space();
      const key = r.below(2) ? r.pick(["a", "b", "_placeholder", "3", "1", "2", "01"]) : String(r.below(40));
      return kind === 0 ? v : `${space()}${quoted(key)}${space()}:${v}`;
    });
    return kind === 0 ? `[${items.join(",")}${space()}]` : `{${items.join(",")}${space()}}`;
  };
  return Array.from({ length: n }, () => space() + spelled(3) + space());
}

/** Frames of both packages, randomly changed. */
export function brokenFrames(frames, n) {
  const r = random(15);
  return Array.from({ length: n }, () => {
    const frame = Buffer.from(r.pick(frames));
    for (let i = r.below(3); i >= 0 && frame.length > 0; i--) frame[r.below(frame.length)] = r.below(3) ? r.below(256) : 0xc0 + r.below(32);
    return r.below(4) === 0 ? frame.subarray(0, r.below(frame.length + 1)) : frame;
  });
}

/** Forms that only notepack 2 or other languages write. */
export const foreignFrames = [
  "d40000", "92d4000001", "82a161d40000a16201", "d7000000018bcfe5687b", "d700fffffffffffffc18", "c702000102", "c800020001ff", "d50501ff", "d4fe01", "d602ffffffff",
  "ca3dcccccd", "ca7f800000", "cb8000000000000000", "cf0020000000000001", "d3ffffffffffffffff", "cd0001", "ce00000001", "d0ff", "d1ffff", "d2ffffffff", "d90161", "da000161", "db0000000161",
  "dc0000", "dd0000000101", "de0000", "df00000001a16101", "c5000141", "c60000000141", "8101a161", "81c0a161", "81c3a161", "81cbbff8000000000000a161", "82a13202a13101",
  "d6ffffffffff", "d7ffee6b27ffffffffff", "c70cff00000000ffffffffffffffff", "c70cff3b9ac9ffffffffffffffff00", "c70cff000000007fffffffffffffff", "82a16101a16102",
  "a4ff61c362", "a5e2826180f0", "a6f09f98f49080", "a3efbbbf",
].map((hex) => Buffer.from(hex, "hex"));
